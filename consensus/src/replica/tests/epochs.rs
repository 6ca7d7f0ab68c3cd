//! P12: how an epoch ends and the next one begins, for those who stay, leave, join, and follow.

use super::*;
use crate::checkpoint::Finality;
use crate::replica::standing::Report;
use genesis::ValidatorSet;

use VoteKind::{Commit, Prepare, ViewChange};

/// The same validators, with another parameter.
fn slower() -> Configuration {
    let mut next = Configuration::of(&founded(4));
    next.parameters.delta_ms = 500;
    next
}

fn of_validators(indices: std::ops::Range<u16>) -> Configuration {
    let all = founded(5);
    let chosen = all.validators().iter().map(|(_, validator)| validator.clone());
    let chosen: Vec<_> =
        chosen.enumerate().filter(|(index, _)| indices.contains(&(*index as u16))).map(|(_, v)| v).collect();
    Configuration { validators: ValidatorSet::new(chosen).unwrap(), ..Configuration::of(&founded(4)) }
}

struct Story {
    me: Driven,
    first: Block,
    /// What the first block led to: a vote for `next`.
    voted: Checkpoint,
    /// Cites that, and so closes the epoch.
    closing: Block,
    next: Configuration,
}

/// A replica that knows of a pending configuration.
fn story(secret: SecretKey, next: Configuration) -> Story {
    let mut me = Driven::start(Config { secret, ..Driven::config() }, Vec::new(), Tip::genesis(&founded(4)));
    for peer in [1, 2] {
        me.hear(0, peer, Message::OwnVotes(Vec::new()));
    }
    me.sent.clear();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    me.hear(1, 1, Message::Certificate(certificate(Commit, 1, first.digest())));
    let voted = result_of(&first, Some(next.digest()));
    me.execute(2, &voted);
    me.hear_certified(2, &voted);
    let closing = citing(&block(2, 2, parent(&first), &[]), &voted);
    Story { me, first, voted, closing, next }
}

impl Story {
    fn ordinary() -> Self {
        story(key(1, ME), slower())
    }

    fn close(&mut self) {
        let closing = self.closing.clone();
        self.me.hear_valid(3, &closing);
        self.me.hear(3, 1, Message::Certificate(certificate(Commit, 2, closing.digest())));
        assert_eq!(self.me.replica.status().closing, Some(Height(2)));
    }

    fn result(&self) -> Checkpoint {
        Checkpoint { configuration: self.next.digest(), ..result_of(&self.closing, None) }
    }

    fn execute_closing(&mut self, now: u64) {
        let executed = Executed { checkpoint: self.result(), next: Some(self.next.clone()) };
        self.me.step(now, Input::Executed(executed));
    }

    fn begin(&mut self) {
        self.close();
        self.execute_closing(4);
        let result = self.result();
        self.me.hear_certified(5, &result);
        assert_eq!(self.me.begun, [Epoch(1)]);
    }

    fn next_context(&self) -> Context {
        Context { epoch: Epoch(1), validators: self.next.validators.clone(), ..context() }
    }

    fn hear_next(&mut self, now: u64, from: u16, message: Message) {
        let message = message.verify(&self.next_context()).unwrap();
        self.me.step(now, Input::Received { from: ValidatorIndex(from), message });
    }

    /// The first block of the next epoch.
    fn opening_block(&self) -> Block {
        let on = Parent { view: View::ZERO, digest: self.closing.digest() };
        let plain = citing(&block(1, 3, on, &[]), &self.result());
        Block::new(Candidate { epoch: Epoch(1), ..plain.candidate().clone() })
    }
}

/// The filler of `view` after `closing`.
fn filler(view: u64, on: &Block, closing: &Block) -> Candidate {
    Candidate { view: View(view), parent: parent(on), payload: Vec::new(), ..closing.candidate().clone() }
}

fn votes_and_proposals(messages: &[Message]) -> usize {
    let is = |message: &&Message| matches!(message, Message::Vote(_) | Message::PrePrepare(_));
    messages.iter().filter(is).count()
}

#[test]
fn p12_a_pending_change_arms_timers_and_the_leader_closes_the_epoch_with_an_empty_block() {
    let Story { mut me, voted, .. } = Story::ordinary();
    assert!(me.replica.status().armed.is_some());
    me.hear(4, 1, failed(2));
    me.hear(4, 1, failed(3));
    let own = me.proposed().remove(0);
    assert_eq!((own.height, own.cites, own.payload.len()), (Height(2), voted.cited(), 0));
}

#[test]
fn p12_the_first_block_that_cites_a_pending_change_closes_its_epoch() {
    let mut story = Story::ordinary();
    assert!(story.me.closes.is_empty());
    story.close();
    assert_eq!(story.me.closes, [story.next.digest()]);
    let status = story.me.replica.status();
    assert_eq!((status.epoch, status.armed), (Epoch::ZERO, None));
}

#[test]
fn p12_after_the_closing_block_only_fillers_of_the_exact_form_are_prepared() {
    let Story { first, closing, .. } = Story::ordinary();
    let good = filler(3, &closing, &closing);
    let outcome = |candidate: Candidate| {
        let Story { mut me, .. } = Story::ordinary();
        me.hear_valid(3, &closing);
        me.hear_two(3, Prepare, 2, closing.digest());
        me.hear_valid(4, &Block::new(candidate));
        (me.voted(Prepare, 3).len(), me.voted(ViewChange, 3).len())
    };
    assert_eq!(outcome(good.clone()), (1, 0));
    let wrong: [fn(&mut Candidate); 4] = [
        |candidate| candidate.height = Height(3),
        |candidate| candidate.time = candidate.time.next(),
        |candidate| candidate.payload = vec![item(9)],
        |candidate| candidate.nonces = vec![item(9)],
    ];
    for change in wrong {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(outcome(bad.clone()), (0, 1), "{bad:?}");
    }
    assert_eq!(outcome(Candidate { cites: first.cites, ..good }), (0, 1));
}

#[test]
fn p12_commits_on_a_filler_make_the_closing_block_final_and_nothing_after_it() {
    let mut story = Story::ordinary();
    let (first, closing) = (story.first.clone(), story.closing.clone());
    let mut last = closing.clone();
    story.me.hear_valid(3, &closing);
    story.me.hear_two(3, Prepare, 2, closing.digest());
    story.me.hear_valid(4, &Block::new(filler(3, &last, &closing)));
    last = Block::new(filler(3, &last, &closing));
    story.me.hear_two(4, Prepare, 3, last.digest());
    // This replica leads view 4: it adds a filler when finality takes long.
    story.me.step(4 + DELTA + 500, Input::Tick);
    let own = story.me.proposed().remove(0);
    assert_eq!(own.candidate(), &filler(4, &last, &closing));
    story.me.hear_two(1_000, Commit, 3, last.digest());
    let finalized: Vec<_> = story.me.finalized.iter().map(Block::digest).collect();
    assert_eq!(finalized, [first.digest(), closing.digest()]);
    assert_eq!(story.me.closes, [story.next.digest()]);
    assert_eq!(story.me.replica.status().tip, Tip::of(&closing));
}

#[test]
fn p12_a_filler_is_not_proposed_again_once_the_epoch_is_closed() {
    let mut story = Story::ordinary();
    let closing = citing(&block(3, 2, parent(&story.first), &[]), &story.voted);
    story.me.hear(3, 1, failed(2));
    story.me.hear_valid(3, &closing);
    story.me.hear_two(3, Prepare, 3, closing.digest());
    story.me.step(4_000, Input::Tick);
    assert!(!story.me.proposed().is_empty());
    story.me.hear_two(4_001, Commit, 3, closing.digest());
    let before = story.me.sent.len();
    (1..20).for_each(|round| story.me.step(4_001 + round * DELTA, Input::Tick));
    assert_eq!(votes_and_proposals(&story.me.sent[before..]), 0);
}

#[test]
fn p12_once_closed_nothing_but_the_checkpoint_is_said_again() {
    let mut story = Story::ordinary();
    story.close();
    story.execute_closing(4);
    let before = story.me.sent.len();
    (1..20).for_each(|round| story.me.step(4 + round * DELTA, Input::Tick));
    let again = &story.me.sent[before..];
    assert_eq!(votes_and_proposals(again), 0);
    assert!(again.iter().filter(|message| matches!(message, Message::Checkpoint(_))).count() >= 10);
    // Nor do others' votes move it.
    let filler = Block::new(filler(3, &story.closing, &story.closing));
    story.me.hear_valid(9_000, &filler);
    story.me.hear_two(9_000, Prepare, 3, filler.digest());
    story.me.hear_two(9_000, Commit, 3, filler.digest());
    story.me.hear_two(9_000, ViewChange, 3, Digest::ZERO);
    assert_eq!((story.me.finalized.len(), story.me.voted(Prepare, 3).len()), (2, 0));
}

#[test]
fn p12_the_next_epoch_begins_when_the_closing_block_is_executed_and_its_checkpoint_certified() {
    for executed_first in [true, false] {
        let mut story = Story::ordinary();
        story.close();
        let result = story.result();
        if executed_first {
            story.execute_closing(4);
        } else {
            story.me.hear_certified(4, &result);
        }
        assert_eq!(story.me.replica.status().epoch, Epoch::ZERO);
        if executed_first {
            story.me.hear_certified(5, &result);
        } else {
            story.execute_closing(5);
        }
        let status = story.me.replica.status();
        assert_eq!(
            (status.epoch, status.view, status.delta),
            (Epoch(1), View(1), Duration::from_millis(500))
        );
        assert_eq!(status.tip, Tip::opening(&certified(&result)));
        assert!(story.me.records.contains(&Record::Epoch(Epoch(1), Some(certified(&result)))));
    }
}

#[test]
fn p7_what_opens_the_next_epoch_is_on_record_before_the_ledger_can_have_begun_it() {
    for certified_first in [true, false] {
        let mut story = Story::ordinary();
        let result = story.result();
        if certified_first {
            story.me.hear_certified(3, &result);
        }
        story.close();
        if !certified_first {
            story.me.hear_certified(4, &result);
        }
        assert!(story.me.begun.is_empty(), "the block is not executed");
        let is_opening = |record: &Record| *record == Record::Checkpoint(certified(&result));
        assert!(story.me.records.iter().any(is_opening), "certified first: {certified_first}");
    }
}

#[test]
fn p12_the_first_block_of_an_epoch_extends_the_block_that_closed_the_one_before() {
    let mut story = Story::ordinary();
    story.begin();
    let opening = story.opening_block();
    let message = Message::PrePrepare(story.next_context().propose(&key(1, 1), &opening));
    story.hear_next(6, 1, message);
    assert!(story.me.voted(Prepare, 1).iter().all(|digest| *digest != opening.digest()), "it inquires first");
    for peer in [1, 2] {
        story.hear_next(7, peer, Message::OwnVotes(Vec::new()));
    }
    assert!(story.me.voted(Prepare, 1).contains(&opening.digest()));
}

#[test]
fn p12_messages_of_the_old_epoch_move_nothing_in_the_new_one() {
    let mut story = Story::ordinary();
    story.begin();
    let (status, sent) = (story.me.replica.status(), story.me.sent.len());
    for voter in [1, 2, 3] {
        story.me.hear(6, voter, vote(voter, ViewChange, 1, Digest::ZERO));
        story.me.hear(6, voter, failed(1));
        story.me.hear(6, voter, Message::OwnVotes(Vec::new()));
    }
    assert_eq!((story.me.replica.status(), story.me.sent.len()), (status, sent));
}

#[test]
fn p12_who_is_removed_follows_and_signs_nothing_more() {
    let mut story = story(key(1, ME), of_validators(1..5));
    story.begin();
    assert_eq!(story.me.replica.status().standing, Report::Observing);
    let before = story.me.sent.len();
    let (context, opening) = (story.next_context(), story.opening_block());
    let secret = |index: u16| key(1, index + 1);
    let leader = context.validators.leader(View(1)).0;
    story.hear_next(6, leader, Message::PrePrepare(context.propose(&secret(leader), &opening)));
    story.me.step(6, Input::Available(vec![item(7).into()]));
    for kind in [Prepare, Commit] {
        for voter in 0..3 {
            let signer = secret(voter);
            let vote = context.vote((ValidatorIndex(voter), &signer), kind, View(1), opening.digest());
            story.hear_next(7, voter, Message::Vote(vote));
        }
    }
    assert_eq!(story.me.replica.status().tip.digest, opening.digest(), "it follows");
    story.me.execute(8, &result_of(&opening, None));
    let mut now = 8;
    while let Some(next) = story.me.replica.deadline(at(now)).map(|next| next.as_millis() as u64) {
        if next > 200_000 {
            break;
        }
        now = next;
        story.me.step(now, Input::Tick);
        assert!(story.me.replica.status().armed.is_none());
    }
    let said = &story.me.sent[before..];
    assert_eq!(votes_and_proposals(said), 0);
    assert!(!said.iter().any(|message| matches!(message, Message::Checkpoint(_) | Message::Attestation(_))));
}

#[test]
fn p12_who_is_added_begins_to_vote_once_others_of_the_new_set_have_answered() {
    let mut story = story(key(1, 4), of_validators(0..5));
    assert_eq!(story.me.replica.status().standing, Report::Observing);
    story.begin();
    assert_eq!(votes_and_proposals(&story.me.sent), 0);
    assert_eq!(story.me.replica.status().standing, Report::Inquiring { answers: 0, needed: 3 });
    for peer in [0, 1, 2] {
        story.hear_next(6, peer, Message::OwnVotes(Vec::new()));
    }
    let opening = story.opening_block();
    let message = Message::PrePrepare(story.next_context().propose(&key(1, 1), &opening));
    story.hear_next(7, 1, message);
    assert_eq!(story.me.voted(Prepare, 1), [opening.digest()]);
}

#[test]
fn p12_a_change_that_was_pending_when_an_epoch_began_closes_it_with_its_first_block() {
    let mut story = Story::ordinary();
    story.close();
    let after = of_validators(0..5);
    let result = Checkpoint { pending: Some(after.digest()), ..story.result() };
    let executed = Executed { checkpoint: result.clone(), next: Some(story.next.clone()) };
    story.me.step(4, Input::Executed(executed));
    story.me.hear_certified(5, &result);
    for peer in [1, 2] {
        story.hear_next(6, peer, Message::OwnVotes(Vec::new()));
    }
    assert!(story.me.replica.status().armed.is_some());
    let opening =
        Block::new(Candidate { cites: result.cited(), ..story.opening_block().candidate().clone() });
    let message = Message::PrePrepare(story.next_context().propose(&key(1, 1), &opening));
    story.hear_next(7, 1, message);
    for kind in [Prepare, Commit] {
        for voter in [1, 2] {
            let signer = key(1, voter);
            let vote =
                story.next_context().vote((ValidatorIndex(voter), &signer), kind, View(1), opening.digest());
            story.hear_next(8, voter, Message::Vote(vote));
        }
    }
    assert_eq!(story.me.closes, [story.next.digest(), after.digest()]);
}

#[test]
fn p12_who_closed_by_a_filler_and_was_restarted_still_shows_that_the_closing_block_is_final() {
    let mut story = Story::ordinary();
    let closing = story.closing.clone();
    let filler = Block::new(filler(3, &closing, &closing));
    story.me.hear_valid(3, &closing);
    story.me.hear_two(3, Prepare, 2, closing.digest());
    story.me.hear_valid(4, &filler);
    story.me.hear_two(4, Prepare, 3, filler.digest());
    story.me.hear_two(5, Commit, 3, filler.digest());
    story.execute_closing(6);
    let executed = Executed { checkpoint: story.result(), next: Some(story.next.clone()) };
    for records in [story.me.records.clone(), story.me.replica.records()] {
        let start = Start {
            tip: Tip::of(&closing),
            certificate: None,
            executed: Some(executed.clone()),
            certified: vec![certified(&story.voted)],
        };
        let (mut again, _) = Replica::recover(Driven::config(), at(0), start, records).unwrap();
        assert_eq!(again.status().closing, Some(Height(2)));
        let mut ask = |fetch| {
            let message = Message::Fetch(fetch).verify(&context()).unwrap();
            let output = again.step(at(1_000), Input::Received { from: ValidatorIndex(3), message });
            output.persist(|_| Ok::<(), ()>(())).unwrap()
        };
        let shown = ask(Fetch::Newest { view: View(2), finalized: View(1) });
        let proves = |action: &Action| matches!(action, Action::Send(_, Message::Certificate(c)) if (c.kind, c.digest) == (Commit, filler.digest()));
        assert!(shown.iter().any(proves), "{shown:?}");
        for body in [&filler, &closing] {
            let shown = ask(Fetch::Candidate(body.digest()));
            assert!(shown.iter().any(|action| matches!(action, Action::Send(_, Message::PrePrepare(_)))));
        }
    }
}

#[test]
fn p12_an_observer_that_holds_the_closing_block_asks_for_what_opens_the_next_epoch() {
    let mut story = story(key(1, 4), of_validators(0..5));
    story.close();
    story.execute_closing(4);
    story.me.step(4 + 2 * DELTA, Input::Tick);
    assert!(story.me.fetched(&Fetch::Checkpoint(Height(2))) > 0);
    let result = story.result();
    story.me.hear_certified(2_000, &result);
    assert_eq!(story.me.begun, [Epoch(1)]);
}

#[test]
fn p12_a_closing_block_from_a_peers_store_closes_the_epoch() {
    let Story { first, voted, closing, next, .. } = Story::ordinary();
    let mut me = Driven::new();
    let result = Checkpoint { configuration: next.digest(), ..result_of(&closing, None) };
    let cited = certified(&voted).verify(&context()).unwrap();
    let finality = Finality::Checkpoint(certified(&result)).verify(&context()).unwrap();
    let candidates = vec![first.candidate().clone(), closing.candidate().clone()];
    let blocks = Input::Synced { candidates: candidates.clone(), finality: finality.clone(), cited: None };
    me.step(1, blocks);
    assert!(me.finalized.is_empty(), "whether it closes cannot be said without what it cites");
    me.step(2, Input::Synced { candidates, finality, cited: Some(cited) });
    assert_eq!(me.closes, [next.digest()]);
    me.step(3, Input::Executed(Executed { checkpoint: result, next: Some(next) }));
    assert_eq!(me.begun, [Epoch(1)]);
}
