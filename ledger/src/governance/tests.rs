use std::sync::Arc;

use genesis::{Parameters, Validator, ValidatorSet};

use super::*;
use crate::operation::sign_ready;
use crate::samples::{
    Memory, added, batch, consensus_key, created, genesis, governance_key, key, moment, proposed, signed,
    validator, voted,
};
use crate::{ApplyError, Changes, Operation, Transaction, apply};

/// A chain whose blocks the test makes; the founders are the first of the samples' validators.
struct Chain {
    state: Memory,
    height: u64,
}

impl Chain {
    fn of(members: usize) -> Self {
        let mut governance = Governance::of(&genesis());
        let founders = (0..members as u8).map(validator).collect();
        governance.configuration.validators = ValidatorSet::new(founders).unwrap();
        let state = Memory { governance: Arc::new(governance), ..Memory::default() };
        Self { state, height: 0 }
    }

    fn execute(
        &self,
        closing: Option<Digest>,
        transactions: &[Transaction],
    ) -> Result<Changes, ApplyError<std::convert::Infallible>> {
        let batches = if transactions.is_empty() { vec![] } else { vec![batch(self.height, transactions).0] };
        apply(&self.state, moment(self.height + 1), closing, &batches)
    }

    fn block(&mut self, closing: Option<Digest>, transactions: &[Transaction]) -> Vec<Code> {
        let changes = self.execute(closing, transactions).unwrap();
        self.height += 1;
        self.state.take(changes.clone());
        changes.receipts.iter().map(|receipt| receipt.code).collect()
    }

    fn run(&mut self, transactions: &[Transaction]) -> Vec<Code> {
        self.block(None, transactions)
    }

    /// Proposes by validator 0, and approves by the next ones until a quorum did.
    fn decide(&mut self, number: u64, change: Change) {
        let proposal = proposed(0, number, change);
        let quorum = self.governance().configuration.validators.quorum() as u8;
        let votes = (1..quorum).map(|member| voted(member, number, proposal.id(), true));
        let block: Vec<Transaction> = std::iter::once(proposal.clone()).chain(votes).collect();
        assert!(self.run(&block).iter().all(|code| *code == Code::Applied));
        assert!(!self.is_open(&proposal));
    }

    fn governance(&self) -> &Governance {
        &self.state.governance
    }

    fn is_open(&self, proposal: &Transaction) -> bool {
        self.governance().proposals.contains_key(&proposal.id())
    }

    fn names(&self) -> Vec<&str> {
        names(&self.governance().configuration)
    }

    /// The names aimed at; none where nothing is pending. What the outcome says of it agrees.
    fn pending(&self) -> Option<Vec<&str>> {
        let pending = self.governance().pending.as_ref();
        assert_eq!(pending.map(Configuration::digest), self.state.outcome.pending);
        pending.map(names)
    }

    fn announced(&self) -> Digest {
        self.state.outcome.pending.expect("something is pending")
    }
}

fn names(configuration: &Configuration) -> Vec<&str> {
    configuration.validators.iter().map(|(_, validator)| validator.name.as_str()).collect()
}

fn removed(index: u8) -> Change {
    Change::RemoveValidator { name: format!("node{index}") }
}

fn joining(validator: Validator, consensus: u8) -> Change {
    let ready = sign_ready(&genesis().chain(), &validator, &consensus_key(consensus));
    Change::AddValidator { validator, ready }
}

fn set(change: fn(&mut Parameters)) -> Change {
    let mut parameters = genesis().parameters().clone();
    change(&mut parameters);
    Change::SetParameters(parameters)
}

#[test]
fn a_quorum_decides_and_the_change_takes_effect_when_the_epoch_ends() {
    let mut chain = Chain::of(4);
    let proposal = proposed(0, 0, added(4));
    assert_eq!(chain.run(&[proposal.clone(), voted(1, 0, proposal.id(), true)]), [Code::Applied; 2]);
    assert!(chain.is_open(&proposal) && chain.pending().is_none(), "two of four are no quorum");
    assert_eq!(chain.run(&[voted(2, 0, proposal.id(), true)]), [Code::Applied]);
    assert!(!chain.is_open(&proposal));
    assert_eq!(chain.pending().unwrap(), ["node0", "node1", "node2", "node3", "node4"]);
    assert_eq!((chain.names().len(), chain.governance().epoch), (4, Epoch(0)));
    let next = chain.announced();
    chain.block(Some(next), &[]);
    assert_eq!((chain.names().len(), chain.pending()), (5, None));
    let Governance { epoch, began, .. } = chain.governance();
    assert_eq!((*epoch, *began, chain.state.outcome.configuration), (Epoch(1), Height(3), next));
    // From here on the new member has a word, and the quorum is four of five.
    let proposal = proposed(4, 1, removed(0));
    let votes = [1, 2].map(|member| voted(member, 1, proposal.id(), true));
    chain.run(&[std::slice::from_ref(&proposal), &votes[..]].concat());
    assert!(chain.is_open(&proposal));
    chain.run(&[voted(3, 1, proposal.id(), true)]);
    assert_eq!(chain.pending().unwrap(), ["node1", "node2", "node3", "node4"]);
}

#[test]
fn nobody_but_a_current_validator_alone_by_its_governance_key_proposes_or_votes() {
    let mut chain = Chain::of(4);
    let open = proposed(0, 0, added(4));
    chain.run(std::slice::from_ref(&open));
    let propose = Operation::Propose(Box::new(Propose { change: added(4) }));
    let vote = Operation::Vote(GovernanceVote { proposal: open.id(), approve: true });
    let (own, other) = (governance_key(1), governance_key(2));
    let (stranger, consensus) = (key(9), consensus_key(1));
    let mut hostile = Vec::new();
    for operation in [propose, vote] {
        for signers in [vec![&stranger], vec![&consensus], vec![&own, &other], vec![&own, &stranger]] {
            let operation = operation.clone();
            hostile.push(Transaction::sign(genesis().chain(), operation, Height(900), &signers));
        }
    }
    // The joining validator has signed that it is ready, but is no member.
    hostile.extend([proposed(4, 0, added(4)), voted(4, 0, open.id(), true), voted(4, 1, open.id(), false)]);
    let changes = chain.execute(None, &hostile).unwrap();
    assert!(changes.receipts.iter().all(|receipt| receipt.code == Code::NotAValidator));
    assert_eq!(changes.receipts.len(), 11);
    assert!(changes.receipts.iter().all(|receipt| receipt.did.is_none() && receipt.version.is_none()));
    assert_eq!(changes.governance, None);
}

#[test]
fn a_validator_counts_once_however_often_it_votes() {
    let mut chain = Chain::of(4);
    let proposal = proposed(0, 0, added(4));
    let again = (0..5).flat_map(|number| [0, 1].map(|member| voted(member, number, proposal.id(), true)));
    let block: Vec<Transaction> = std::iter::once(proposal.clone()).chain(again).collect();
    assert_eq!(chain.run(&block), [Code::Applied; 11]);
    let open = &chain.governance().proposals[&proposal.id()];
    assert_eq!(chain.governance().tally(open), (2, 0));
}

#[test]
fn a_later_vote_replaces_the_earlier_one() {
    let mut chain = Chain::of(4);
    let proposal = proposed(0, 0, added(4));
    let id = proposal.id();
    chain.run(&[proposal.clone(), voted(1, 0, id, true), voted(1, 1, id, false), voted(2, 0, id, true)]);
    assert!(chain.is_open(&proposal), "two approve, one rejects");
    chain.run(&[voted(1, 2, id, true)]);
    assert_eq!(chain.pending().unwrap().len(), 5);
}

#[test]
fn rejections_that_leave_no_quorum_close_the_proposal() {
    let mut chain = Chain::of(4);
    let proposal = proposed(0, 0, added(4));
    let id = proposal.id();
    assert_eq!(chain.run(&[proposal.clone(), voted(1, 0, id, false)]), [Code::Applied; 2]);
    assert!(chain.is_open(&proposal));
    // The second is the proposer's own change of mind; a third would find nothing.
    assert_eq!(
        chain.run(&[voted(0, 0, id, false), voted(2, 0, id, true)]),
        [Code::Applied, Code::NoSuchProposal]
    );
    assert!(!chain.is_open(&proposal) && chain.pending().is_none());
    assert_eq!(chain.run(&[voted(1, 0, Digest::ZERO, true)]), [Code::NoSuchProposal]);
}

#[test]
fn the_votes_of_who_left_count_no_more_not_even_after_coming_back() {
    let mut chain = Chain::of(4);
    let proposal = proposed(0, 0, set(|it| it.delta_ms = 500));
    let id = proposal.id();
    chain.run(&[proposal.clone(), voted(3, 0, id, true)]);
    chain.decide(1, removed(3));
    chain.block(Some(chain.announced()), &[]);
    assert_eq!(chain.run(&[voted(3, 1, id, true), proposed(3, 2, added(4))]), [Code::NotAValidator; 2]);
    let tally = |chain: &Chain| chain.governance().tally(&chain.governance().proposals[&id]);
    assert_eq!((chain.names().len(), tally(&chain)), (3, (1, 0)));
    chain.decide(3, added(3));
    chain.block(Some(chain.announced()), &[]);
    assert_eq!((chain.names().len(), tally(&chain)), (4, (1, 0)));
}

#[test]
fn an_open_proposal_survives_the_end_of_an_epoch() {
    let mut chain = Chain::of(4);
    let proposal = proposed(0, 0, set(|it| it.delta_ms = 500));
    let id = proposal.id();
    chain.run(&[proposal.clone(), voted(1, 0, id, true)]);
    chain.decide(1, removed(3));
    chain.block(Some(chain.announced()), &[]);
    // Both still count; of three, two are a quorum. The next vote of whoever it be finds that out.
    assert!(chain.is_open(&proposal));
    chain.run(&[voted(2, 0, id, false)]);
    assert_eq!(chain.governance().aim().parameters.delta_ms, 500);
}

#[test]
fn a_replaced_governance_key_has_no_word_and_the_new_one_has() {
    let mut chain = Chain::of(4);
    let renewed =
        Validator { governance_key: key(77).public(), address: "10.0.0.9:1".into(), ..validator(3) };
    let ready = sign_ready(&genesis().chain(), &renewed, &consensus_key(3));
    chain.decide(0, Change::ReplaceValidator { name: "node3".into(), validator: renewed.clone(), ready });
    chain.block(Some(chain.announced()), &[]);
    let validators = &chain.governance().configuration.validators;
    assert_eq!(validators.get(genesis::ValidatorIndex(3)), Some(&renewed));
    let new = Operation::Propose(Box::new(Propose { change: added(4) }));
    let new = Transaction::sign(genesis().chain(), new, Height(900), &[&key(77)]);
    assert_eq!(chain.run(&[proposed(3, 1, added(4)), new]), [Code::NotAValidator, Code::Applied]);
}

#[test]
fn a_change_that_does_not_fit_opens_nothing() {
    let mut chain = Chain::of(4);
    let misfits = [
        added(0),
        joining(Validator { network_key: validator(0).consensus_key, ..validator(4) }, 4),
        joining(Validator { governance_key: validator(1).governance_key, ..validator(4) }, 4),
        joining(Validator { name: "node2".into(), ..validator(4) }, 4),
        joining(Validator { address: validator(2).address, ..validator(4) }, 4),
        removed(9),
        set(|_| ()),
    ];
    for (number, change) in (0..).zip(misfits) {
        assert_eq!(chain.run(&[proposed(0, number, change.clone())]), [Code::InvalidChange], "{change:?}");
    }
    assert!(chain.governance().proposals.is_empty());
}

#[test]
fn a_change_that_no_longer_fits_is_closed_without_effect_and_its_last_vote_says_so() {
    let mut chain = Chain::of(4);
    let late = proposed(1, 9, added(4));
    chain.run(std::slice::from_ref(&late));
    chain.decide(0, added(4));
    let before = chain.governance().pending.clone();
    let votes = [0, 2].map(|member| voted(member, 9, late.id(), true));
    assert_eq!(chain.run(&votes), [Code::Applied, Code::ChangeNoLongerFits]);
    assert!(!chain.is_open(&late));
    assert_eq!(chain.governance().pending, before);
}

#[test]
fn the_last_validator_is_never_removed() {
    let mut alone = Chain::of(1);
    assert_eq!(alone.run(&[proposed(0, 0, removed(0))]), [Code::InvalidChange]);
    let mut chain = Chain::of(2);
    let (first, second) = (proposed(0, 0, removed(0)), proposed(1, 1, removed(1)));
    let block =
        [&first, &second, &voted(1, 0, first.id(), true), &voted(0, 1, second.id(), true)].map(Clone::clone);
    assert_eq!(chain.run(&block), [Code::Applied, Code::Applied, Code::Applied, Code::ChangeNoLongerFits]);
    assert_eq!(chain.pending().unwrap(), ["node1"]);
}

#[test]
fn one_alone_decides_at_once() {
    let mut chain = Chain::of(1);
    assert_eq!(chain.run(&[proposed(0, 0, added(4))]), [Code::Applied]);
    assert_eq!(chain.pending().unwrap(), ["node0", "node4"]);
}

#[test]
fn changes_build_on_what_is_aimed_at() {
    let mut chain = Chain::of(4);
    chain.decide(0, added(4));
    chain.decide(1, set(|it| it.heartbeat_ms = 30_000));
    chain.decide(2, removed(3));
    assert_eq!(chain.pending().unwrap(), ["node0", "node1", "node2", "node4"]);
    assert_eq!(chain.governance().aim().parameters.heartbeat_ms, 30_000);
    chain.block(Some(chain.announced()), &[]);
    assert_eq!(chain.names(), ["node0", "node1", "node2", "node4"]);
    assert_eq!(chain.governance().configuration.parameters.heartbeat_ms, 30_000);
}

#[test]
fn a_change_between_citation_and_close_is_not_lost() {
    let mut chain = Chain::of(4);
    chain.decide(0, added(4));
    let cited = chain.announced();
    chain.decide(1, added(5));
    chain.block(Some(cited), &[]);
    assert_eq!(chain.names().last(), Some(&"node4"));
    assert_eq!(chain.pending().unwrap().last(), Some(&"node5"));
    // The closing block's own checkpoint announces what is left: the next epoch may end with it at once.
    chain.block(Some(chain.announced()), &[]);
    assert_eq!((chain.names().len(), chain.pending(), chain.governance().epoch), (6, None, Epoch(2)));
}

#[test]
fn a_change_in_the_closing_block_itself_is_not_lost() {
    let mut chain = Chain::of(4);
    let proposal = proposed(0, 1, removed(3));
    chain.run(&[proposal.clone(), voted(1, 1, proposal.id(), true)]);
    chain.decide(0, added(4));
    let cited = chain.announced();
    assert_eq!(chain.block(Some(cited), &[voted(2, 1, proposal.id(), true)]), [Code::Applied]);
    assert_eq!(chain.names(), ["node0", "node1", "node2", "node3", "node4"]);
    assert_eq!(chain.pending().unwrap(), ["node0", "node1", "node2", "node4"]);
}

#[test]
fn a_change_taken_back_between_citation_and_close_is_aimed_at_again() {
    let mut chain = Chain::of(4);
    let founders = chain.governance().configuration.clone();
    chain.decide(0, added(4));
    let cited = chain.announced();
    chain.decide(1, removed(4));
    assert_eq!(chain.pending(), None);
    chain.block(Some(cited), &[]);
    assert_eq!((chain.names().len(), chain.governance().pending.as_ref()), (5, Some(&founders)));
    chain.block(Some(founders.digest()), &[]);
    assert_eq!((&chain.governance().configuration, chain.pending()), (&founders, None));
}

#[test]
fn an_epoch_ends_only_with_what_a_block_of_it_announced() {
    let mut chain = Chain::of(4);
    let refused = |chain: &Chain, digest: Digest, transactions: &[Transaction]| {
        let error = chain.execute(Some(digest), transactions).unwrap_err();
        assert!(matches!(error, ApplyError::UnknownConfiguration { .. }), "{error}");
        assert!(error.to_string().contains(&digest.to_string()), "{error}");
    };
    refused(&chain, Digest::ZERO, &[]);
    refused(&chain, chain.governance().configuration.digest(), &[]);
    // What the block itself makes pending stands in no certificate yet.
    let proposal = proposed(0, 0, added(4));
    chain.run(&[proposal.clone(), voted(1, 0, proposal.id(), true)]);
    let next = added(4).applied_to(&chain.governance().configuration).unwrap().digest();
    refused(&chain, next, &[voted(2, 0, proposal.id(), true)]);
    chain.run(&[voted(2, 0, proposal.id(), true)]);
    assert_eq!(chain.announced(), next);
    chain.decide(1, removed(4));
    let earlier = next;
    chain.decide(2, added(5));
    chain.block(Some(chain.announced()), &[]);
    refused(&chain, earlier, &[]);
}

#[test]
fn a_proposal_expires() {
    let mut chain = Chain::of(4);
    let proposal = proposed(0, 0, added(4));
    chain.run(std::slice::from_ref(&proposal));
    let last = 1 + PROPOSAL_LIFETIME;
    let vote = |member: u8, height: u64, number: u64| {
        let vote = Operation::Vote(GovernanceVote { proposal: proposal.id(), approve: true });
        Transaction::sign(genesis().chain(), vote, Height(height + number), &[&governance_key(member)])
    };
    chain.height = last - 1;
    assert_eq!(chain.run(&[vote(1, last, 0)]), [Code::Applied]);
    assert!(chain.is_open(&proposal));
    assert_eq!(chain.run(&[vote(2, last, 1)]), [Code::NoSuchProposal]);
    assert!(!chain.is_open(&proposal), "it leaves the state");
}

#[test]
fn a_validator_has_a_bounded_number_of_proposals_open_and_hinders_no_other() {
    let mut chain = Chain::of(4);
    let proposals: Vec<Transaction> = (0..9).map(|number| proposed(0, number, added(4))).collect();
    let codes = chain.run(&proposals);
    assert_eq!(codes[..8], [Code::Applied; 8]);
    assert_eq!(codes[8], Code::TooManyProposals);
    assert_eq!(chain.run(&[proposed(1, 9, added(4))]), [Code::Applied]);
    // One that is closed makes room.
    chain.run(&[1, 2].map(|member| voted(member, 0, proposals[0].id(), false)));
    let codes = chain.run(&[proposed(0, 10, added(4)), proposed(0, 11, added(4))]);
    assert_eq!(codes, [Code::Applied, Code::TooManyProposals]);
}

#[test]
fn the_number_of_open_proposals_is_bounded() {
    let mut chain = Chain::of(4);
    let full = |count: usize| {
        let mut governance = Governance::of(&genesis());
        let proposal = |number: usize| Proposal {
            proposer: key(9).public(),
            change: added(4),
            expires_at: Height(PROPOSAL_LIFETIME),
            votes: BTreeMap::from([(key(number as u8).public(), true)]),
        };
        let id = |number: usize| Digest::of(genesis::Domain::Transaction, &number.to_le_bytes());
        governance.proposals = (0..count).map(|number| (id(number), proposal(number))).collect();
        Arc::new(governance)
    };
    chain.state.governance = full(MAX_PROPOSALS);
    assert_eq!(chain.run(&[proposed(0, 0, added(4))]), [Code::TooManyProposals]);
    chain.state.governance = full(MAX_PROPOSALS - 1);
    assert_eq!(chain.run(&[proposed(0, 1, added(4))]), [Code::Applied]);
}

#[test]
fn parameters_act_from_the_next_epoch_on_and_on_transactions_too() {
    let mut chain = Chain::of(4);
    let create = |subject: u8| signed(created(subject).operation, subject);
    chain.decide(0, set(|it| it.max_transaction_lifetime = 500));
    assert_eq!(chain.run(&[create(1)]), [Code::Applied]);
    // Within the closing block the old ones hold.
    assert_eq!(chain.block(Some(chain.announced()), &[create(2)]), [Code::Applied]);
    assert_eq!(chain.run(&[create(3)]), []);
}

#[test]
fn rules_that_act_stay_whatever_is_decided_after() {
    let mut governance = Chain::of(4).state.governance.as_ref().clone();
    governance.activation = Some(Activation { version: 2, height: Height(100) });
    assert!(!governance.has_due_rules(Height(99)) && governance.has_due_rules(Height(100)));
    governance.begin_rules(Height(100));
    assert_eq!((governance.rules, governance.activation), (2, None));
    assert!(!governance.may_activate(2, Height(300), Height(200)), "they act already");
    governance.activation = Some(Activation { version: 3, height: Height(300) });
    assert_eq!([250, 299, 300].map(|height| governance.rules_at(Height(height))), [2, 2, 3]);
}

/// In no state, and in none of its changes, does what one of these leaves differ from nothing.
#[test]
fn an_invalid_transaction_leaves_a_receipt_and_nothing_else() {
    let mut chain = Chain::of(4);
    let open = proposed(0, 0, added(4));
    chain.run(&[open.clone(), voted(1, 0, open.id(), true)]);
    let invalid = [
        proposed(4, 0, added(4)),
        voted(4, 0, open.id(), false),
        voted(0, 0, Digest::ZERO, false),
        proposed(0, 1, removed(9)),
        proposed(0, 2, added(0)),
    ];
    let changes = chain.execute(None, &invalid).unwrap();
    assert_eq!(changes.governance, None);
    assert!(changes.receipts.iter().all(|receipt| receipt.code != Code::Applied));
    assert_eq!((changes.receipts.len(), changes.outcome.pending), (5, None));
}
