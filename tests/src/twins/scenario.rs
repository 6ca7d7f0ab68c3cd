//! Which cases there are. A case is a validator that has twins, and for each round who hears whom and which twin's
//! proposal is heard when the twins lead.
//!
//! Two cases that differ by the twins' names alone are one: of the two forms the lesser stands for both.

use std::collections::BTreeSet;
use std::fmt;

/// How many validators there are.
pub const VALIDATORS: u8 = 4;
/// The rounds, groups a round at most, of the cases that are listed in full.
const LISTED: (u64, u8) = (3, 2);
/// The same of those that are drawn after them.
const DRAWN: (u64, u8) = (6, 3);
/// How far apart neighbours are taken, or a little further: 2^64 divided by the golden ratio.
const STRIDE: u128 = 0x9e37_79b9_7f4a_7c15;

/// Whose proposals are heard in a round that the twins lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proposers {
    /// Both twins': where their groups hear them.
    Both,
    /// The first twin's alone.
    First,
    /// The second twin's alone.
    Second,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Round {
    /// The group of each host. The first hosts are the validators' own, those that follow their twins'.
    pub groups: Vec<u8>,
    /// Whose proposals are heard.
    pub proposers: Proposers,
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scenario {
    /// The validators that have a twin.
    pub twinned: Vec<u8>,
    /// What happens in views 1, 2, and so on.
    pub rounds: Vec<Round>,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "twins of {:?}", self.twinned)?;
        for (place, Round { groups, proposers }) in self.rounds.iter().enumerate() {
            let names: String = groups.iter().map(|group| char::from(b'a' + group)).collect();
            write!(f, "; view {}: groups {names}", place + 1)?;
            if self.twinned.contains(&((place as u8 + 1) % VALIDATORS)) {
                write!(f, ", {proposers:?} propose")?;
            }
        }
        Ok(())
    }
}

impl Scenario {
    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        usize::from(VALIDATORS) + self.twinned.len()
    }

    /// The lesser of the two forms that differ by the names of the (one) pair of twins.
    fn canonical(self) -> Self {
        let twin = usize::from(VALIDATORS);
        let mut swapped = self.clone();
        for round in &mut swapped.rounds {
            round.groups.swap(usize::from(self.twinned[0]), twin);
            round.groups = renamed(&round.groups);
            round.proposers = match round.proposers {
                Proposers::Both => Proposers::Both,
                Proposers::First => Proposers::Second,
                Proposers::Second => Proposers::First,
            };
        }
        self.min(swapped)
    }
}

/// The same partition with its groups named in the order in which they appear.
fn renamed(groups: &[u8]) -> Vec<u8> {
    let mut names = Vec::new();
    let name = |group: &u8| match names.iter().position(|known| known == group) {
        Some(place) => place as u8,
        None => {
            names.push(*group);
            names.len() as u8 - 1
        }
    };
    groups.iter().map(name).collect()
}

/// All partitions of `hosts` into at most `most` groups.
pub fn partitions(hosts: usize, most: u8) -> Vec<Vec<u8>> {
    (0..hosts).fold(vec![Vec::new()], |partitions: Vec<Vec<u8>>, _| {
        let longer = partitions.into_iter().flat_map(|groups| {
            let used = groups.iter().max().map_or(0, |last| last + 1);
            (0..=used.min(most - 1)).map(move |group| [groups.as_slice(), &[group]].concat())
        });
        longer.collect()
    })
}

/// All cases of so many rounds, with so many groups in each.
#[derive(Debug)]
struct Space {
    rounds: u64,
    partitions: Vec<Vec<u8>>,
}

impl Space {
    fn new((rounds, groups): (u64, u8)) -> Self {
        Self { rounds, partitions: partitions(usize::from(VALIDATORS) + 1, groups) }
    }

    /// How many cases there are in which this validator has twins, before twins are swapped.
    fn total(&self, twinned: u8) -> u128 {
        let led = (1..=self.rounds).filter(|view| leads(twinned, *view)).count();
        (self.partitions.len() as u128).pow(self.rounds as u32) * 3_u128.pow(led as u32)
    }

    fn case(&self, twinned: u8, number: u128) -> Scenario {
        let mut rest = number;
        let mut digit = |base: usize| {
            let digit = rest % base as u128;
            rest /= base as u128;
            digit as usize
        };
        let rounds = (1..=self.rounds).map(|view| {
            let groups = self.partitions[digit(self.partitions.len())].clone();
            let choice = if leads(twinned, view) { digit(3) } else { 0 };
            let proposers = [Proposers::Both, Proposers::First, Proposers::Second][choice];
            Round { groups, proposers }
        });
        Scenario { rounds: rounds.collect(), twinned: vec![twinned] }.canonical()
    }
}

fn leads(validator: u8, view: u64) -> bool {
    view % u64::from(VALIDATORS) == u64::from(validator)
}

/// The cases in order.
#[derive(Debug)]
pub struct Catalogue {
    listed: Vec<Scenario>,
    drawn: Space,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new()
    }
}

impl Catalogue {
    /// Lists what is listed in full.
    pub fn new() -> Self {
        let space = Space::new(LISTED);
        let space = &space;
        let cases = |twinned| (0..space.total(twinned)).map(move |number| space.case(twinned, number));
        let listed: BTreeSet<Scenario> = (0..VALIDATORS).flat_map(cases).collect();
        Self { listed: listed.into_iter().collect(), drawn: Space::new(DRAWN) }
    }

    /// How many cases are listed in full: all there are of so few rounds and groups.
    pub fn listed(&self) -> u64 {
        self.listed.len() as u64
    }

    /// The case with this number: those of few rounds first, then longer ones, spread over all that there are.
    pub fn case(&self, number: u64) -> Scenario {
        match usize::try_from(number) {
            // Cases next to each other in the list are alike: any part of it should be a sample of the whole.
            Ok(place) if place < self.listed.len() => {
                self.listed[spread(place as u128, self.listed.len() as u128) as usize].clone()
            }
            _ => {
                let (twinned, number) =
                    ((number % u64::from(VALIDATORS)) as u8, number / u64::from(VALIDATORS));
                self.drawn.case(twinned, spread(u128::from(number), self.drawn.total(twinned)))
            }
        }
    }
}

/// Takes the numbers below `length` to one another, neighbours far apart.
fn spread(number: u128, length: u128) -> u128 {
    let stride = (STRIDE..).find(|stride| coprime(*stride, length)).unwrap_or(1);
    number % length * stride % length
}

fn coprime(one: u128, other: u128) -> bool {
    let (mut one, mut other) = (one, other);
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_hosts_have_sixteen_partitions_into_two_groups_and_forty_one_into_three() {
        assert_eq!(partitions(5, 2).len(), 16);
        assert_eq!(partitions(5, 3).len(), 41);
        assert_eq!(partitions(5, 5).len(), 52);
    }

    #[test]
    fn more_than_twenty_thousand_cases_are_listed_and_no_number_repeats_another() {
        let catalogue = Catalogue::new();
        assert_eq!(catalogue.listed(), 21_504);
        let distinct: BTreeSet<_> = (0..30_000).map(|number| catalogue.case(number)).collect();
        assert_eq!(distinct.len(), 30_000);
    }

    #[test]
    fn swapping_the_twins_gives_the_same_case() {
        let round = |groups: &[u8], proposers| Round { groups: groups.to_vec(), proposers };
        let one = Scenario { twinned: vec![1], rounds: vec![round(&[0, 0, 1, 1, 1], Proposers::First)] };
        let other = Scenario { twinned: vec![1], rounds: vec![round(&[0, 1, 1, 1, 0], Proposers::Second)] };
        assert_eq!(one.canonical(), other.canonical());
    }
}
