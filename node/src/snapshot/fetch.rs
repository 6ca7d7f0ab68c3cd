//! Getting a snapshot from peers, before the node runs.
//!
//! Invariants:
//! - What a peer sends is checked before the next piece is taken in; who sends what is not in the manifest is not asked any more, and
//!   a manifest that is not to be believed, or whose pieces nobody has, is told and given up for another.
//! - At most [`AHEAD`] pieces are in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use genesis::encoding::{decode, encode};
use genesis::{Epoch, Genesis, Height, PublicKey};
use ledger::snapshot::{PieceInfo, digest};
use p2p::{Inbox, Network, RequestError};
use tokio::task::JoinSet;

use super::take::{TakeError, Taking};
use super::{MAX_MANIFEST_BYTES, Manifest, Part};
use crate::home::{Home, KeyRole};
use crate::membership::{Membership, Others};
use crate::node::startup::limits;
use crate::wire::{Answer, Ask, MAX_ANSWER_BYTES, Offer};

/// How many pieces are asked for before the first of them is taken in.
const AHEAD: usize = 8;
/// How long to wait for the first peer with a snapshot.
const FOUND_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait for more peers, once some were reached that have none.
const NONE_WITHIN: Duration = Duration::from_secs(5);
/// How long to go on asking the others, once one has a snapshot.
const OTHERS_WITHIN: Duration = Duration::from_secs(2);
/// How long to pause where nobody can be asked.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a piece may be asked for in vain.
const TRIES: u32 = 50;

/// What was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The block that the ledger stands at now.
    pub height: Height,
    /// How many pieces there were.
    pub pieces: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

/// What is told while it goes on.
#[derive(Clone, Debug)]
pub enum Step {
    /// A snapshot was found: of this height, with so many bytes.
    Found(Height, u64),
    /// So many bytes are taken in.
    Taken(u64),
    /// A snapshot is given up, and why: another one is looked for.
    GivenUp(String),
}

/// Why a peer's answer is of no use.
#[derive(Debug, thiserror::Error)]
enum NoSlice {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("its answer cannot be read: {0}")]
    Encoding(#[from] genesis::encoding::DecodeError),
    #[error("its answer is about something else")]
    AnotherKind,
    #[error("it does not have that snapshot any more")]
    Gone,
    #[error("it sent something else than the manifest lists")]
    OtherDigest,
}

impl NoSlice {
    /// Whether the peer is not to be asked again.
    const fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Request(RequestError::Busy | RequestError::TimedOut | RequestError::NotConnected)
        )
    }
}

/// Makes the ledger of the node in `home`, which this process has locked, of the newest snapshot that a peer has: with the node's own
/// key and at its own address, so that peers admit it.
///
/// # Errors
/// When a file or a port cannot be used, nobody has a snapshot that proves itself, or the disk fails.
pub async fn join(home: &Home, progress: &mut dyn FnMut(Step)) -> anyhow::Result<Fetched> {
    let (config, genesis) = (home.config()?, home.genesis()?);
    let (consensus, key) = (home.public_key(KeyRole::Consensus)?, home.key(KeyRole::Network)?);
    let start = (Epoch::ZERO, genesis.height());
    let membership = Membership::new(
        genesis.chain(),
        consensus,
        config.observers,
        start,
        genesis.validators(),
        Others::default(),
    );
    let (network, inbox) = Network::start(p2p::Config {
        key,
        chain: genesis.chain(),
        listen: config.p2p_listen,
        members: membership.admitted(),
        limits: limits(&genesis),
    })
    .await?;
    let mut drains = drain(inbox);
    let fetched = fetch(&network, &genesis, &home.store(), progress).await;
    drains.shutdown().await;
    network.shutdown().await;
    fetched
}

/// Makes the ledger in the directory `store` of the newest snapshot that a peer has and that proves itself; of the one that was begun
/// before, where somebody still has that. Its manifest is kept beside the directory meanwhile.
///
/// # Errors
/// When nobody has one, all of them lie, or the disk fails.
pub async fn fetch(
    network: &Network,
    genesis: &Genesis,
    store: &Path,
    progress: &mut dyn FnMut(Step),
) -> anyhow::Result<Fetched> {
    let kept = store.with_extension("manifest");
    let mut begun = fs::read(&kept).ok().and_then(|bytes| Manifest::decode(&bytes).ok());
    let (mut excluded, mut last) = (BTreeSet::new(), None);
    loop {
        let Reached { asked, offers } = reached(network, &excluded).await?;
        let (author, manifest, peers) = match begun.take() {
            Some(manifest) => (None, Ok(manifest), asked.into_iter().collect()),
            None => {
                // The newest, and of those the one that most have: more to ask.
                let count =
                    |offer: &Offer| offers.values().filter(|other| other.height == offer.height).count();
                let best = offers.iter().max_by_key(|(_, offer)| (offer.height, count(offer)));
                let Some((author, offer)) = best else { return Err(none(last)) };
                let of_height = offers.iter().filter(|(_, other)| other.height == offer.height);
                let peers: Vec<PublicKey> = of_height.map(|(peer, _)| *peer).collect();
                (Some(*author), manifest(network, *author, *offer).await, peers)
            }
        };
        let taken = match manifest {
            Ok(manifest) => from(network, genesis, store, &kept, manifest, &peers, progress).await,
            Err(error) => Err(Failed::Given(error)),
        };
        let error = match taken {
            Ok(fetched) => return Ok(fetched),
            Err(Failed::Given(error)) => error,
            Err(Failed::Here(error)) => return Err(error),
        };
        let whose =
            author.map_or_else(|| "the snapshot that was begun".to_owned(), |peer| format!("that of {peer}"));
        let why = format!("{whose} is of no use: {error:#}");
        progress(Step::GivenUp(why.clone()));
        last = Some(why);
        excluded.extend(author);
    }
}

/// What to say where there is nothing left to try.
fn none(last: Option<String>) -> anyhow::Error {
    let tried = last.map_or_else(String::new, |why| format!("; last, {why}"));
    anyhow::anyhow!(
        "no peer has a snapshot that can be used{tried}. Let a node make one (`realdid snapshot create`), copy the folder of one \
         here and use `realdid snapshot restore`, or start without"
    )
}

async fn manifest(network: &Network, author: PublicKey, offer: Offer) -> anyhow::Result<Manifest> {
    let bytes = whole(network, author, offer.height, Part::Manifest, MAX_MANIFEST_BYTES as u64).await?;
    let manifest = Manifest::decode(&bytes)?;
    anyhow::ensure!(
        manifest.height() == Some(offer.height),
        "its manifest is of another height than it said"
    );
    Ok(manifest)
}

/// Drains what peers send to a node that does not run yet.
fn drain(inbox: Inbox) -> JoinSet<()> {
    let Inbox { mut votes, mut batches, mut requests, mut peers } = inbox;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { while votes.recv().await.is_some() {} });
    tasks.spawn(async move { while batches.recv().await.is_some() {} });
    tasks.spawn(async move { while requests.recv().await.is_some() {} });
    tasks.spawn(async move { while peers.recv().await.is_some() {} });
    tasks
}

enum Failed {
    /// What was given: a manifest that is not to be believed, or pieces that nobody has.
    Given(anyhow::Error),
    /// This machine.
    Here(anyhow::Error),
}

/// Who answered.
struct Reached {
    /// All that did, but for the excluded.
    asked: BTreeSet<PublicKey>,
    /// What they offer.
    offers: BTreeMap<PublicKey, Offer>,
}

/// Asks everybody who can be reached, and is not excluded, what there is.
async fn reached(network: &Network, excluded: &BTreeSet<PublicKey>) -> anyhow::Result<Reached> {
    let (mut offers, mut asked) = (BTreeMap::new(), BTreeSet::new());
    let started = Instant::now();
    let mut until = started + FOUND_WITHIN;
    while Instant::now() < until {
        let connected = network.peers().into_iter().filter(|peer| peer.link.is_some()).map(|peer| peer.key);
        let open: Vec<PublicKey> =
            connected.filter(|key| !asked.contains(key) && !excluded.contains(key)).collect();
        for peer in open {
            match network.request(&peer, encode(&Ask::Snapshot)).await {
                Ok(answer) => {
                    asked.insert(peer);
                    if let Ok(Answer::Snapshot(Some(offer))) = decode(&answer, MAX_ANSWER_BYTES) {
                        offers.insert(peer, offer);
                        until = until.min(Instant::now() + OTHERS_WITHIN);
                    }
                }
                Err(error) => tracing::debug!(%peer, %error, "a peer could not be asked for a snapshot"),
            }
        }
        let is_known = |key: &PublicKey| asked.contains(key) || excluded.contains(key);
        let all_asked = network.peers().iter().all(|peer| is_known(&peer.key));
        // Who was reached has none: those that are not reached are no reason to wait for long.
        let none_here = offers.is_empty()
            && !(asked.is_empty() && excluded.is_empty())
            && started.elapsed() > NONE_WITHIN;
        if all_asked || none_here {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if asked.is_empty() && excluded.is_empty() {
        bail!(
            "no peer could be reached within {} s: are the addresses in genesis.toml right, and is this node's network key \
             admitted by them (as a validator's, or under `observers` in their config.toml)? Where the validators of genesis.toml \
             are gone, copy the folder of a snapshot here and use `realdid snapshot restore`",
            FOUND_WITHIN.as_secs()
        );
    }
    Ok(Reached { asked, offers })
}

async fn from(
    network: &Network,
    genesis: &Genesis,
    store: &Path,
    kept: &Path,
    manifest: Manifest,
    peers: &[PublicKey],
    progress: &mut dyn FnMut(Step),
) -> Result<Fetched, Failed> {
    let mut taking = Taking::begin(store, genesis, &manifest).map_err(sort)?;
    fs::write(kept, manifest.encode())
        .with_context(|| format!("cannot write {}", kept.display()))
        .map_err(Failed::Here)?;
    let height = manifest.height().unwrap_or_default();
    progress(Step::Found(height, manifest.bytes()));
    let first = taking.next().map_or(manifest.pieces.len(), |(number, _)| number);
    let mut taken: u64 = manifest.pieces[..first].iter().map(|info| info.bytes).sum();
    let mut sources = Sources { peers: peers.to_vec(), turn: 0 };
    let mut requests = JoinSet::new();
    let mut here: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut asked = first;
    while let Some((number, info)) = taking.next() {
        while asked < manifest.pieces.len() && asked < number + AHEAD {
            let (network, mut sources, info) = (network.clone(), sources.next(), manifest.pieces[asked]);
            let place = asked;
            requests.spawn(async move { (place, piece(&network, &mut sources, height, place, info).await) });
            asked += 1;
        }
        while !here.contains_key(&number) {
            match requests.join_next().await {
                Some(Ok((place, Ok(bytes)))) => {
                    here.insert(place, bytes);
                }
                Some(Ok((_, Err(error)))) => return Err(Failed::Given(error)),
                Some(Err(error)) => return Err(Failed::Here(error.into())),
                None => return Err(Failed::Here(anyhow::anyhow!("piece {number} was never asked for"))),
            }
        }
        let bytes = here.remove(&number).unwrap_or_default();
        taking.put(&bytes).map_err(sort)?;
        taken += info.bytes;
        progress(Step::Taken(taken));
    }
    taking.finish().map_err(sort)?;
    // Of no use any more; one that stays is of another ledger, and refused by its list.
    drop(fs::remove_file(kept));
    Ok(Fetched { height, pieces: manifest.pieces.len(), bytes: manifest.bytes() })
}

/// Whose fault it is: what came has the digests that the manifest lists, so that it is the manifest's author who lies.
fn sort(error: TakeError) -> Failed {
    match error {
        TakeError::Restore(ledger::RestoreError::Store(error)) => Failed::Here(error.into()),
        error => Failed::Given(error.into()),
    }
}

/// Who is asked, in turn.
#[derive(Clone)]
struct Sources {
    peers: Vec<PublicKey>,
    turn: usize,
}

impl Sources {
    /// The same, beginning with another peer each time.
    fn next(&mut self) -> Self {
        self.turn = self.turn.wrapping_add(1);
        self.clone()
    }
}

/// A piece, from whoever has it.
async fn piece(
    network: &Network,
    sources: &mut Sources,
    height: Height,
    place: usize,
    info: PieceInfo,
) -> anyhow::Result<Vec<u8>> {
    let part = Part::Piece(u32::try_from(place).context("a snapshot has fewer pieces")?);
    let mut last = None;
    let mut tries = 0;
    while tries < TRIES && !sources.peers.is_empty() {
        let peer = sources.peers[sources.turn % sources.peers.len()];
        let came = whole(network, peer, height, part, info.bytes).await;
        match came.and_then(
            |bytes| if digest(&bytes) == info.digest { Ok(bytes) } else { Err(NoSlice::OtherDigest) },
        ) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => {
                tracing::debug!(%peer, piece = place, %error, "a peer did not give a piece");
                // A peer takes few requests at a time: those of other pieces come first.
                tries += u32::from(!matches!(error, NoSlice::Request(RequestError::Busy)));
                if error.is_final() {
                    sources.peers.retain(|other| *other != peer);
                } else {
                    sources.turn = sources.turn.wrapping_add(1);
                    tokio::time::sleep(PAUSE).await;
                }
                last = Some((peer, error));
            }
        }
    }
    let why = last.map_or_else(String::new, |(peer, error)| format!("; last, of {peer}: {error}"));
    bail!("no peer gave piece {place} of the snapshot of block {height}{why}")
}

/// A file of a peer's snapshot, of at most `most` bytes.
async fn whole(
    network: &Network,
    peer: PublicKey,
    height: Height,
    part: Part,
    most: u64,
) -> Result<Vec<u8>, NoSlice> {
    let mut bytes = Vec::new();
    loop {
        let ask = Ask::Slice { height, part, offset: bytes.len() as u64 };
        let answer = network.request(&peer, encode(&ask)).await?;
        let slice = match decode(&answer, MAX_ANSWER_BYTES)? {
            Answer::Slice(slice) => slice,
            Answer::NoSlice => return Err(NoSlice::Gone),
            _ => return Err(NoSlice::AnotherKind),
        };
        if bytes.len() as u64 + slice.len() as u64 > most {
            return Err(NoSlice::OtherDigest);
        }
        let is_last = (slice.len() as u64) < super::SLICE_BYTES;
        bytes.extend(slice);
        if is_last {
            return Ok(bytes);
        }
    }
}
