//! One replica's states: each is reached once, each step from it is made once, and remembered.
//!
//! Invariant: a state is told apart by the replica's fingerprint and by all that it has ever sent. The replica behind
//! a state is the first that reached it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use consensus::{Action, Block, Input, Now, Output, Replica, Report, Tip, Verdict};
use genesis::{Digest, Domain, ValidatorIndex};

use super::menu::{Id, Menu, Sent, Stimulus};
use super::sets::{Bits, Map};

/// Longer than any view's timers, shorter than the heartbeat.
const LATE: Duration = Duration::from_secs(100);
/// How many timers go off before one must have changed something.
const TIMERS: usize = 64;

/// One replica between two steps.
#[derive(Clone, Debug)]
pub struct Local {
    replica: Replica,
    elapsed: Duration,
    /// All that it ever sent.
    pub sent: Sent,
    /// Its newest final block.
    pub tip: Digest,
    view: u64,
    fingerprint: Digest,
}

/// Where a state's silent steps lead.
#[derive(Debug, Default)]
pub struct Reach {
    /// The states in which something new was just sent.
    pub next: Vec<Id>,
    /// The states on the way, in ascending order, the first one too.
    pub silent: Box<[Id]>,
    /// The newest final block of each state on the way.
    pub tips: Vec<Digest>,
    /// What went wrong on the way, and after which stimuli.
    pub failure: Option<(String, Vec<Id>)>,
}

/// The states of one honest replica.
#[derive(Debug)]
pub struct Locals {
    place: usize,
    me: ValidatorIndex,
    states: Vec<Local>,
    ids: Map<(Digest, Sent), Id>,
    steps: Vec<Steps>,
    reach: Map<(Id, Id), Reach>,
}

/// The steps from one state.
#[derive(Debug, Default)]
struct Steps {
    /// Which stimuli were tried.
    tried: Bits,
    /// Those that change something, or fail, in the order in which they were tried.
    moves: Vec<(Id, Outcome)>,
}

/// A state that silent steps lead to: after how many, and what the last of so many may have been.
#[derive(Debug, Default)]
struct Silent {
    distance: u32,
    before: Vec<(Id, Id)>,
}

#[derive(Clone, Debug)]
enum Outcome {
    Same,
    Leads(Id),
    Fails(String),
}

impl Locals {
    /// The states of the honest validator at `place`; the first is its start, with an item to order.
    pub fn new(menu: &mut Menu, place: usize) -> Result<Self, String> {
        let me = menu.honest()[place];
        let mut locals = Self {
            place,
            me,
            states: Vec::new(),
            ids: Map::default(),
            steps: Vec::new(),
            reach: Map::default(),
        };
        let first = locals.start(menu, Tip::genesis(&menu.founding.genesis), Vec::new(), 0)?;
        locals.name(first);
        Ok(locals)
    }

    /// A state.
    pub fn get(&self, id: Id) -> &Local {
        &self.states[id as usize]
    }

    /// How many states there are.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Never true: there is a start.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// How many steps were made.
    pub fn steps(&self) -> usize {
        self.steps.iter().map(|steps| steps.tried.len()).sum()
    }

    fn name(&mut self, local: Local) -> Id {
        let states = &mut self.states;
        let steps = &mut self.steps;
        *self.ids.entry((local.fingerprint, local.sent)).or_insert_with(|| {
            states.push(local);
            steps.push(Steps::default());
            states.len() as Id - 1
        })
    }

    /// Where the silent steps from `anchor` lead, when these stimuli are on offer.
    pub fn reach(&mut self, menu: &mut Menu, anchor: Id, offer: Id) -> &Reach {
        if !self.reach.contains_key(&(anchor, offer)) {
            let reach = self.search(menu, anchor, offer).0;
            self.reach.insert((anchor, offer), reach);
        }
        &self.reach[&(anchor, offer)]
    }

    /// The stimuli that lead from `anchor` to the first state that `wanted` holds for.
    pub fn path(
        &mut self,
        menu: &mut Menu,
        anchor: Id,
        offer: Id,
        wanted: impl Fn(Id, &Local) -> bool,
    ) -> Vec<Id> {
        let came_from = self.search(menu, anchor, offer).1;
        let end = came_from.keys().copied().find(|id| wanted(*id, self.get(*id)));
        end.map_or(Vec::new(), |end| steps_to(&came_from, anchor, end))
    }

    /// Breadth first; each state with the one before it.
    fn search(&mut self, menu: &mut Menu, anchor: Id, offer: Id) -> (Reach, Map<Id, (Id, Id)>) {
        let mut reach = Reach::default();
        let mut came_from: Map<Id, (Id, Id)> = Map::from_iter([(anchor, (anchor, 0))]);
        let mut silent: Map<Id, Silent> = Map::from_iter([(anchor, Silent::default())]);
        let mut queue = VecDeque::from([anchor]);
        let sent = self.get(anchor).sent;
        while let Some(state) = queue.pop_front() {
            let tip = self.get(state).tip;
            if !reach.tips.contains(&tip) {
                reach.tips.push(tip);
            }
            let distance = silent[&state].distance + 1;
            for (stimulus, outcome) in self.moves(menu, state, offer) {
                match outcome {
                    Outcome::Same => {}
                    Outcome::Fails(what) => {
                        let mut path = steps_to(&came_from, anchor, state);
                        path.push(stimulus);
                        reach.failure.get_or_insert((what, path));
                    }
                    Outcome::Leads(to) if self.get(to).sent == sent => {
                        let known = silent.entry(to).or_insert_with(|| {
                            queue.push_back(to);
                            came_from.insert(to, (state, stimulus));
                            Silent { distance, before: Vec::new() }
                        });
                        if known.distance == distance {
                            known.before.push((state, stimulus));
                        }
                    }
                    Outcome::Leads(to) => {
                        came_from.entry(to).or_insert((state, stimulus));
                        let before = &silent[&state].before;
                        if !before.iter().any(|step| self.may_wait(menu, *step, stimulus, to)) {
                            reach.next.push(to);
                        }
                    }
                }
            }
        }
        reach.silent = silent.into_keys().collect();
        reach.silent.sort_unstable();
        reach.next.sort_unstable();
        reach.next.dedup();
        (reach, came_from)
    }

    /// Whether the silent step `silent` from `before` may as well come after `stimulus`: both orders lead to `end`, and
    /// what is sent is sent by `stimulus` in both. (The distances fall, so that nothing waits for itself.)
    fn may_wait(&mut self, menu: &mut Menu, (before, silent): (Id, Id), stimulus: Id, end: Id) -> bool {
        let Outcome::Leads(first) = self.step(menu, before, stimulus) else { return false };
        self.get(first).sent == self.get(end).sent
            && matches!(self.step(menu, first, silent), Outcome::Leads(second) if second == end)
    }

    /// What changes something in `state`, of what is on offer.
    fn moves(&mut self, menu: &mut Menu, state: Id, offer: Id) -> Vec<(Id, Outcome)> {
        let offer = menu.set(offer).clone();
        for stimulus in offer.without(&self.steps[state as usize].tried) {
            self.step(menu, state, stimulus);
        }
        let moves = &self.steps[state as usize].moves;
        moves.iter().filter(|(stimulus, _)| offer.contains(*stimulus)).cloned().collect()
    }

    fn step(&mut self, menu: &mut Menu, state: Id, stimulus: Id) -> Outcome {
        let known = &self.steps[state as usize];
        if known.tried.contains(stimulus) {
            let outcome = known.moves.iter().find(|(of, _)| *of == stimulus);
            return outcome.map_or(Outcome::Same, |(_, outcome)| outcome.clone());
        }
        let stepped = catch_unwind(AssertUnwindSafe(|| self.happen(menu, state, stimulus)));
        let outcome = match stepped.unwrap_or_else(|panic| Err(format!("a panic: {}", said(&*panic)))) {
            Err(what) => Outcome::Fails(what),
            Ok(local) => match self.name(local) {
                same if same == state => Outcome::Same,
                other => Outcome::Leads(other),
            },
        };
        let steps = &mut self.steps[state as usize];
        steps.tried.insert(stimulus);
        if !matches!(outcome, Outcome::Same) {
            steps.moves.push((stimulus, outcome.clone()));
        }
        outcome
    }

    fn happen(&self, menu: &mut Menu, state: Id, stimulus: Id) -> Result<Local, String> {
        let before = self.get(state);
        let beyond = before.view > menu.bounds.views;
        let mut local = before.clone();
        match menu.stimulus(self.place, stimulus) {
            Stimulus::Restart => {
                let records = local.replica.records();
                return self.start(menu, local.replica.status().tip, records, local.sent);
            }
            Stimulus::Soon | Stimulus::Late if beyond => return Ok(local),
            Stimulus::Soon => {
                for _ in 0..TIMERS {
                    let Some(deadline) = local.replica.deadline(local.now(menu)) else { break };
                    local.elapsed = deadline;
                    local.feed(menu, self.me, Input::Tick)?;
                    local.note();
                    if (local.fingerprint, local.sent) != (before.fingerprint, before.sent) {
                        break;
                    }
                }
            }
            Stimulus::Late => {
                local.elapsed += LATE;
                local.feed(menu, self.me, Input::Tick)?;
            }
            _ => {
                for input in menu.inputs(self.place, stimulus).to_vec() {
                    local.feed(menu, self.me, input)?;
                }
            }
        }
        local.note();
        Ok(local)
    }

    /// A process starts.
    fn start(
        &self,
        menu: &mut Menu,
        tip: Tip,
        records: Vec<consensus::Record>,
        sent: Sent,
    ) -> Result<Local, String> {
        let now = Now { elapsed: Duration::ZERO, clock: menu.founding.genesis.time() };
        let (replica, output) = menu.founding.replica(self.me, now, tip, records);
        let (tip, view) = (tip.digest, 0);
        let mut local =
            Local { replica, elapsed: Duration::ZERO, sent, tip, view, fingerprint: Digest::ZERO };
        local.perform(menu, self.me, output)?;
        local.answer_own_vote(menu, self.me)?;
        if !local.has_ordered(menu) {
            let item = menu.item;
            local.feed(menu, self.me, Input::Available(vec![item.into()]))?;
        }
        local.note();
        Ok(local)
    }
}

impl Local {
    fn now(&self, menu: &Menu) -> Now {
        // The clock stands still: a block's time is then one unit after its parent's, whenever it is made.
        Now { elapsed: self.elapsed, clock: menu.founding.genesis.time() }
    }

    fn has_ordered(&self, menu: &Menu) -> bool {
        menu.chain(&self.tip).iter().any(|block| block.payload.contains(&menu.item))
    }

    /// A replica asks at its start for its own highest vote (P7). One tells all that it sent, the others of nothing:
    /// they may not have heard it, or deny it. Its records must hold it all the same.
    fn answer_own_vote(&mut self, menu: &mut Menu, me: ValidatorIndex) -> Result<(), String> {
        let truth = menu.highest_votes(me, self.sent);
        let answers = std::iter::once(truth).chain(std::iter::repeat(menu.founding.no_vote()));
        let answerers: Vec<_> = menu.founding.answerers(me).collect();
        for (from, message) in answerers.into_iter().zip(answers) {
            self.feed(menu, me, Input::Received { from, message })?;
        }
        match self.replica.status().standing {
            Report::Voting => Ok(()),
            other => Err(format!("P7: validator {} is not sure what it signed: {other:?}", me.0)),
        }
    }

    fn feed(&mut self, menu: &mut Menu, me: ValidatorIndex, input: Input) -> Result<(), String> {
        let output = self.replica.step(self.now(menu), input);
        self.perform(menu, me, output)
    }

    fn perform(&mut self, menu: &mut Menu, me: ValidatorIndex, output: Output) -> Result<(), String> {
        let actions = output.persist(|_| Ok::<(), std::convert::Infallible>(()));
        for action in actions.unwrap_or_else(|never| match never {}) {
            match action {
                Action::Send(_, message) => self.sent |= menu.note(me, &message).unwrap_or(0),
                Action::Judge(block) => {
                    let verdict = self.judge(menu, &block);
                    self.feed(menu, me, Input::Judged { digest: block.digest(), verdict })?;
                }
                Action::Finalize { closes: Some(_), .. } | Action::Begin { .. } => {
                    return Err("P12: an epoch ends, but nobody voted for a change".to_owned());
                }
                Action::Finalize { block, .. } => {
                    if block.parent.digest != self.tip {
                        return Err(format!(
                            "{} is final on {}, not on its parent",
                            block.digest(),
                            self.tip
                        ));
                    }
                    self.tip = block.digest();
                }
                Action::Halt(fork) => return Err(format!("FORK, as a replica notices: {fork}")),
                // Accusations rest on single votes, which states are not told apart by: not looked at here.
                Action::Accuse(_) | Action::Certified(_) | Action::Synchronize { .. } => {}
            }
        }
        Ok(())
    }

    fn judge(&self, menu: &Menu, block: &Block) -> Verdict {
        let repeats = self.has_ordered(menu) && block.payload.contains(&menu.item);
        if repeats { Verdict::Invalid } else { Verdict::Valid }
    }

    fn note(&mut self) {
        self.view = self.replica.status().view.0;
        // The wall clock decides no fingerprint.
        let now = Now { elapsed: self.elapsed, clock: self.replica.status().tip.time };
        self.fingerprint = Digest::of(Domain::StateValue, &self.replica.fingerprint(now));
    }
}

fn steps_to(came_from: &Map<Id, (Id, Id)>, anchor: Id, end: Id) -> Vec<Id> {
    let mut path = Vec::new();
    let mut at = end;
    while at != anchor {
        let (before, stimulus) = came_from[&at];
        path.push(stimulus);
        at = before;
    }
    path.reverse();
    path
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
