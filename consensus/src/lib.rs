//! One order for all: PBFT's three phases, chained, with a view change that needs no sub-protocol.
//!
//! Given an input, what next? That is all this crate says. It has no I/O, no clock, no threads and no randomness;
//! [`Replica::step`] takes an [`Input`] and returns an [`Output`]: records to make durable, then actions.
//!
//! - [`replica`]: the state machine
//! - [`message`]: what is said and signed; [`Verified`] is the proof that a signature was checked
//! - [`certificate`]: a quorum's votes
//! - [`candidate`]: blocks before they are final
//! - [`output`]: records first, then actions
//!
//! # The protocol
//!
//! `n` validators of weight one, at most `f = ⌊(n−1)/3⌋` faulty, quorum `q = ⌈(n+f+1)/2⌉`. The phases are those
//! of PBFT (Castro & Liskov 1999), in a chain; the view change is the rule of Simplex (Chan & Pass 2023): a view
//! gets a prepare certificate or a view-change certificate, so there is no NEW-VIEW message. Every signature is
//! over `domain ‖ chain id ‖ epoch ‖ kind ‖ view ‖ digest`.
//!
//! - **P1 Propose.** In view v its leader sends PRE-PREPARE(v, block). The block names its parent (view, digest),
//!   its height, which is its parent's + 1, its time and its payload. It has a fixed size but for the payload.
//! - **P2 Prepare.** A replica sends at most one PREPARE(v, digest), only in its current view, only for the
//!   leader's first pre-prepare, once it holds the parent's prepare certificate (or the parent is final), a
//!   view-change certificate for each view between the parent's and v, and every payload item, valid and durable.
//!   An item that an ancestor names already, final or not, is invalid. "Not yet" waits; "never" means invalid. It may prepare in a view that it gave up: only COMMIT is barred
//!   there.
//! - **P3** A quorum of PREPARE is a prepare certificate. On holding one: enter v+1, and send COMMIT(v, digest)
//!   unless VIEW-CHANGE(v) was sent.
//! - **P4** A quorum of COMMIT is a commit certificate: the block and all its ancestors are final.
//! - **P5 View change.** On time-out, on an invalid pre-prepare, or when f+1 others have in the current view: send
//!   VIEW-CHANGE(v), never after COMMIT(v). A quorum is a view-change certificate: enter v+1. A pre-prepare of a
//!   higher view is kept, one a leader; votes of the next few views are counted; beyond, a message of a higher
//!   view leads to a question for certificates and nothing else.
//! - **P7 Durable before sent.** What is signed, the block behind a PREPARE, and every certificate that is acted
//!   on are records, and records are durable before the actions of their step are performed. Nothing is signed at
//!   or below the final view.
//! - **P8 Spread and heal.** Views are entered by certificate alone. Who enters a view passes the certificate on,
//!   after a grace of Δ/4, to every peer that has not shown that it is there too; a message from an older view is
//!   answered in the same way. What is signed is sent again every Δ until a certificate or a later vote settles
//!   it (a VIEW-CHANGE while something waits or f+1 others sent one, a COMMIT while a non-empty block waits for
//!   finality: who is alone with what it signed falls silent with the rest); what is missing is asked for again as
//!   often, of one peer after the other.
//! - **P9 Time-outs.** 2Δ for the pre-prepare, 3Δ for the view. A view that failed raises Δ by half, to a cap; a
//!   final block lowers it one step, to its base. A leader that signed nothing for n views and Δ, while a quorum
//!   did, is skipped at once.
//! - **P10 Idle means quiet.** View timers run only while something waits: digests that are not ordered, a
//!   non-empty block that is prepared and not final, or a heartbeat that is due. An empty block is proposed for a
//!   heartbeat, or when a non-empty one waits for finality for Δ, and never else.
//! - **P11 Time.** A block's time is above its parent's and at most max(clock + bound, parent's + 1 ms); too early
//!   means wait. There is no "too old". The clock is consulted for PREPARE alone.
//!
//! P6 (checkpoints), P12 (epochs), P13 (evidence) and the wiped replica of P7 are not built yet.
//!
//! # Why it is safe
//!
//! Two quorums share an honest replica, which prepares once a view, so a view has at most one prepare certificate
//! (P2). An honest replica never sends both COMMIT(v) and VIEW-CHANGE(v), so a view with a commit certificate has
//! no view-change certificate (P3, P5); a later block cannot skip it (P2), and so descends from it.

pub mod candidate;
pub mod certificate;
pub mod checkpoint;
pub mod evidence;
pub mod message;
pub mod output;
mod pacemaker;
mod pool;
pub mod replica;
mod tally;

pub use candidate::{Block, Candidate, Parent, Tip};
pub use certificate::Certificate;
pub use checkpoint::{Checkpoint, CheckpointCertificate, Cited, Finality};
pub use evidence::Evidence;
pub use message::{Context, Message, Verified};
pub use output::{Action, Halt, Output, Recipient, Record};
pub use pool::Offer;
pub use replica::standing::Report;
pub use replica::{Config, Executed, Input, Memory, Now, Replica, Start, Status, Verdict};
