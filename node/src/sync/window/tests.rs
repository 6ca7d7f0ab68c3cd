use super::*;

fn digest(height: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&height.to_le_bytes());
    Digest::from_bytes(bytes)
}

fn at(height: u64) -> Place {
    Place { height: Height(height), digest: digest(height) }
}

fn peer(byte: u8) -> PublicKey {
    PublicKey::Ed25519([byte; 32])
}

/// The blocks `first` to `last` of the one chain; the content is the heights.
fn piece(first: u64, last: u64) -> Piece<(u64, u64)> {
    let digests = (first..=last).map(digest).collect();
    Piece { first: Height(first), parent: digest(first - 1), digests, bytes: 1_000, content: (first, last) }
}

fn window(base: u64, target: u64) -> Window<(u64, u64)> {
    let mut window = Window::new(at(base));
    window.aim(Height(target));
    window
}

/// Takes off all that is next.
fn taken(window: &mut Window<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    while let Some(next) = window.take() {
        match next {
            Taken::Next { content, .. } => all.push(content),
            Taken::Unlinked { here, .. } => panic!("unlinked after {here:?}"),
        }
    }
    all
}

fn span(from: u64, to: u64) -> Span {
    Span { from: Height(from), to: Height(to) }
}

#[test]
fn without_a_certified_target_one_range_is_asked_for_and_with_one_many_up_to_it_and_not_beyond() {
    let mut window = window(10, 0);
    let (probe, first) = window.ask().unwrap();
    assert_eq!(first, span(11, 10 + STRIDE));
    assert!(window.ask().is_none() && window.is_probing());
    window.failed(probe);
    assert!(window.is_empty());
    window.aim(Height(300));
    let spans: Vec<Span> = std::iter::from_fn(|| window.ask().map(|(_, span)| span)).collect();
    assert_eq!(spans, [span(11, 138), span(139, 266), span(267, 300)]);
    assert!(!window.is_probing());
}

#[test]
fn ranges_that_come_in_any_order_are_handed_on_in_order() {
    let mut window = window(0, 3 * STRIDE);
    let asked: Vec<_> = std::iter::from_fn(|| window.ask()).collect();
    for (ticket, span) in asked.iter().rev() {
        assert!(taken(&mut window).is_empty(), "the first one is missing");
        assert!(window.hold(*ticket, peer(1), piece(span.from.0, span.to.0)));
    }
    assert_eq!(taken(&mut window), [(1, 128), (129, 256), (257, 384)]);
    assert_eq!(window.base(), at(384));
    assert!(window.is_empty() && window.is_probing());
}

#[test]
fn the_window_is_bounded_in_ranges_and_in_bytes_but_the_first_range_is_always_asked_for() {
    let mut window = window(0, 1_000_000);
    let asked: Vec<_> = std::iter::from_fn(|| window.ask()).collect();
    assert_eq!(asked.len(), MAX_SLOTS);
    let big = Piece { bytes: MAX_HELD_BYTES, ..piece(129, 256) };
    assert!(window.hold(asked[1].0, peer(1), big));
    window.failed(asked[2].0);
    assert!(window.ask().is_none(), "no room for what would have to wait");
    window.failed(asked[0].0);
    let (ticket, first) = window.ask().unwrap();
    assert_eq!(first, asked[0].1);
    window.hold(ticket, peer(2), piece(1, 128));
    assert_eq!(taken(&mut window), [(1, 128), (129, 256)]);
    assert_eq!(window.ask().unwrap().1, asked[2].1, "there is room again");
}

#[test]
fn an_answer_that_is_short_leaves_the_rest_to_others() {
    let mut window = window(0, 2 * STRIDE);
    let [(first, _), (second, _)] = [window.ask().unwrap(), window.ask().unwrap()];
    window.hold(first, peer(1), piece(1, 100));
    let (rest, asked) = window.ask().unwrap();
    assert_eq!(asked, span(101, 128));
    window.hold(second, peer(2), piece(129, 256));
    window.hold(rest, peer(2), piece(101, 128));
    assert_eq!(taken(&mut window), [(1, 100), (101, 128), (129, 256)]);
}

#[test]
fn an_answer_that_reaches_into_later_ranges_replaces_what_it_covers_and_links_to_what_it_does_not() {
    let mut window = window(0, 4 * STRIDE);
    let asked: Vec<_> = std::iter::from_fn(|| window.ask()).collect();
    window.hold(asked[2].0, peer(1), piece(257, 384));
    // No block before height 300 has a proof of its own.
    window.hold(asked[0].0, peer(2), piece(1, 300));
    assert!(!window.hold(asked[1].0, peer(1), piece(129, 256)), "nobody waits for it any more");
    window.hold(asked[3].0, peer(1), piece(385, 512));
    assert_eq!(taken(&mut window), [(1, 300), (257, 384), (385, 512)]);
}

#[test]
fn a_certified_range_that_does_not_continue_the_chain_is_told_with_its_sender_and_asked_for_again() {
    let mut window = window(0, 2 * STRIDE);
    let [(first, _), (second, _)] = [window.ask().unwrap(), window.ask().unwrap()];
    window.hold(first, peer(1), piece(1, 128));
    let forged = Piece { parent: digest(999), ..piece(129, 256) };
    window.hold(second, peer(7), forged);
    assert!(matches!(window.take(), Some(Taken::Next { content: (1, 128), .. })));
    let unlinked = Taken::Unlinked { from: peer(7), here: at(128), there: digest(999) };
    assert_eq!(window.take(), Some(unlinked));
    assert_eq!(window.take(), None);
    let (again, asked) = window.ask().unwrap();
    assert_eq!(asked, span(129, 256));
    window.hold(again, peer(1), piece(129, 256));
    assert_eq!(taken(&mut window), [(129, 256)]);
}

#[test]
fn an_overlapping_range_of_another_chain_does_not_pass_for_a_continuation() {
    let mut window = window(0, 2 * STRIDE);
    let [(first, _), (second, _)] = [window.ask().unwrap(), window.ask().unwrap()];
    let mut other = piece(129, 256);
    other.digests[20] = digest(999);
    window.hold(second, peer(7), other);
    window.hold(first, peer(1), piece(1, 149));
    assert!(matches!(window.take(), Some(Taken::Next { content: (1, 149), .. })));
    assert_eq!(window.take(), Some(Taken::Unlinked { from: peer(7), here: at(149), there: digest(999) }));
    assert_eq!(window.ask().unwrap().1, span(150, 256));
}

#[test]
fn what_a_liar_invents_past_the_target_is_not_insisted_on() {
    let mut window = window(10, 10);
    let (ticket, _) = window.ask().unwrap();
    window.hold(ticket, peer(7), Piece { parent: digest(999), ..piece(11, 20) });
    assert!(matches!(window.take(), Some(Taken::Unlinked { .. })));
    assert!(window.is_empty() && window.is_probing(), "one more look, and it is done");
}

#[test]
fn answers_that_are_stale_or_come_twice_change_nothing() {
    let mut window = window(0, 2 * STRIDE);
    let (ticket, _) = window.ask().unwrap();
    window.failed(ticket);
    let (again, _) = window.ask().unwrap();
    assert!(!window.hold(ticket, peer(1), piece(1, 128)), "it was given up");
    assert!(window.hold(again, peer(2), piece(1, 128)));
    assert!(!window.hold(again, peer(2), piece(1, 128)), "twice");
    window.failed(again);
    assert_eq!(taken(&mut window), [(1, 128)]);
    let (late, _) = window.ask().unwrap();
    window.reset(at(128));
    assert!(!window.hold(late, peer(1), piece(129, 256)), "from before the restart");
    assert_eq!(window.ask().unwrap().1, span(129, 256));
}

#[test]
fn a_chain_that_goes_on_by_itself_takes_the_window_with_it() {
    let mut window = window(0, 3 * STRIDE);
    let asked: Vec<_> = std::iter::from_fn(|| window.ask()).collect();
    window.hold(asked[1].0, peer(1), piece(129, 256));
    window.advance(at(200));
    assert!(!window.hold(asked[0].0, peer(1), piece(1, 128)), "it is here already");
    assert_eq!(taken(&mut window), [(129, 256)], "of which the driver takes what is new");
    window.advance(at(300));
    window.failed(asked[2].0);
    assert_eq!(window.ask().unwrap().1, span(301, 384));
    window.advance(at(250));
    assert_eq!(window.base(), at(300), "it never goes back");
}

#[test]
fn whatever_peers_answer_in_whatever_order_every_block_is_handed_on_once_and_in_order() {
    // A fixed sequence in place of chance.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    for _ in 0..200 {
        let mut target = 1 + draw(4_000);
        let (mut window, mut asked, mut next) = (window(0, target), Vec::new(), 1);
        for turn in 0.. {
            assert!(turn < 100_000, "it never ends");
            if window.is_probing() && window.is_empty() && next > target {
                break;
            }
            match draw(5) {
                0 => asked.extend(window.ask()),
                1 if !asked.is_empty() => {
                    let (ticket, _) = asked.swap_remove(draw(asked.len() as u64) as usize);
                    window.failed(ticket);
                }
                2 if !asked.is_empty() => {
                    let (ticket, span): (Ticket, Span) = asked.swap_remove(draw(asked.len() as u64) as usize);
                    let last = span.from.0 + draw(2 * STRIDE);
                    window.hold(ticket, peer(1), piece(span.from.0, last));
                }
                // A newer checkpoint, while a request for what may be there is under way.
                3 if turn < 50 => {
                    target += draw(400);
                    window.aim(Height(target));
                }
                _ => {
                    for (first, last) in taken(&mut window) {
                        assert!(first <= next && last >= next, "{first} to {last} after {}", next - 1);
                        next = last + 1;
                    }
                }
            }
        }
    }
}
