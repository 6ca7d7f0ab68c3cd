//! Deliberate faults, each behind [`on`], with which the tests are tested: `scripts/bugs` seeds one after the other and
//! says which check notices it.
//!
//! Invariant: without the feature `seeded-bugs`, which no release has, [`on`] is the constant `false`, and the compiler
//! drops the faults.

macro_rules! bugs {
    ($($bug:ident: $what:literal,)*) => {
        /// A fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        impl Bug {
            /// All of them.
            #[cfg(feature = "seeded-bugs")]
            pub const ALL: &[Self] = &[$(Self::$bug,)*];

            /// The name by which it is asked for.
            #[cfg(feature = "seeded-bugs")]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => stringify!($bug),)*
                }
            }

            /// What is wrong with it.
            #[cfg(feature = "seeded-bugs")]
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$bug => $what,)*
                }
            }
        }
    };
}

bugs! {
    QuorumOneTooSmall: "a quorum is one vote too small",
    RepeatedSignerAccepted: "a certificate may name a signer twice",
    ForeignSignerAccepted: "a certificate may name signers that are not in the set",
    CertificateUnchecked: "the signatures in a certificate are not checked",
    SignatureUnchecked: "the signature of a single message is not checked",
    ChainNotSigned: "signatures do not cover the chain's id",
    EpochNotSigned: "signatures do not cover the epoch",
    KindNotSigned: "signatures do not cover what kind of thing is signed",
    ViewNotSigned: "signatures do not cover the view",
    OtherEpochHeard: "messages of another epoch's validators count",
    VoterCountedTwice: "a voter's second vote counts as another voter's",
    PreparesTwice: "a leader's second proposal in a view is prepared too",
    PreparedUnjudged: "a block is prepared without its batches",
    PreparedIsFinal: "a prepare certificate makes a block final",
    CommitsAfterViewChange: "COMMIT is sent for a view that was given up",
    GivesUpAfterCommit: "VIEW-CHANGE is sent for a view with a COMMIT",
    ViewSkipped: "a block may skip a view that has no view-change certificate",
    ParentUncertified: "a block's parent needs no prepare certificate",
    ParentNotAskedFor: "the parent's missing certificate is not asked for",
    HeightUnchecked: "a block may have any height",
    TimeNotAboveParent: "a block's time may be at or below its parent's",
    ClockBoundIgnored: "a block's time may be far ahead of the clock",
    ItemTwiceInBlock: "a block may name an item twice",
    AncestorsItemAgain: "a block may name what an ancestor names that is not final",
    FinalItemAgain: "a block may name what a final block names, as far as the replica knows it",
    OneMakesAllGiveUp: "one VIEW-CHANGE is enough to follow",
    DeltaNeverLowered: "time-outs are never reset",
    DeltaNeverRaised: "time-outs never grow",
    DeltaCapIgnored: "time-outs have no cap",
    JumpKeepsFailedFrom: "views that were jumped over count as failed",
    OwnVotesNotResumed: "a view that is found again after a restart is taken for a new one",
    VotesBelowTip: "certificates at or below the final view are voted on",
    SentBeforeDurable: "actions are performed though their records are not durable",
    PrepareNotRecorded: "PREPARE is not recorded",
    CommitNotRecorded: "COMMIT is not recorded",
    ViewChangeNotRecorded: "VIEW-CHANGE is not recorded",
    BlockNotRecorded: "the block behind a PREPARE is not recorded",
    CertificateNotRecorded: "certificates are not recorded",
    EpochNotRecorded: "the beginning of an epoch is not recorded",
    LossNotRecorded: "that the records were lost is not recorded",
    FloorNotRecorded: "up to where the records are pruned is not recorded",
    OldRecordsTakenUp: "records of an earlier epoch count in the present one",
    OwnVoteNotAsked: "a replica votes before it asked for its own highest vote",
    OwnVoteIgnored: "an own vote that the records lack is ignored",
    BarIgnored: "a wiped replica votes at once in the view that it finds",
    BarOneTooLow: "a wiped replica begins to vote one view too early",
    LossCountsItself: "a wiped replica counts itself among those that told",
    LossAsksTooFew: "a wiped replica is content with f+1 answers",
    NonceIgnored: "an answer to an older question counts",
    ResultNotCompared: "a result that differs from the others' is not noticed",
    CheckpointOneTooFew: "a checkpoint is certified by one vote too few",
    OlderCheckpointCited: "a block may cite an older checkpoint than its parent",
    LagIgnored: "a block may carry items however far execution is behind",
    PendingOfNewest: "the newest checkpoint, not the cited one, says whether an epoch closes",
    FillerCarries: "a filler may have a height and a payload",
    NoFillers: "no filler is proposed",
    EpochBeginsUnproven: "an epoch begins without the closing block's certificate",
    RemovedValidatorVotes: "a removed validator keeps its seat",
    NobodyAccused: "contradictions are not reported",
    NothingSentAgain: "nothing is sent again",
    NothingSpread: "certificates are not passed on",
    WaitingItemsDoNotArm: "items that wait start no timer",
    QuestionsNeverEnd: "what a proposal rests on is asked for without a time-out",
    TurnKeptWithoutBlocks: "a leader that lacks final blocks waits for its time-out",
    PreparedForgotten: "blocks that were prepared here are dropped while others are missing",
    KeepsAllWhileBehind: "a replica that cannot follow keeps all that it hears",
    BarredFallsSilent: "a replica that was told its bar waits without asking on",
    OpeningNotRecorded: "what opens the next epoch is not recorded before it begins",
    ClosingBodyForgotten: "after a restart the closing block's body is not served",
    LastOwnVoteShown: "of the votes in a view only the last is shown to their voter",
    OldEpochsVoteCounts: "an own vote of an epoch that is over counts as forgotten",
    ToldWithBlocksMissing: "a replica that lacks final blocks tells its view",
}

/// Whether this fault is seeded.
#[cfg(not(feature = "seeded-bugs"))]
pub(crate) const fn on(_: Bug) -> bool {
    false
}

#[cfg(feature = "seeded-bugs")]
pub(crate) use seeded::on;
#[cfg(feature = "seeded-bugs")]
pub use seeded::seed;

#[cfg(feature = "seeded-bugs")]
mod seeded {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Bug;

    const NONE: usize = usize::MAX;
    static SEEDED: AtomicUsize = AtomicUsize::new(NONE);

    /// From now on this fault is there, and no other.
    pub fn seed(bug: Option<Bug>) {
        SEEDED.store(bug.map_or(NONE, |bug| bug as usize), Ordering::SeqCst);
    }

    pub(crate) fn on(bug: Bug) -> bool {
        #[cfg(test)]
        seed_by_name();
        SEEDED.load(Ordering::Relaxed) == bug as usize
    }

    /// The unit tests of this crate, which cannot call [`seed`], are told by name.
    #[cfg(test)]
    fn seed_by_name() {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            if let Ok(name) = std::env::var("REALDID_SEEDED_BUG") {
                let bug = Bug::ALL.iter().copied().find(|bug| bug.name() == name);
                seed(Some(bug.unwrap_or_else(|| panic!("no bug is called {name}"))));
            }
        });
    }
}
