//! Getting a snapshot from peers, before the node runs.
//!
//! Invariants:
//! - What a peer sends is checked before the next piece is taken in; who sends what is not in the manifest, or a manifest that is not
//!   to be believed, is named and not asked any more.
//! - At most [`AHEAD`] pieces are in memory.

use std::collections::{BTreeMap, BTreeSet};
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
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A snapshot was found: of this height, with so many bytes.
    Found(Height, u64),
    /// So many bytes are taken in.
    Taken(u64),
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
    let (consensus, key) = (home.key(KeyRole::Consensus)?, home.key(KeyRole::Network)?);
    let start = (Epoch::ZERO, genesis.height());
    let membership = Membership::new(
        genesis.chain(),
        consensus.public(),
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

/// Makes the ledger in the directory `store` of the newest snapshot that a peer has and that proves itself.
///
/// # Errors
/// When nobody has one, all of them lie, or the disk fails.
pub async fn fetch(
    network: &Network,
    genesis: &Genesis,
    store: &Path,
    progress: &mut dyn FnMut(Step),
) -> anyhow::Result<Fetched> {
    let mut excluded = BTreeSet::new();
    loop {
        let offers = offers(network, &excluded).await?;
        // The newest, and of those the one that most have: more to ask.
        let count = |offer: &Offer| offers.values().filter(|other| other.height == offer.height).count();
        let best = offers.iter().max_by_key(|(_, offer)| (offer.height, count(offer)));
        let Some((author, offer)) = best.map(|(peer, offer)| (*peer, *offer)) else {
            bail!("no peer has a snapshot: let one make one (`realdid snapshot create`), or start without");
        };
        let peers: Vec<PublicKey> =
            offers.iter().filter(|(_, other)| other.height == offer.height).map(|(peer, _)| *peer).collect();
        match from(network, genesis, store, author, &peers, offer, progress).await {
            Ok(fetched) => return Ok(fetched),
            Err(Failed::Liar(error)) => {
                tracing::warn!(peer = %author, error = format!("{error:#}"), "a peer's snapshot is of no use");
                excluded.insert(author);
            }
            Err(Failed::Here(error)) => return Err(error),
        }
    }
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
    /// The peer that the manifest came from.
    Liar(anyhow::Error),
    /// This machine, or all peers.
    Here(anyhow::Error),
}

/// Who offers what.
async fn offers(
    network: &Network,
    excluded: &BTreeSet<PublicKey>,
) -> anyhow::Result<BTreeMap<PublicKey, Offer>> {
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
        let all_asked = network.peers().iter().all(|peer| asked.contains(&peer.key));
        // Who was reached has none: those that are not reached are no reason to wait for long.
        let none_here = offers.is_empty() && !asked.is_empty() && started.elapsed() > NONE_WITHIN;
        if all_asked || none_here {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if offers.is_empty() && asked.is_empty() {
        bail!(
            "no peer could be reached within {} s: are the addresses in genesis.toml right, and is this node's network key \
             admitted by them (as a validator's, or under `observers` in their config.toml)?",
            FOUND_WITHIN.as_secs()
        );
    }
    Ok(offers)
}

async fn from(
    network: &Network,
    genesis: &Genesis,
    store: &Path,
    author: PublicKey,
    peers: &[PublicKey],
    offer: Offer,
    progress: &mut dyn FnMut(Step),
) -> Result<Fetched, Failed> {
    let liar = |error: anyhow::Error| Failed::Liar(error);
    let bytes = whole(network, author, offer.height, Part::Manifest, MAX_MANIFEST_BYTES as u64).await;
    let bytes = bytes.map_err(|error| liar(error.into()))?;
    let manifest = Manifest::decode(&bytes).map_err(|error| liar(error.into()))?;
    if manifest.height() != Some(offer.height) {
        return Err(liar(anyhow::anyhow!("its manifest is of another height than it said")));
    }
    let mut taking = Taking::begin(store, genesis, &manifest).map_err(sort)?;
    progress(Step::Found(offer.height, manifest.bytes()));
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
            requests.spawn(
                async move { (place, piece(&network, &mut sources, offer.height, place, info).await) },
            );
            asked += 1;
        }
        while !here.contains_key(&number) {
            match requests.join_next().await {
                Some(Ok((place, Ok(bytes)))) => {
                    here.insert(place, bytes);
                }
                Some(Ok((_, Err(error)))) => return Err(Failed::Here(error)),
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
    Ok(Fetched { height: offer.height, pieces: manifest.pieces.len(), bytes: manifest.bytes() })
}

/// Whose fault it is: what came has the digests that the manifest lists, so that it is the manifest's author who lies.
fn sort(error: TakeError) -> Failed {
    match error {
        TakeError::Restore(ledger::RestoreError::Store(error)) => Failed::Here(error.into()),
        error => Failed::Liar(error.into()),
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
    for _ in 0..TRIES {
        if sources.peers.is_empty() {
            break;
        }
        let peer = sources.peers[sources.turn % sources.peers.len()];
        let came = whole(network, peer, height, part, info.bytes).await;
        match came.and_then(
            |bytes| if digest(&bytes) == info.digest { Ok(bytes) } else { Err(NoSlice::OtherDigest) },
        ) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => {
                tracing::debug!(%peer, piece = place, %error, "a peer did not give a piece");
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
    bail!(
        "no peer gave piece {place} of the snapshot of block {height}{why}. Do it again: it goes on where it ended"
    )
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
