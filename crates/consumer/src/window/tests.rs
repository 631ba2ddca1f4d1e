use paredao_domain::KeySource;

use super::*;

const LIFE_MS: i64 = 180_000;
const POLL: PollId = PollId(3);

/// A key that spreads like a hash.
fn key(n: u64) -> KeyHash {
    let mixed = n
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(17)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&mixed.to_le_bytes());
    bytes[8..].copy_from_slice(&u32::try_from(n).unwrap().to_le_bytes());
    KeyHash(bytes)
}

fn candidate(n: u64) -> CandidateNumber {
    CandidateNumber::try_from(n % 99 + 1).unwrap()
}

fn probe(n: u64, at: UnixMillis) -> Probe {
    Probe {
        poll: POLL,
        key: key(n),
        accepted_at: at,
        life_ms: LIFE_MS,
    }
}

fn source(entry: u64, minute: u32) -> Source {
    Source {
        entry: LedgerPosition(entry),
        poll: POLL,
        minute: Minute(minute),
    }
}

fn vote(key: KeyHash, n: u64) -> Vote {
    Vote {
        candidate: candidate(n),
        source: KeySource::Client,
        offset: 0,
        key,
    }
}

/// Batch `entry` of minute `minute` holding the given keys at offset 0.
fn add(window: &mut Window, entry: u64, minute: u32, keys: std::ops::Range<u64>) {
    let votes = keys.map(|n| vote(key(n), n));
    window.add(source(entry, minute), (0..).zip(votes));
}

fn standing(window: &Window, n: u64, at: UnixMillis) -> Option<(u64, u16)> {
    window
        .find(&probe(n, at))
        .map(|f| (f.standing.entry.0, f.standing.position))
}

fn covers(window: &Window, first: UnixMillis, last: UnixMillis) -> bool {
    window.outside(first, last).next().is_none()
}

/// Forgets as a consumer does whose clock shows the start of `minute`.
fn forget(window: &mut Window, minute: u32) {
    let now = Minute(minute).start();
    window.forget(now.plus(-LIFE_MS), now.plus(LIFE_MS));
}

#[test]
fn every_key_is_found_where_it_stands_and_no_other_is() {
    let mut window = Window::new();
    for batch in 0..50 {
        add(
            &mut window,
            batch + 1,
            10,
            batch * 1_000..(batch + 1) * 1_000,
        );
    }
    let now = Minute(10).at(30_000);
    for n in (0..50_000).step_by(7) {
        let found = window.find(&probe(n, now)).unwrap();
        assert_eq!(found.candidate, candidate(n));
        assert_eq!(
            (found.standing.entry.0, u64::from(found.standing.position)),
            (n / 1_000 + 1, n % 1_000)
        );
    }
    assert!((50_000..60_000).all(|n| window.find(&probe(n, now)).is_none()));
    assert!(
        window
            .find(&Probe {
                poll: PollId(4),
                ..probe(1, now)
            })
            .is_none()
    );
}

#[test]
fn a_key_lives_exactly_its_life_in_both_directions() {
    let mut window = Window::new();
    add(&mut window, 1, 100, 0..1);
    let at = Minute(100).start();
    for (delta, found) in [
        (LIFE_MS, true),
        (-LIFE_MS, true),
        (LIFE_MS + 1, false),
        (-LIFE_MS - 1, false),
    ] {
        assert_eq!(
            standing(&window, 0, at.plus(delta)).is_some(),
            found,
            "{delta}"
        );
    }
}

#[test]
fn of_several_standing_copies_the_first_in_the_ledger_is_named_in_whatever_order_they_came() {
    for order in [[(1, 100), (2, 104)], [(2, 104), (1, 100)]] {
        let mut window = Window::new();
        for (entry, minute) in order {
            add(&mut window, entry, minute, 0..1);
        }
        assert_eq!(standing(&window, 0, Minute(102).start()), Some((1, 0)));
        assert_eq!(standing(&window, 0, Minute(105).start()), Some((2, 0)));
    }
}

#[test]
fn forgetting_frees_what_is_before_the_edge_and_nothing_else() {
    let mut window = Window::new();
    for minute in 0..10_u32 {
        let from = u64::from(minute) * 5_000;
        add(
            &mut window,
            u64::from(minute) + 1,
            minute,
            from..from + 5_000,
        );
    }
    let end = Minute(u32::MAX).start();
    window.forget(Minute(4).start(), end);
    assert_eq!(window.len(), 6 * 5_000);
    assert_eq!(standing(&window, 19_999, Minute(3).start()), None);
    assert_eq!(standing(&window, 20_000, Minute(4).start()), Some((5, 0)));
    assert_eq!(
        standing(&window, 49_999, Minute(9).start()),
        Some((10, 4_999))
    );
    assert!(covers(&window, Minute(4).start(), end));
    assert!(!covers(&window, Minute(4).start().plus(-1), end));
    window.forget(Minute(99).start(), end);
    assert!(window.is_empty());
    add(&mut window, 11, 99, 0..10);
    assert_eq!(standing(&window, 9, Minute(99).start()), Some((11, 9)));
}

#[test]
fn keys_of_another_time_than_asked_for_are_passed_over_and_looked_for_elsewhere() {
    let (first, last) = (Minute(10).start(), Minute(20).start());
    let mut window = Window::between(first, last);
    for minute in [9, 10, 20, 21] {
        add(&mut window, u64::from(minute), minute, 0..1);
    }
    assert_eq!(window.len(), 2);
    let outside = |from, to| {
        let parts = window.outside(Minute(from).start(), Minute(to).start());
        parts.collect::<Vec<_>>()
    };
    assert_eq!(outside(10, 20), []);
    let before = (Minute(8).start(), first.plus(-1));
    let after = (last.plus(1), Minute(22).start());
    assert_eq!(outside(8, 15), [before]);
    assert_eq!(outside(8, 22), [before, after]);
    assert_eq!(outside(21, 22), [(Minute(21).start(), after.1)]);
    assert!(!covers(&Window::closed(), first, last));
}

#[test]
fn a_key_hours_ahead_of_the_clock_holds_nothing_back() {
    let mut window = Window::new();
    add(&mut window, 1, 600, 0..10);
    let mut sizes = Vec::new();
    for minute in 10..60_u32 {
        let from = u64::from(minute) * 1_000;
        add(&mut window, u64::from(minute), minute, from..from + 1_000);
        forget(&mut window, minute);
        sizes.push(window.len());
        let live = Minute(minute - 3).start();
        assert!(covers(&window, live, Minute(minute + 3).start()));
        if minute >= 12 {
            assert!(standing(&window, from - 2_000, live).is_some());
        }
    }
    assert_eq!(sizes.last(), Some(&4_000), "{sizes:?}");
    assert!(
        !covers(&window, Minute(600).start(), Minute(600).start()),
        "who asks about that time is sent to the ledger"
    );
    assert!(covers(&window, Minute(57).start(), Minute(599).start()));
}

#[test]
fn a_key_a_little_ahead_of_the_clock_waits_for_its_time() {
    let mut window = Window::new();
    add(&mut window, 1, 12, 0..1);
    forget(&mut window, 10);
    assert!(covers(&window, Minute(10).start(), Minute(99).start()));
    assert_eq!(standing(&window, 0, Minute(11).start()), Some((1, 0)));
}

#[test]
fn a_million_live_keys_take_at_most_32_bytes_each_and_do_not_grow_in_steady_state() {
    let mut window = Window::new();
    let (per_minute, live_minutes) = (250_000_u64, 4_u32);
    let mut rounds = Vec::new();
    for minute in 0..24_u32 {
        for batch in 0..per_minute / 1_000 {
            let from = u64::from(minute) * per_minute + batch * 1_000;
            add(&mut window, from + 1, minute, from..from + 1_000);
        }
        let edge = Minute((minute + 1).saturating_sub(live_minutes)).start();
        window.forget(edge, UnixMillis(i64::MAX));
        rounds.push(window.bytes());
    }
    let per_key = window.bytes() / window.len();
    assert!(
        per_key <= 32,
        "{per_key} bytes a key, {} keys",
        window.len()
    );
    let (earlier, later) = (&rounds[8..16], &rounds[16..]);
    let most = |rounds: &[usize]| *rounds.iter().max().unwrap();
    assert!(
        most(later) <= most(earlier) + most(earlier) / 100,
        "{rounds:?}"
    );
}

#[test]
fn numbers_and_references_may_wrap() {
    let mut window = Window::new();
    window.base = u32::MAX - 2;
    window.end = window.base;
    window.first_source = REFERENCES - 1;
    add(&mut window, 1, 5, 0..100);
    add(&mut window, 2, 5, 100..200);
    let at = Minute(5).start();
    assert!((0..100).all(|n| standing(&window, n, at) == Some((1, u16::try_from(n).unwrap()))));
    assert!(
        (100..200).all(|n| standing(&window, n, at) == Some((2, u16::try_from(n - 100).unwrap())))
    );
}

#[test]
fn more_batches_than_there_are_references_push_out_the_oldest_and_the_window_says_so() {
    let mut window = Window::new();
    window.sources_max = 100;
    window.first_source = REFERENCES - 50;
    let minute = |batch: u64| u32::try_from(batch / 10).unwrap();
    for batch in 0..300 {
        add(&mut window, batch + 1, minute(batch), batch..batch + 1);
    }
    assert_eq!((window.len(), window.sources.len()), (100, 100));
    assert!(window.is_crowded());
    let (first, last) = (Minute(20).start(), Minute(29).start());
    assert!(!covers(&window, Minute(19).start(), last) && covers(&window, first, last));
    for batch in 200..300 {
        let at = Minute(minute(batch)).start();
        assert_eq!(standing(&window, batch, at), Some((batch + 1, 0)));
    }
    assert_eq!(standing(&window, 199, Minute(19).start()), None);
    window.forget(first, UnixMillis(i64::MAX));
    assert!(!window.is_crowded(), "nothing is missing any more");
}

#[test]
fn keys_that_share_a_home_are_still_told_apart() {
    let mut window = Window::new();
    let colliding = |n: u8| KeyHash([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, n]);
    let votes = (0..200).map(|n| vote(colliding(n), u64::from(n)));
    window.add(source(1, 1), (0..).zip(votes));
    for n in 0..200 {
        let probe = Probe {
            poll: POLL,
            key: colliding(n),
            accepted_at: Minute(1).start(),
            life_ms: 0,
        };
        assert_eq!(window.find(&probe).unwrap().standing.position, u16::from(n));
    }
}
