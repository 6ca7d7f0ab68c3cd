//! All combinations of the replicas' states, and what must hold in each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use consensus::message::VoteKind;
use genesis::{Digest, View};

use super::Bounds;
use super::local::Locals;
use super::menu::{Fact, Id, Menu, Sent, Stimulus};
use super::sets::Map;

/// The most honest replicas.
const HONEST: usize = 3;

/// A state of the network: one of each honest replica, in order; places without a replica stay 0.
type Global = [Id; HONEST];

/// What an exploration found.
#[derive(Debug)]
pub struct Report {
    /// How many states of the network were looked at: of all that there are, those that the others follow from.
    pub states: usize,
    /// How many states of the network were reached from these.
    pub reached: usize,
    /// How many states of single replicas.
    pub locals: usize,
    /// How many steps the replicas made.
    pub steps: usize,
    /// How many different messages the honest replicas sent.
    pub messages: usize,
    /// The different blocks of each view that are final in some state.
    pub finals: BTreeMap<View, usize>,
    /// What does not hold.
    pub violation: Option<Violation>,
}

/// What does not hold, and how it comes about.
#[derive(Debug)]
pub struct Violation {
    /// What.
    pub what: String,
    /// What happens, in order.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, reached, locals, steps, messages, finals, violation } = self;
        let finals: Vec<_> = finals.iter().map(|(view, blocks)| format!("{blocks} of view {view}")).collect();
        write!(
            f,
            "{states} states of the network looked at, {reached} reached, {locals} of replicas, {steps} steps, {messages} messages; final blocks: {}",
            finals.join(", ")
        )?;
        match violation {
            Some(violation) => write!(f, "\n{violation}"),
            None => write!(f, "; exhausted, everything holds"),
        }
    }
}

struct Explorer {
    menu: Menu,
    locals: Vec<Locals>,
    /// The states that are looked at, each with the one before it.
    states: Vec<(Global, Id)>,
    /// What was reached and not looked at: by how much was sent, then by what was sent.
    ahead: BTreeMap<u32, Map<Vec<Sent>, Map<Global, Id>>>,
    reached: usize,
    finals: BTreeSet<Digest>,
    /// Sets of final blocks that lie on one chain.
    agreed: BTreeSet<Vec<Digest>>,
}

/// Goes through all states within `bounds`, until something does not hold or none is left. `progress` is told now
/// and then how many messages were sent in the states that are looked at, how many of these there were, and how many
/// were reached.
pub fn explore(bounds: Bounds, mut progress: impl FnMut(u32, usize, usize)) -> Report {
    let mut menu = Menu::new(bounds);
    let honest = menu.honest();
    assert!(honest.len() <= HONEST, "{} honest replicas, but {HONEST} at most", honest.len());
    let locals = (0..honest.len()).map(|place| Locals::new(&mut menu, place)).collect::<Result<Vec<_>, _>>();
    let locals = locals.unwrap_or_else(|what| unreachable!("a replica starts: {what}"));
    let mut explorer = Explorer {
        menu,
        locals,
        states: Vec::new(),
        ahead: BTreeMap::new(),
        reached: 0,
        finals: BTreeSet::new(),
        agreed: BTreeSet::new(),
    };
    explorer.reach([0; HONEST], 0);
    let mut violation = None;
    // Every step sends something, so that a level is complete when those below it were looked at.
    while let Some((level, groups)) = explorer.ahead.pop_first() {
        for (sent, states) in groups {
            for (state, before) in explorer.undominated(&sent, states) {
                if explorer.states.len().is_multiple_of(10_000) {
                    progress(level, explorer.states.len(), explorer.reached);
                }
                explorer.states.push((state, before));
                violation = explorer.visit(explorer.states.len() as Id - 1);
                if violation.is_some() {
                    return explorer.report(violation);
                }
            }
        }
    }
    explorer.report(violation)
}

impl Explorer {
    fn sent(&self, state: Global) -> Vec<Sent> {
        self.locals.iter().zip(state).map(|(locals, id)| locals.get(id).sent).collect()
    }

    fn reach(&mut self, state: Global, before: Id) {
        let sent = self.sent(state);
        let level = sent.iter().map(|sent| sent.count_ones()).sum();
        let states = self.ahead.entry(level).or_default().entry(sent).or_default();
        if let std::collections::hash_map::Entry::Vacant(vacant) = states.entry(state) {
            vacant.insert(before);
            self.reached += 1;
        }
    }

    /// Of states in which the same was sent, those that silent steps from another do not lead to: what can follow
    /// from the others can follow from that one.
    fn undominated(&mut self, sent: &[Sent], states: Map<Global, Id>) -> Vec<(Global, Id)> {
        let mut states: Vec<(Global, Id)> = states.into_iter().collect();
        states.sort_unstable();
        let offers: Vec<Id> = (0..self.locals.len()).map(|place| self.menu.on_offer(place, sent)).collect();
        let mut kept: Vec<(Global, Id)> = Vec::new();
        for (state, before) in states {
            if kept.iter().any(|(other, _)| self.leads(&offers, *other, state)) {
                continue;
            }
            kept.retain(|(other, _)| !self.leads(&offers, state, *other));
            kept.push((state, before));
        }
        kept
    }

    fn leads(&mut self, offers: &[Id], from: Global, to: Global) -> bool {
        (0..self.locals.len()).all(|place| {
            let reach = self.locals[place].reach(&mut self.menu, from[place], offers[place]);
            from[place] == to[place] || reach.silent.binary_search(&to[place]).is_ok()
        })
    }

    fn visit(&mut self, id: Id) -> Option<Violation> {
        let state = self.states[id as usize].0;
        let sent = self.sent(state);
        let mut tips: BTreeSet<Digest> = BTreeSet::new();
        for place in 0..self.locals.len() {
            let offer = self.menu.on_offer(place, &sent);
            let reach = self.locals[place].reach(&mut self.menu, state[place], offer);
            if let Some((what, path)) = &reach.failure {
                let (what, path) = (what.clone(), path.clone());
                return Some(self.violation(id, what, vec![(place, path)]));
            }
            tips.extend(&reach.tips);
            for local in reach.next.clone() {
                let mut after = state;
                after[place] = local;
                self.reach(after, id);
            }
        }
        let broken = self.contradiction(&sent);
        broken.map(|what| self.violation(id, what, Vec::new())).or_else(|| self.disagreement(id, &tips))
    }

    /// What the honest replicas have sent and should not have.
    fn contradiction(&self, sent: &[Sent]) -> Option<String> {
        let mut prepares: BTreeMap<(View, Digest), usize> = BTreeMap::new();
        for (index, sent) in self.menu.honest().into_iter().zip(sent) {
            let mut said = BTreeSet::new();
            for fact in self.menu.facts(*sent) {
                let Fact::Vote(kind, view, digest) = fact else { continue };
                if !said.insert((kind, view)) {
                    return Some(format!("P2: validator {} says {kind:?} twice in view {view}", index.0));
                }
                if kind == VoteKind::Prepare {
                    *prepares.entry((view, digest)).or_default() += 1;
                }
            }
            for (_, view) in said.iter().filter(|(kind, _)| *kind == VoteKind::Commit) {
                if said.contains(&(VoteKind::ViewChange, *view)) {
                    return Some(format!(
                        "P3, P5: validator {} says COMMIT and VIEW-CHANGE in view {view}",
                        index.0
                    ));
                }
            }
        }
        // By the letter, not by the code: a quorum is all but f, at n = 3f + 1.
        let (byzantine, faulty) = (self.menu.bounds.byzantine.len(), (self.menu.bounds.validators - 1) / 3);
        if byzantine > usize::from(faulty) {
            return None; // What follows does not hold then; whether there is a fork is what is asked.
        }
        let quorum = usize::from(self.menu.bounds.validators - faulty);
        let certified: Vec<_> =
            prepares.iter().filter(|(_, honest)| **honest + byzantine >= quorum).collect();
        certified.windows(2).find(|pair| pair[0].0.0 == pair[1].0.0).map(|pair| {
            let (((view, one), _), ((_, other), _)) = (pair[0], pair[1]);
            format!("view {view} has two prepare certificates, for {one} and for {other}")
        })
    }

    /// Whether two of the final blocks lie on different chains.
    fn disagreement(&mut self, id: Id, tips: &BTreeSet<Digest>) -> Option<Violation> {
        let tips: Vec<Digest> = tips.iter().copied().collect();
        if self.agreed.contains(&tips) {
            return None;
        }
        let longest = tips.iter().max_by_key(|tip| self.menu.chain(tip).len()).copied()?;
        let genesis = self.menu.founding.genesis.chain();
        let chain: BTreeSet<Digest> = self.menu.chain(&longest).iter().map(|block| block.digest()).collect();
        let off = tips.iter().copied().find(|tip| *tip != genesis && !chain.contains(tip));
        let Some(off) = off else {
            self.finals.extend(chain);
            self.agreed.insert(tips);
            return None;
        };
        let state = self.states[id as usize].0;
        let sent = self.sent(state);
        let mut ends = Vec::new();
        for tip in [longest, off] {
            for (place, local) in state.iter().enumerate().take(sent.len()) {
                let offer = self.menu.on_offer(place, &sent);
                let path =
                    self.locals[place].path(&mut self.menu, *local, offer, |_, local| local.tip == tip);
                if !path.is_empty() {
                    ends.push((place, path));
                }
            }
        }
        let what = format!("FORK: {} and {} are both final", self.describe(&longest), self.describe(&off));
        Some(self.violation(id, what, ends))
    }

    fn report(self, violation: Option<Violation>) -> Report {
        let mut finals: BTreeMap<View, usize> = BTreeMap::new();
        for digest in &self.finals {
            if let Some(block) = self.menu.block(digest) {
                *finals.entry(block.view).or_default() += 1;
            }
        }
        Report {
            states: self.states.len(),
            reached: self.reached,
            locals: self.locals.iter().map(Locals::len).sum(),
            steps: self.locals.iter().map(Locals::steps).sum(),
            messages: self.menu.facts(Sent::MAX).count(),
            finals,
            violation,
        }
    }

    /// The way to state `id`, then what happens to single replicas there.
    fn violation(&mut self, id: Id, what: String, ends: Vec<(usize, Vec<Id>)>) -> Violation {
        let mut way = vec![id];
        while let Some(last) = way.last().copied().filter(|last| *last != 0) {
            way.push(self.states[last as usize].1);
        }
        way.reverse();
        let mut trace = Vec::new();
        for pair in way.windows(2) {
            let (from, to) = (self.states[pair[0] as usize].0, self.states[pair[1] as usize].0);
            let sent = self.sent(from);
            let Some(place) = (0..HONEST).find(|place| from[*place] != to[*place]) else { continue };
            let offer = self.menu.on_offer(place, &sent);
            let path = self.locals[place].path(&mut self.menu, from[place], offer, |id, _| id == to[place]);
            self.tell(place, &path, &mut trace);
            let new = self.locals[place].get(to[place]).sent & !sent[place];
            let said: Vec<_> = self.menu.facts(new).map(|fact| self.describe_fact(fact)).collect();
            trace.push(format!("  validator {} sends {}", self.menu.honest()[place].0, said.join(" and ")));
        }
        for (place, path) in ends {
            self.tell(place, &path, &mut trace);
        }
        Violation { what, trace }
    }

    fn tell(&self, place: usize, path: &[Id], trace: &mut Vec<String>) {
        let host = self.menu.honest()[place].0;
        for stimulus in path {
            let happens = match self.menu.stimulus(place, *stimulus) {
                Stimulus::Proposal(digest) => format!("receives the proposal of {}", self.describe(&digest)),
                Stimulus::Certificate(kind, view, digest) => {
                    format!("receives the certificate {kind:?} of view {view} for {}", self.describe(&digest))
                }
                Stimulus::Votes(kind, view, digest, voters) => {
                    let voters: Vec<_> = (0..8).filter(|index| voters >> index & 1 == 1).collect();
                    format!("receives {kind:?} of view {view} for {} from {voters:?}", self.describe(&digest))
                }
                Stimulus::Synced(digest) => format!("is given the final chain to {}", self.describe(&digest)),
                Stimulus::Soon => "hears its next timer".to_owned(),
                Stimulus::Late => "hears all timers of its view".to_owned(),
                Stimulus::Restart => "restarts".to_owned(),
            };
            trace.push(format!("validator {host} {happens}"));
        }
    }

    fn describe_fact(&self, fact: Fact) -> String {
        match fact {
            Fact::Proposal(digest) => format!("the proposal of {}", self.describe(&digest)),
            Fact::Vote(kind, view, digest) => {
                format!("{kind:?} of view {view} for {}", self.describe(&digest))
            }
        }
    }

    fn describe(&self, digest: &Digest) -> String {
        match self.menu.block(digest) {
            Some(block) => format!(
                "{digest:?} (view {}, height {}, on {:?}, {} items)",
                block.view,
                block.height,
                block.parent.digest,
                block.payload.len()
            ),
            None if *digest == Digest::ZERO => "no block".to_owned(),
            None => format!("{digest:?}"),
        }
    }
}
