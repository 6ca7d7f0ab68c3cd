//! One order for all: PBFT's three phases, chained, with a view change that needs no sub-protocol.
//!
//! Given an input, what next? That is all this crate says. It has no I/O, no clock, no threads and no randomness;
//! [`Replica::step`] takes an [`Input`] and returns an [`Output`]: records to make durable, then actions.
//!
//! - [`replica`]: the state machine; a rule, or a few, a file
//! - [`message`]: what is said and signed; [`Verified`] is the proof that a signature was checked
//! - [`certificate`]: a quorum's votes
//! - [`checkpoint`]: what the validators say of the ledger after a block
//! - [`evidence`]: what no honest validator signs, and who did
//! - [`candidate`]: blocks before they are final
//! - [`output`]: records first, then actions
//! - [`remains`]: what a replica's records hold when its network is lost for good
//!
//! # The protocol
//!
//! `n` validators of weight one, at most `f = ⌊(n−1)/3⌋` faulty, quorum `q = ⌈(n+f+1)/2⌉`. The phases are those
//! of PBFT (Castro & Liskov 1999), in a chain; the view change is the rule of Simplex (Chan & Pass 2023): a view
//! gets a prepare certificate or a view-change certificate, so there is no NEW-VIEW message. Every signature is
//! over `domain ‖ chain id ‖ epoch ‖ kind ‖ view ‖ digest`. View v is led by validator v mod n. Δ, its cap, the heartbeat, the
//! clock's bound and K (`max_checkpoint_lag`) are `genesis::Parameters`. Assumed: a link says who speaks; the node calls
//! payload valid only when it is durable; execution is deterministic.
//!
//! - **P1 Propose.** In view v its leader sends at most one PRE-PREPARE(v, block), none after VIEW-CHANGE(v), on the block with
//!   the highest prepare certificate that it holds, else on the final one. The block names its parent (view, digest),
//!   its height, which is its parent's + 1, its time, the checkpoint that it cites (P6), nonces (P7) and its payload. It has
//!   a fixed size but for the last two, and is empty once 32 blocks are prepared and not final. Payload is what a quorum is said to
//!   hold; where there is none, and no non-empty block below is not final, what the leader holds itself.
//! - **P2 Prepare.** A replica sends at most one PREPARE(v, digest), only in its current view, only for the
//!   leader's first pre-prepare, once it holds the parent's prepare certificate (or the parent is final), a
//!   view-change certificate for each view between the parent's and v, the certificate of the checkpoint that the block
//!   cites, and every payload item, valid and durable. An item that an ancestor names already, final or not, is invalid.
//!   "Not yet" waits; "never" means invalid. It may prepare in a view that it gave up: only COMMIT is barred there.
//! - **P3** A quorum of PREPARE is a prepare certificate. On holding one: enter v+1, and send COMMIT(v, digest)
//!   unless VIEW-CHANGE(v) was sent, or a view-change certificate of v is held.
//! - **P4** A quorum of COMMIT is a commit certificate: the block and all its ancestors are final.
//! - **P5 View change.** On time-out, on an invalid pre-prepare, when f+1 others have in the current view, or where none will be
//!   proposed (P9): send
//!   VIEW-CHANGE(v), never after COMMIT(v). A quorum is a view-change certificate: enter v+1. A pre-prepare of a
//!   higher view is kept, one a leader; votes of the next few views are counted; beyond, a message of a higher
//!   view leads to a question for certificates and nothing else.
//! - **P6 Checkpoint.** After a final block was executed, and what it led to is durable, sign CHECKPOINT(epoch, height,
//!   block, time, state root, receipts root, hash of the configuration for the next height, hash of the pending one). A quorum is a
//!   checkpoint certificate; it proves that the block is final, too. A block cites the newest that its leader knows,
//!   never an older one than its parent does; an epoch's first block at least the one that opened the epoch. More than
//!   K heights past the checkpoint that it cites, a block is empty: execution cannot fall behind for good. A replica
//!   whose result differs from a certified one, or from f+1 others' for the same block, signs nothing more.
//! - **P7 Durable before sent.** What is signed, the block behind a PREPARE, and every certificate that is acted on
//!   are records, and records are durable before the actions of their step are performed. (A checkpoint can be signed again
//!   from the ledger, which has it.) Nothing is signed at or below the final view. Before its first signature in each
//!   epoch, in each run, a replica asks its peers for its own votes in the highest view, and waits for q−1 answers; one above
//!   the records means that they are not whole. A replica that lost its records, or part of them, sends a nonce; q *others*
//!   sign (nonce, their view) and show the certificate by which they entered; with x the highest view it signs nothing up to
//!   x+1, and asks on until it is above. A prepare certificate by q others on a block that names the nonce counts as their answers: nobody can vote and
//!   stay silent. What was told ends the loss for later epochs too. A replica answers others' nonces only above its own
//!   bar, and none in an epoch that is over, or may be, by its ledger or its records.
//! - **P8 Spread and heal.** Views are entered by certificate alone. Who enters a view passes the certificate on,
//!   after a grace of Δ/4, to every peer that has not shown that it is there too; a message from an older view is
//!   answered in the same way. What is signed is sent again every Δ until a certificate or a later vote settles
//!   it (a VIEW-CHANGE while something waits or f+1 others sent one, a COMMIT while a non-empty block waits for
//!   finality: who is alone with what it signed falls silent with the rest); what is missing is asked for again as
//!   often, of one peer after the other. Who has not shown by its CHECKPOINT that it knows what is final is told, at
//!   first after Δ, then less and less often.
//! - **P9 Time-outs.** 2Δ for the pre-prepare, 3Δ for the view. A view that failed raises Δ by half, to a cap; a
//!   final block lowers it one step, to its base. A leader that signed nothing for n views and Δ, while a quorum
//!   did, is skipped at once; so is one that gave its own turn up, as one does that is far behind what a quorum executed.
//! - **P10 Idle means quiet.** View timers run only while something waits: digests that are not ordered and that a block
//!   may carry (P6), a non-empty block that is prepared and not final, a proposal of which something is missing, a heartbeat
//!   that is due, the end of an epoch (P12), a nonce (P7). An empty block is proposed for a heartbeat, for a nonce, to close an epoch, or when a block that
//!   matters waits for finality for Δ, and never else.
//! - **P11 Time.** A block's time is above its parent's and at most max(clock + bound, parent's + 1 ms); too early
//!   means wait. There is no "too old". The clock is consulted for PREPARE alone.
//! - **P12 Epochs.** The ledger tells by the *pending configuration* in a checkpoint what the validators voted for. The
//!   first block that cites a checkpoint with one closes its epoch, and that configuration is the next epoch's. What
//!   follows in the epoch are fillers: the height, time and checkpoint of their parent, no payload, never executed; COMMIT on one
//!   finalises the closing block. The old validators sign the closing block's checkpoint; its certificate opens the
//!   next epoch: it is the parent certificate of view 1. Who still speaks of the old epoch is shown it. A replica whose
//!   key has no seat follows: it takes in final blocks and certificates, and signs nothing.
//! - **P13 Evidence.** Two signed statements of one kind in one view (of checkpoints, at one height), or COMMIT and
//!   VIEW-CHANGE in one view, are brought up, a few times a validator and epoch; the node keeps, counts and serves them.
//!
//! The unit tests of a rule bear its number (`p1_…` to `p13_…`, most in `replica/tests`); `docs/rules.md` names all that hold
//! it, `docs/seeded-bugs.md` which check notices which deliberate fault.
//!
//! # Why it is safe
//!
//! Two quorums share an honest replica, which prepares once a view, so a view has at most one prepare certificate
//! (P2). An honest replica never sends both COMMIT(v) and VIEW-CHANGE(v), so a view with a commit certificate has
//! no view-change certificate (P3, P5); a later block cannot skip it (P2), and so descends from it.
//!
//! A replica that knows that it lost its records stays among the honest ones: its last view u needed q−1 other signers in u−1; of the
//! q others that answer it at least f+1 are among those, so an honest one, whose view is at least u−1 by then. Hence
//! x ≥ u−1, and up to x+1 ≥ u it signs nothing (P7). Nor had it signed in a later epoch: it would have held what closed this
//! one, so that q validators had signed the closing block's checkpoint; of them at least one honest one is among those who
//! told, and who knows an epoch over tells nothing in it. One that was restored from a backup, and is told nothing better, counts among
//! the f: the question for its own votes finds most such losses, not all.
//!
//! Across epochs: what closes an epoch is itself a final block, one at its height by the argument above; its
//! checkpoint has one certificate, as honest replicas execute alike (P6), which names one configuration. The new epoch
//! begins with that block as its tip, and with signatures of its own.
//!
//! # Where it departs from its sources
//!
//! From PBFT: a chain instead of numbered slots, so a view change carries one certificate and no history; checkpoints
//! are cited by blocks, not only collected. From Simplex: a third phase (COMMIT) instead of finality by a
//! child, so that a lone block is final after three delays without a successor; time-outs that adapt; silence when idle. From both: the
//! validators change, and a replica may lose its disk.

#[cfg(feature = "seeded-bugs")]
pub mod bug;
#[cfg(not(feature = "seeded-bugs"))]
mod bug;
pub mod candidate;
pub mod certificate;
pub mod checkpoint;
pub mod evidence;
pub mod message;
pub mod output;
mod pacemaker;
mod pool;
pub mod remains;
pub mod replica;
mod tally;

pub use candidate::{Block, Candidate, Parent, Tip};
pub use certificate::Certificate;
pub use checkpoint::{Checkpoint, CheckpointCertificate, Cited, Finality};
pub use evidence::Evidence;
pub use message::{Context, Message, Verified};
pub use output::{Action, Halt, Output, Recipient, Record};
pub use pool::Offer;
pub use remains::Remains;
pub use replica::standing::Report;
pub use replica::{Config, Executed, Input, Memory, Now, Replica, Start, Status, Verdict};
