//! `chain_participation`: what each validator did in a range of blocks, as the blocks and their certificates show.

use genesis::Height;
use serde::{Deserialize, Serialize};

/// What the validators did in a range of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Participation {
    /// The first block that was looked at.
    pub from: Height,
    /// The last one. A node looks at a bounded number of blocks in a call.
    pub to: Height,
    /// Where to go on; none where the range is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Height>,
    /// How many blocks were looked at.
    pub blocks: u64,
    /// How many of them have a commit certificate of their own; others are covered by a later one's, or by a checkpoint's.
    pub certificates: u64,
    /// How many of them have a certificate of what executing them led to.
    pub checkpoints: u64,
    /// Who had a seat in one of their epochs, in the order of the first of them.
    pub validators: Vec<Share>,
}

/// What one validator did in a range of blocks.
///
/// A certificate is made of the votes that come first, a quorum of them: of four validators, each honest one that is as fast as the
/// others is in about three of four.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Its name.
    pub name: String,
    /// In how many of the blocks' epochs it had a seat: of so many blocks.
    pub seated: u64,
    /// Blocks that it led to.
    pub led: u64,
    /// Views that it led and that brought no final block.
    pub missed_views: u64,
    /// Commit certificates while it had a seat.
    pub certificates: u64,
    /// Those of them with its vote.
    pub voted: u64,
    /// Checkpoint certificates while it had a seat.
    pub checkpoints: u64,
    /// Those of them with its signature.
    pub checked: u64,
    /// Batches in the blocks that it made, of its clients' transactions.
    pub batches: u64,
    /// The transactions in them.
    pub transactions: u64,
}

impl Participation {
    /// With what came in the blocks after.
    pub fn and(mut self, later: Self) -> Self {
        self.to = later.to;
        self.next = later.next;
        self.blocks += later.blocks;
        self.certificates += later.certificates;
        self.checkpoints += later.checkpoints;
        for share in later.validators {
            self.share(&share.name).add(&share);
        }
        self
    }

    /// The share of the validator that is called so.
    pub fn share(&mut self, name: &str) -> &mut Share {
        let place = self.validators.iter().position(|share| share.name == name);
        let place = place.unwrap_or_else(|| {
            self.validators.push(Share { name: name.to_owned(), ..Share::default() });
            self.validators.len() - 1
        });
        &mut self.validators[place]
    }
}

impl Share {
    fn add(&mut self, later: &Self) {
        let Self {
            name: _,
            seated,
            led,
            missed_views,
            certificates,
            voted,
            checkpoints,
            checked,
            batches,
            transactions,
        } = later;
        self.seated += seated;
        self.led += led;
        self.missed_views += missed_views;
        self.certificates += certificates;
        self.voted += voted;
        self.checkpoints += checkpoints;
        self.checked += checked;
        self.batches += batches;
        self.transactions += transactions;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ranges_make_one_with_all_who_had_a_seat_in_either() {
        let of = |from, to, names: &[&str]| {
            let mut part =
                Participation { from: Height(from), to: Height(to), blocks: 2, ..Participation::default() };
            for name in names {
                let share = part.share(name);
                (share.led, share.voted, share.batches) = (1, 2, 3);
            }
            part
        };
        let both = of(1, 2, &["a", "b"]).and(of(3, 4, &["b", "c"]));
        assert_eq!((both.from, both.to, both.blocks), (Height(1), Height(4), 4));
        let shares: Vec<_> =
            both.validators.iter().map(|it| (it.name.as_str(), it.led, it.batches)).collect();
        assert_eq!(shares, [("a", 1, 3), ("b", 2, 6), ("c", 1, 3)]);
    }
}
