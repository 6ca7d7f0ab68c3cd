//! Where batches come in: they are checked (the signatures of all that wait in one go), made durable, and then reported to the
//! driver, which acknowledges them. A thread of its own, so that checking never holds a vote up.
//!
//! What a vote or the executor waits for comes first, and is reported before pushes are looked at again ([`Entrance`]).
//!
//! Invariant: what is reported as held was found valid and is durable (rule P2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesis::{Digest, Genesis, Height, PublicKey};
use ledger::{CheckedBatch, Store, UncheckedBatch};
use tokio::sync::{mpsc, watch};

use crate::availability::Held;
use crate::driver::{Event, Snapshot};
use crate::metrics::Metrics;
use crate::opaque::{Contents, Header};
use crate::quota::{Account, Quotas};
use crate::shelf::Shelf;

/// How many batches are checked and made durable in one go at most.
const AT_ONCE: usize = 64;
/// No more are, once they have so many bytes: about 1,500 registrations, of which more together gain nothing.
const BYTES_AT_ONCE: usize = 512 << 10;
/// For how long pushes are dropped after the first invalid batch; twice as long after each further one.
const FIRST_PENALTY: Duration = Duration::from_secs(1);
const LONGEST_PENALTY: Duration = Duration::from_secs(600);
/// How many batches may wait to be checked, of those that are urgent and of the others.
const QUEUE: usize = 256;

/// A batch on its way in.
#[derive(Debug)]
pub enum Arrival {
    /// Pushed by a validator, which must be its author.
    Pushed(p2p::Incoming),
    /// Asked for by its digest; on whose account, unless a final block names it.
    Fetched(Option<Account>, Vec<u8>),
    /// Made here, of transactions that were checked when they were submitted.
    Own(Sound),
}

/// A batch that was found valid.
#[derive(Debug)]
pub struct Sound {
    /// What the driver is told of it.
    pub held: Held,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// For the shelf; none where nobody looks into batches.
    transactions: Option<Arc<CheckedBatch>>,
}

/// What the thread needs.
pub struct Intake {
    /// The network's genesis.
    pub genesis: Arc<Genesis>,
    /// This node's network key.
    pub me: PublicKey,
    /// Where batches are kept.
    pub store: Arc<Store>,
    /// Where checked ones wait for execution.
    pub shelf: Arc<Shelf>,
    /// What authors have waiting.
    pub quotas: Arc<Quotas>,
    /// How far the network is known to be.
    pub snapshot: watch::Receiver<Snapshot>,
    /// The driver.
    pub events: mpsc::Sender<Event>,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// What batches hold.
    pub contents: Contents,
}

impl Sound {
    /// One of transactions.
    pub fn checked(batch: Arc<CheckedBatch>, bytes: Arc<[u8]>) -> Self {
        let held = Held { digest: batch.digest(), expires_at: batch.expires_at() };
        Self { held, bytes, transactions: Some(batch) }
    }

    /// One that nobody looks into.
    pub const fn opaque(held: Held, bytes: Arc<[u8]>) -> Self {
        Self { held, bytes, transactions: None }
    }
}

impl Arrival {
    /// Whether a vote or the executor waits for it.
    const fn is_urgent(&self) -> bool {
        matches!(self, Self::Fetched(None | Some(Account::Leader(_)), _))
    }
}

/// The way in. Clones are the same.
#[derive(Clone, Debug)]
pub struct Entrance {
    urgent: mpsc::Sender<Arrival>,
    others: mpsc::Sender<Arrival>,
}

/// Its end, for [`Intake::run`].
#[derive(Debug)]
pub struct Arrivals {
    urgent: mpsc::Receiver<Arrival>,
    others: mpsc::Receiver<Arrival>,
}

/// The way in, and its end.
pub fn channel() -> (Entrance, Arrivals) {
    let ((urgent, urgent_end), (others, others_end)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
    (Entrance { urgent, others }, Arrivals { urgent: urgent_end, others: others_end })
}

impl Entrance {
    /// Brings a batch in; waits while too many wait.
    ///
    /// # Errors
    /// When the node stops.
    pub async fn send(&self, arrival: Arrival) -> Result<(), mpsc::error::SendError<Arrival>> {
        let way = if arrival.is_urgent() { &self.urgent } else { &self.others };
        way.send(arrival).await
    }
}

impl Arrivals {
    /// The next batch, urgent ones first; none when no more can come.
    async fn next(&mut self) -> Option<Arrival> {
        tokio::select! {
            biased;
            Some(arrival) = self.urgent.recv() => Some(arrival),
            Some(arrival) = self.others.recv() => Some(arrival),
            else => None,
        }
    }

    /// What may be checked together with the one before, without waiting. After an urgent one nothing else is: what
    /// waits for it would wait for that too.
    fn next_with(&mut self, is_urgent: bool) -> Option<Arrival> {
        let urgent = self.urgent.try_recv().ok();
        urgent.or_else(|| if is_urgent { None } else { self.others.try_recv().ok() })
    }
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Invalid(#[from] ledger::BatchError),
    #[error("{pusher} pushed a batch by {author}")]
    NotItsAuthor { pusher: PublicKey, author: PublicKey },
    #[error(
        "it expires at height {expires_at}, but the newest known is {newest} and the longest lifetime {most}"
    )]
    Lifetime { expires_at: Height, newest: Height, most: u64 },
    #[error("as much waits on its account as may: {0:?}")]
    Quota(Account),
}

/// A batch that was found valid, and on whose account it waits.
type Taken = (Sound, Option<Account>);

/// A batch that may be kept, as far as what costs little tells.
#[derive(Debug)]
enum Accepted {
    /// Its signatures are to be checked.
    Unchecked(UncheckedBatch),
    /// Nobody looks into it; when it expires.
    Opaque(Height),
}

impl Accepted {
    const fn expires_at(&self) -> Height {
        match self {
            Self::Unchecked(batch) => batch.expires_at(),
            Self::Opaque(expires_at) => *expires_at,
        }
    }
}

/// What came in one go.
#[derive(Default)]
struct Round {
    /// Batches whose signatures are to be checked, with their digests, bytes and accounts.
    unchecked: Vec<(UncheckedBatch, Digest, Vec<u8>, Option<Account>)>,
    taken: Vec<Taken>,
}

impl Intake {
    /// Takes batches in until the channel closes or the disk fails.
    ///
    /// # Errors
    /// When the disk fails: the node stops.
    pub fn run(self, mut arrivals: Arrivals) -> Result<(), IntakeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut penalties = Penalties::default();
        while let Some(first) = runtime.block_on(arrivals.next()) {
            self.take_in(first, &mut arrivals, &mut penalties)?;
        }
        Ok(())
    }

    /// Checks `first` and what waits with it, makes them durable in one go, and reports them.
    fn take_in(
        &self,
        first: Arrival,
        arrivals: &mut Arrivals,
        penalties: &mut Penalties,
    ) -> Result<(), ledger::StoreError> {
        let (mut round, mut is_urgent) = (Round::default(), first.is_urgent());
        self.look_at(first, &mut round, penalties)?;
        // Refused ones count too: a member that goes on sending them must not put off the others' for ever.
        for _ in 1..AT_ONCE {
            if round.unchecked.iter().map(|(_, _, bytes, _)| bytes.len()).sum::<usize>() >= BYTES_AT_ONCE {
                break;
            }
            let Some(arrival) = arrivals.next_with(is_urgent) else { break };
            is_urgent |= arrival.is_urgent();
            self.look_at(arrival, &mut round, penalties)?;
        }
        self.check(&mut round, penalties);
        self.keep(round.taken)
    }

    fn look_at(
        &self,
        arrival: Arrival,
        round: &mut Round,
        penalties: &mut Penalties,
    ) -> Result<(), ledger::StoreError> {
        let (account, bytes) = match arrival {
            Arrival::Own(sound) => {
                round.taken.push((sound, Some(Account::Pusher(self.me))));
                return Ok(());
            }
            Arrival::Pushed(incoming) if penalties.excludes(incoming.from) => return Ok(()),
            Arrival::Pushed(incoming) => (Some(Account::Pusher(incoming.from)), incoming.frame),
            Arrival::Fetched(account, bytes) => (account, bytes),
        };
        let digest = CheckedBatch::digest_of(&bytes);
        let mut of_round = round.taken.iter().map(|(sound, _)| sound.held.digest);
        if of_round.any(|taken| taken == digest) || round.unchecked.iter().any(|(_, it, ..)| *it == digest) {
            return Ok(()); // Pushed and fetched at once: it is about to be reported.
        }
        if self.store.has_batch(&digest)? {
            // It was pushed again because its author misses the acknowledgement.
            if let Some(Account::Pusher(_)) = account {
                self.report(Event::Again(digest));
            }
            return Ok(());
        }
        match self.accept(account, &bytes) {
            Ok(Accepted::Unchecked(batch)) => round.unchecked.push((batch, digest, bytes, account)),
            Ok(Accepted::Opaque(expires_at)) => {
                round.taken.push((Sound::opaque(Held { digest, expires_at }, bytes.into()), account));
            }
            Err(refused) => self.refuse(digest, account, &refused, penalties),
        }
        Ok(())
    }

    /// Checks the signatures of all batches that came in one go.
    fn check(&self, round: &mut Round, penalties: &mut Penalties) {
        if round.unchecked.is_empty() {
            return;
        }
        let timer = self.metrics.batch_check_seconds.start_timer();
        let mut batches = Vec::with_capacity(round.unchecked.len());
        let split = |(batch, digest, bytes, account)| {
            batches.push(batch);
            (digest, bytes, account)
        };
        let others: Vec<_> = std::mem::take(&mut round.unchecked).into_iter().map(split).collect();
        let checked = UncheckedBatch::check_all(batches);
        timer.observe_duration();
        for ((digest, bytes, account), checked) in others.into_iter().zip(checked) {
            match checked {
                Ok(batch) => round.taken.push((Sound::checked(Arc::new(batch), bytes.into()), account)),
                Err(error) => self.refuse(digest, account, &error.into(), penalties),
            }
        }
    }

    fn refuse(&self, digest: Digest, account: Option<Account>, why: &Refused, penalties: &mut Penalties) {
        self.metrics.batches_refused.inc();
        if penalties.are_told() {
            tracing::warn!(%digest, ?account, reason = %why, "a batch was refused");
        }
        if matches!(why, Refused::Invalid(_)) {
            if let Some(Account::Pusher(from)) = account {
                penalties.add(from);
            }
            self.report(Event::Invalid(digest));
        }
    }

    /// Looks at all but the signatures, which cost most: a batch that is over can be sent for ever.
    fn accept(&self, account: Option<Account>, bytes: &[u8]) -> Result<Accepted, Refused> {
        if let Some(account) = account.filter(|account| !self.quotas.has_room(*account, bytes.len())) {
            return Err(Refused::Quota(account));
        }
        let (author, accepted) = match &self.contents {
            Contents::Transactions => {
                let batch = CheckedBatch::read(bytes, &self.genesis)?;
                (batch.author(), Accepted::Unchecked(batch))
            }
            Contents::Opaque(_) => {
                let header = Header::read(bytes, &self.genesis)?;
                (header.author, Accepted::Opaque(header.expires_at))
            }
        };
        if let Some(Account::Pusher(from)) = account
            && author != from
        {
            return Err(Refused::NotItsAuthor { pusher: from, author });
        }
        // A final block's batch may be an old one. Any other must be one that coming blocks may name.
        // A node that is behind knows from a checkpoint how far the others are.
        let newest = self.store.tip().height.max(self.snapshot.borrow().status.certified);
        let (expires_at, most) = (accepted.expires_at(), self.genesis.parameters().max_batch_lifetime);
        if account.is_some() && (expires_at <= newest || expires_at.since(newest) > most) {
            return Err(Refused::Lifetime { expires_at, newest, most });
        }
        Ok(accepted)
    }

    fn keep(&self, taken: Vec<Taken>) -> Result<(), ledger::StoreError> {
        if taken.is_empty() {
            return Ok(());
        }
        let rows: Vec<(Digest, Height, &[u8])> = taken
            .iter()
            .map(|(sound, _)| (sound.held.digest, sound.held.expires_at, sound.bytes.as_ref()))
            .collect();
        self.store.put_batches(&rows)?;
        for (sound, account) in &taken {
            if let Some(account) = account {
                self.quotas.charge(sound.held.digest, *account, sound.bytes.len());
            }
        }
        let (mut waiting, mut ordered) = (Vec::new(), Vec::new());
        for (Sound { held, transactions, .. }, account) in taken {
            if account.is_some() {
                waiting.push(held)
            } else {
                ordered.push(held)
            }
            if let Some(batch) = transactions {
                self.shelf.put(batch);
            }
        }
        if !waiting.is_empty() {
            self.report(Event::Held(waiting));
        }
        if !ordered.is_empty() {
            self.report(Event::Caught(ordered));
        }
        Ok(())
    }

    fn report(&self, event: Event) {
        // The driver is gone only when the node stops; then nobody needs to know.
        let _ = self.events.blocking_send(event);
    }
}

/// Why taking batches in ended.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The disk failed, or is damaged.
    #[error(transparent)]
    Store(#[from] ledger::StoreError),
    /// The system gives no means to wait.
    #[error("can not wait for batches: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Members that pushed invalid batches, and until when their pushes are dropped unread: checking one costs this node
/// more than making it cost them. What an honest block needs of theirs is fetched.
#[derive(Debug, Default)]
struct Penalties {
    members: BTreeMap<PublicKey, (u32, Instant)>,
    told_at: Option<Instant>,
}

impl Penalties {
    /// Several that came together count once: none of them was sent after the penalty.
    fn add(&mut self, member: PublicKey) {
        if self.excludes(member) {
            return;
        }
        let (count, until) = self.members.entry(member).or_insert((0, Instant::now()));
        *count += 1;
        *until =
            Instant::now() + FIRST_PENALTY.saturating_mul(1 << (*count - 1).min(16)).min(LONGEST_PENALTY);
    }

    /// Whether a refusal is logged. All are counted; a line a second is enough, and no member can fill the disk with lines.
    fn are_told(&mut self) -> bool {
        let now = Instant::now();
        let are_told = self.told_at.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1));
        if are_told {
            self.told_at = Some(now);
        }
        are_told
    }

    fn excludes(&self, member: PublicKey) -> bool {
        self.members.get(&member).is_some_and(|(_, until)| Instant::now() < *until)
    }
}

#[cfg(test)]
mod tests;
