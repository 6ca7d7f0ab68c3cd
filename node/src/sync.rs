//! Catches up from peers' stores when this node was away.
//!
//! Several ranges of blocks are asked for at a time, each from another peer, and their batches as soon as a range is
//! proven; the driver gets the ranges in order. What a peer claims decides nothing: how far there is to go is told by a
//! checkpoint's certificate. Who stalls or lies is named and not asked for a time.
//!
//! - [`window`]: which heights are asked for, and what waits for its turn (pure)
//! - [`mod@check`]: whether an answer proves what it says (pure)
//! - [`peers`]: who is of use · [`progress`]: how far it is · [`mod@serve`]: the other side
//!
//! Bounded: the window in ranges and bytes, requests in the peers (one to each at a time), and what waits for execution
//! in blocks ([`MAX_AHEAD`]).

pub(crate) mod check;
mod peers;
mod progress;
pub(crate) mod serve;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesis::encoding::encode;
use genesis::{Epoch, Height, PublicKey};
use p2p::{Network, RequestError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::check::{Blocks, Checked, Lie, check};
pub use self::peers::{Fault, Peers};
use self::progress::Meter;
pub use self::progress::{Position, Progress};
pub use self::serve::serve;
use self::window::{Place, Taken, Ticket, Window};
use crate::driver::{Event, Snapshot};
use crate::fetcher::Want;
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::wire::{Ask, Span};

/// How many final blocks may wait for execution before more are handed on.
const MAX_AHEAD: u64 = 1_024;
/// Where execution is so near to finality, the driver does without this.
const NEAR: u64 = 64;
/// How long a peer may take for a range.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);
/// How long the driver may take to make a range final.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// How long a peer is not asked again that had nothing. No fault: it may be behind itself.
const HAD_NOTHING: Duration = Duration::from_millis(250);
/// While this node has to execute what it got, the peers are asked for more this often.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often to look whether the driver and the executor have got further.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is told that a peer has forgotten blocks that are needed here.
const TELL_OF_GAP_EVERY: Duration = Duration::from_secs(10);
/// How often a node without a vote, to which nobody sends votes, looks for new blocks.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);

/// What catching up needs.
pub struct Sync {
    /// What certificates are checked against.
    pub membership: Membership,
    /// The others.
    pub network: Network,
    /// Which of them are of use.
    pub peers: Peers,
    /// For the blocks' batches.
    pub fetch: mpsc::Sender<Want>,
    /// The driver.
    pub events: mpsc::Sender<Event>,
    /// How far this node is.
    pub snapshot: watch::Receiver<Snapshot>,
    /// Where that is told while it is far behind.
    pub progress: Arc<Progress>,
    /// Figures.
    pub metrics: Arc<Metrics>,
}

/// Why a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// There is more: all peers are asked before it is believed that there is not.
    Behind,
    /// A look at one peer.
    Follow,
}

/// Why a peer's answer is of no use.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("a request for the blocks from {} to {} took longer than {} s", .0.from, .0.to, ANSWERED_WITHIN.as_secs())]
    Slow(Span),
    #[error(transparent)]
    Lie(#[from] Lie),
}

impl NoAnswer {
    /// What the peer did wrong, if anything.
    fn fault(&self) -> Option<Fault> {
        match self {
            Self::Slow(_) | Self::Request(RequestError::TimedOut) => Some(Fault::Stalled),
            Self::Request(RequestError::Refused) => Some(Fault::Refused),
            Self::Request(_) => None,
            Self::Lie(_) => Some(Fault::Invalid),
        }
    }
}

/// A request that has ended.
struct Answered {
    ticket: Ticket,
    span: Span,
    peer: PublicKey,
    outcome: Result<Checked, NoAnswer>,
}

/// The node stops.
struct Stopped;

/// One run of catching up.
struct Run {
    cause: Cause,
    epoch: Epoch,
    window: Window<Blocks>,
    requests: JoinSet<Answered>,
    busy: BTreeSet<PublicKey>,
    /// Who had nothing, and until when it is not asked again.
    paused: BTreeMap<PublicKey, Instant>,
    /// Who had nothing after the base, and since when that counts.
    without: BTreeSet<PublicKey>,
    asked_since: Instant,
    /// What the driver was given and has not made final: the last height of each range, and who sent it.
    handed: VecDeque<(Height, PublicKey)>,
    /// When the driver last made something of it final.
    moved_at: Instant,
    /// The newest checkpoint that the driver was given.
    certified: Height,
    /// When it was last told that a peer has forgotten what is needed.
    told_of_gap: Option<Instant>,
    meter: Meter,
}

impl Sync {
    /// Catches up whenever the driver says so; all the time where this node has no vote.
    pub async fn run(mut self, mut starts: mpsc::Receiver<Height>) {
        let (mut turn, mut told_of_gap) = (0_usize, None);
        loop {
            let cause = match tokio::time::timeout(FOLLOW_EVERY, starts.recv()).await {
                Ok(None) => return,
                Ok(Some(after)) if after < self.final_height() => continue, // It has got further since.
                Ok(Some(_)) => Cause::Behind,
                // Looked at anew each time: a validator may lose its vote, and an observer get one.
                Err(_) if self.membership.now().me.is_some() => continue,
                Err(_) => Cause::Follow,
            };
            if self.catch_up(cause, &mut turn, &mut told_of_gap).await.is_err() {
                return;
            }
        }
    }

    fn final_height(&self) -> Height {
        self.snapshot.borrow().status.tip.height
    }

    /// Gets all blocks that the peers have. `turn` goes on from run to run, so that not the same peer is asked first each
    /// time.
    async fn catch_up(
        &mut self,
        cause: Cause,
        turn: &mut usize,
        told_of_gap: &mut Option<Instant>,
    ) -> Result<(), Stopped> {
        let snapshot = *self.snapshot.borrow();
        let mut run = Run {
            cause,
            epoch: snapshot.status.epoch,
            window: Window::new(place(&snapshot)),
            requests: JoinSet::new(),
            busy: BTreeSet::new(),
            paused: BTreeMap::new(),
            without: BTreeSet::new(),
            asked_since: Instant::now(),
            handed: VecDeque::new(),
            moved_at: Instant::now(),
            certified: Height::ZERO,
            told_of_gap: *told_of_gap,
            meter: Meter::new(Arc::clone(&self.progress), Arc::clone(&self.metrics), snapshot.executed),
        };
        let admitted: Vec<PublicKey> = self.network.peers().into_iter().map(|peer| peer.key).collect();
        self.peers.records().retain(&admitted);
        loop {
            self.snapshot.has_changed().map_err(|_| Stopped)?;
            let snapshot = *self.snapshot.borrow();
            self.follow(&mut run, &snapshot);
            self.hand_over(&mut run, &snapshot).await?;
            let useful = self.useful(&mut run);
            self.ask(&mut run, &useful, turn);
            run.meter.look(snapshot.executed, run.window.target(), useful.len() + run.paused.len());
            if run.is_done(&snapshot, &useful) {
                // Runs are many and short: what bounds the lines is kept from one to the next.
                *told_of_gap = run.told_of_gap;
                run.meter.finish(snapshot.executed);
                return Ok(());
            }
            tokio::select! {
                Some(answered) = run.requests.join_next() => match answered {
                    Ok(answered) => self.answered(&mut run, answered).await?,
                    Err(error) => tracing::error!(%error, "a check of a peer's blocks panicked"),
                },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Takes over how far the driver has got.
    fn follow(&self, run: &mut Run, snapshot: &Snapshot) {
        let tip = place(snapshot);
        if snapshot.status.epoch != run.epoch {
            // What was checked against the validators of another epoch proves nothing any more.
            run.epoch = snapshot.status.epoch;
            run.restart(tip);
            run.certified = Height::ZERO;
            return;
        }
        while run.handed.front().is_some_and(|(last, _)| *last <= tip.height) {
            run.handed.pop_front();
            run.moved_at = Instant::now();
        }
        if tip.height > run.window.base().height {
            run.window.advance(tip);
            run.ask_all_again();
        }
        if run.asked_since.elapsed() > ASK_AGAIN_AFTER {
            run.ask_all_again();
        }
        if let Some((last, from)) = run.handed.front().copied()
            && run.moved_at.elapsed() > TAKEN_WITHIN
        {
            let why = format!(
                "its blocks up to {last} were not made final: the checkpoint they rest on is missing"
            );
            self.peers.drop_for(&from, Fault::Stalled, &why);
            run.restart(tip);
        }
    }

    /// Gives the driver what is next, unless execution is too far behind.
    async fn hand_over(&self, run: &mut Run, snapshot: &Snapshot) -> Result<(), Stopped> {
        while run.window.base().height.since(snapshot.executed) <= MAX_AHEAD {
            match run.window.take() {
                None => break,
                Some(Taken::Next { content: Blocks { candidates, finality, cited }, from, last }) => {
                    self.metrics.sync_blocks.inc_by(candidates.len() as u64);
                    if run.handed.is_empty() {
                        run.moved_at = Instant::now();
                    }
                    run.handed.push_back((last.height, from));
                    run.ask_all_again();
                    let event = Event::Synced(candidates, finality, cited);
                    self.events.send(event).await.map_err(|_| Stopped)?;
                }
                Some(Taken::Unlinked { from, here, there }) => {
                    tracing::error!(
                        peer = self.peers.name(&from), height = %here.height, here = %here.digest, there = %there,
                        "certified blocks of a peer do not continue this node's chain: if other peers' do, the peer lies; \
                         if not, there is a fork, and more validators are broken than the network bears"
                    );
                    let why = format!("its blocks do not continue block {} here", here.height);
                    self.peers.drop_for(&from, Fault::Unlinked, &why);
                }
            }
        }
        Ok(())
    }

    /// The validators that are connected and not set back.
    fn useful(&self, run: &mut Run) -> Vec<PublicKey> {
        let now = Instant::now();
        run.paused.retain(|_, until| *until > now);
        let connected = self.network.peers().into_iter();
        let validators = connected.filter(|peer| peer.link.is_some() && peer.role == p2p::Role::Validator);
        let records = self.peers.records();
        let useful = validators.map(|peer| peer.key).filter(|peer| records.may_be_asked(peer, now));
        useful.filter(|peer| !run.paused.contains_key(peer)).collect()
    }

    /// Asks everybody who is free for what is open.
    fn ask(&self, run: &mut Run, useful: &[PublicKey], turn: &mut usize) {
        *turn = turn.wrapping_add(1);
        for place in 0..useful.len() {
            let peer = useful[(*turn + place) % useful.len()];
            let knows_nothing = run.window.is_probing() && run.without.contains(&peer);
            let has_looked = run.cause == Cause::Follow && run.window.is_probing() && !run.without.is_empty();
            if run.busy.contains(&peer) || knows_nothing || has_looked {
                continue;
            }
            let Some((ticket, span)) = run.window.ask() else { return };
            run.busy.insert(peer);
            let (network, membership) = (self.network.clone(), self.membership.clone());
            run.requests.spawn(async move {
                let outcome = range(&network, &membership, peer, span).await;
                Answered { ticket, span, peer, outcome }
            });
        }
    }

    async fn answered(&self, run: &mut Run, answered: Answered) -> Result<(), Stopped> {
        let Answered { ticket, span, peer, outcome } = answered;
        run.busy.remove(&peer);
        let Checked { blocks, beyond, checkpoint, first } = match outcome {
            Ok(checked) => checked,
            Err(error) => {
                run.window.failed(ticket);
                match error.fault() {
                    Some(fault) => self.peers.drop_for(&peer, fault, &error),
                    None => run.pause(peer),
                }
                return Ok(());
            }
        };
        if let Some(checkpoint) = checkpoint
            && checkpoint.epoch() == run.epoch
            // Where there are blocks of the next epoch it is the one that closed this: the driver needs nothing more.
            && (beyond || checkpoint.checkpoint.height > run.certified)
        {
            run.certified = checkpoint.checkpoint.height;
            run.window.aim(run.certified);
            self.events.send(Event::Certified(checkpoint)).await.map_err(|_| Stopped)?;
        }
        let Some(piece) = blocks else {
            run.window.failed(ticket);
            run.pause(peer);
            if first > span.from && run.told_of_gap.is_none_or(|told| told.elapsed() > TELL_OF_GAP_EVERY) {
                run.told_of_gap = Some(Instant::now());
                tracing::warn!(
                    peer = self.peers.name(&peer), wanted = %span.from, first = %first,
                    "a peer has forgotten the block that is needed here. If all have: stop this node, move data/store away, and \
                     begin from a snapshot with `realdid snapshot fetch`"
                );
            }
            // Blocks of the next epoch can be taken once it has begun here: there is more, for now it is waited for.
            if span.from <= run.window.base().height.next() && !beyond {
                run.without.insert(peer);
            }
            return Ok(());
        };
        self.peers.records().served(&peer);
        self.metrics.sync_bytes.inc_by(piece.bytes as u64);
        if piece.last().height < span.to.min(run.window.target()) {
            run.pause(peer); // The rest is for another.
        }
        let payloads = piece.content.candidates.iter().flat_map(|block| &block.payload);
        let digests: Vec<_> = payloads.copied().collect();
        if run.window.hold(ticket, peer, piece) && !digests.is_empty() {
            // The batches are most of the bytes: they are fetched while the blocks wait for their turn. A fetcher that is
            // full is asked again by the executor.
            let _ = self.fetch.try_send(Want::of_final_blocks(digests));
        }
        Ok(())
    }
}

impl Run {
    /// From `tip` on, nothing is known.
    fn restart(&mut self, tip: Place) {
        self.window.reset(tip);
        self.handed.clear();
        self.ask_all_again();
        self.moved_at = Instant::now();
    }

    /// Who had nothing may have something by now.
    fn ask_all_again(&mut self) {
        self.without.clear();
        self.asked_since = Instant::now();
    }

    fn pause(&mut self, peer: PublicKey) {
        self.paused.insert(peer, Instant::now() + HAD_NOTHING);
    }

    /// Whether there is nothing more to get, as far as the peers go, and the driver does without this.
    fn is_done(&self, snapshot: &Snapshot, useful: &[PublicKey]) -> bool {
        let is_near = self.window.base().height.since(snapshot.executed) <= NEAR;
        let has_looked = match self.cause {
            Cause::Follow => !self.without.is_empty() || useful.is_empty(),
            Cause::Behind => useful.iter().all(|peer| self.without.contains(peer)),
        };
        let is_quiet = self.window.is_empty() && self.requests.is_empty() && self.handed.is_empty();
        self.window.is_probing() && is_quiet && is_near && has_looked
    }
}

fn place(snapshot: &Snapshot) -> Place {
    let tip = snapshot.status.tip;
    Place { height: tip.height, digest: tip.digest }
}

/// Asks a peer for blocks, and checks what it answers.
async fn range(
    network: &Network,
    membership: &Membership,
    peer: PublicKey,
    span: Span,
) -> Result<Checked, NoAnswer> {
    let request = network.request(&peer, encode(&Ask::Blocks(span)));
    let answer = tokio::time::timeout(ANSWERED_WITHIN, request).await.map_err(|_| NoAnswer::Slow(span))??;
    Ok(check(&answer, span, &membership.now())?)
}
