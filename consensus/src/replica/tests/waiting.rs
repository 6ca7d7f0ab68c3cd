//! Whatever a replica waits for, it says when it is to be called again: soon enough to ask anew, and never in a spin.

use super::*;

use VoteKind::Commit;

fn first() -> Block {
    block(1, 1, genesis_parent(), &[item(1)])
}

fn started(memory: Memory, secret: SecretKey) -> Driven {
    Driven::start(Config { memory, secret, ..Driven::config() }, Vec::new(), Tip::genesis(&founded(4)))
}

/// Replicas that lack something, and what they ask for. Nobody answers.
fn waiting() -> Vec<(&'static str, Driven, Fetch)> {
    let result = result_of(&first(), None);
    let newest = Fetch::Newest { view: View(1), finalized: View::ZERO };
    let mut cites_unknown = Driven::new();
    cites_unknown.hear_final(1, &first());
    let second = citing(&block(2, 2, parent(&first()), &[]), &result);
    cites_unknown.hear(2, 2, proposal(&second));
    let mut behind = Driven::new();
    behind.hear_certified(1, &result);
    let mut far_behind = Driven::new();
    far_behind.hear_certified(1, &Checkpoint { height: Height(9_000), ..result.clone() });
    let mut no_block = Driven::new();
    no_block.hear(1, 1, Message::Certificate(certificate(Commit, 1, first().digest())));
    let in_view_2 = Fetch::Newest { view: View(2), finalized: View::ZERO };
    let mut observer = started(Memory::Whole, key(1, 9));
    observer.hear(1, 1, Message::Certificate(certificate(Commit, 1, first().digest())));
    vec![
        ("its own votes", started(Memory::Whole, key(1, ME)), Fetch::OwnVotes),
        ("its view", started(Memory::Lost, key(1, ME)), Fetch::Attestation(item(999))),
        ("a cited checkpoint", cites_unknown, Fetch::Checkpoint(Height(1))),
        ("a block that was executed", behind, newest.clone()),
        ("many blocks", far_behind, newest),
        ("a block that was committed", no_block, Fetch::Candidate(first().digest())),
        ("a block, as an observer", observer, in_view_2),
    ]
}

#[test]
fn p8_what_is_missing_is_asked_for_again_every_delta_and_no_deadline_spins() {
    for (what, mut me, question) in waiting() {
        let (mut now, mut steps) = (2, 0);
        let before = me.fetched(&question);
        while let Some(next) = me.replica.deadline(at(now)).map(|next| next.as_millis() as u64) {
            assert!(next > now, "{what}");
            if next > 10_000 {
                break;
            }
            now = next;
            me.step(now, Input::Tick);
            steps += 1;
        }
        assert!(steps <= 120, "{what}: {steps} steps in 10 s");
        // Some questions go to all, and to those who have shown to know better.
        let asked = me.fetched(&question) - before;
        assert!((10..=45).contains(&asked), "{what}: asked {asked} times in 10 s");
    }
}

#[test]
fn p10_a_network_that_is_done_leaves_no_deadline_but_the_heartbeat() {
    let mut me = Driven::new();
    let (first, voted) = (first(), result_of(&first(), None));
    me.hear_final(1, &first);
    me.execute(2, &voted);
    for voter in [1, 2, 3] {
        me.hear(2, voter, signed_result(voter, &voted));
    }
    me.step(1_000, Input::Tick);
    assert_eq!(me.replica.deadline(at(1_000)), Some(Duration::from_millis(60_001)));
}

#[test]
fn p7_a_question_that_was_lost_is_asked_again_however_fast_the_views_change() {
    for (memory, question) in
        [(Memory::Whole, Fetch::OwnVotes), (Memory::Lost, Fetch::Attestation(item(999)))]
    {
        let mut me = started(memory, key(1, ME));
        let before = me.fetched(&question);
        for view in 1..=20 {
            me.hear(view * DELTA / 4, 1, failed(view));
        }
        // Once: each view that fails raises Δ.
        assert!(me.fetched(&question) > before, "{memory:?}");
    }
}
