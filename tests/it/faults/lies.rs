//! Clocks that jump, and clocks that lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use berkeley::internals::span;
use chrono::TimeDelta;

use super::group::{Group, LIMIT, Noticed, Watch, row};
use super::peer::{Liar, Lie};
use crate::support::programs::Program;
use crate::support::records::Moment;

const SECOND: i64 = 1_000_000_000;

#[test]
fn a_clock_jumps() {
    let group = Group::new(3);
    // What the clock adds to the right time; at a limit it stays there.
    let jump = Arc::new(AtomicI64::new(0));
    let wrong = Arc::clone(&jump);
    let _jumping = Liar::of(group.address(), move |honest: i64| {
        honest.saturating_add(wrong.load(Ordering::SeqCst)).max(0)
    });
    group.watch().rounds(3);
    for (to, by) in [
        ("by an hour", 3600 * SECOND),
        ("by a year", 365 * 86_400 * SECOND),
        ("to 1970", i64::MIN / 2),
        ("to 2262", i64::MAX),
    ] {
        let watch = group.watch();
        jump.store(by, Ordering::SeqCst);
        watch.rounds(4);
        stay_with_the_machine(&watch);
        watch
            .noticed()
            .row(&format!("a clock that jumps {to}"), LIMIT);
    }
}

/// Two lie, of six clocks: three healthy followers, and the master.
fn a_third_lies(lie: impl Fn(u64) -> Box<dyn FnMut(i64) -> i64 + Send>) -> Noticed {
    let group = Group::new(3);
    let watch = group.watch();
    let _liars = [1, 2].map(|number| Liar::of(group.address(), lie(number)));
    watch.rounds(10);
    stay_with_the_machine(&watch);
    watch.noticed()
}

/// Nobody is to be dragged along: healthy clocks are right.
#[track_caller]
fn stay_with_the_machine(watch: &Watch) {
    let corrections = watch.corrections();
    let ahead = corrections
        .iter()
        .flatten()
        .map(|moment| moment.ahead_of_own().abs());
    let dragged = ahead.max().unwrap_or_default();
    assert!(dragged < LIMIT.skew, "they were dragged away by {dragged}");
}

#[test]
fn a_third_lies_at_random() {
    let seed = fastrand::u64(..);
    println!("the liars' seed is {seed}");
    let noticed = a_third_lies(|number| {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(number));
        // Up to an hour either way, and within it most often near.
        Box::new(move |honest| {
            let span = 10_i64.pow(random.u32(3..13));
            honest + random.i64(-span..span)
        })
    });
    noticed.row("a third of the clocks lies at random", LIMIT);
}

#[test]
fn a_third_lies_by_the_same_amount() {
    let noticed = a_third_lies(|_| Box::new(|honest| honest + 10 * SECOND));
    noticed.row("a third of the clocks lies by the same 10 s", LIMIT);
}

/// Always a little ahead of where the group has just gone: as far as a clock may be and still
/// vote.
struct Creeping {
    ahead: i64,
    by: i64,
}

impl Lie for Creeping {
    fn show(&mut self, honest: i64) -> i64 {
        honest + self.ahead
    }

    fn corrected(&mut self, nanoseconds: i64) {
        self.ahead += nanoseconds + self.by;
    }
}

/// How fast a third of the clocks may drag the others away: 10 ppm, and half of the noise between
/// the clocks in each round, see `berkeley::internals::average::reputation`.
const LIMIT_OF_DRAG_PPM: f64 = 30.0;

/// Liars that claim to be ahead of the group by as much, in every round anew.
fn a_third_creeps(fault: &str, by: i64) {
    const ROUNDS: usize = 40;
    let interval = Duration::from_millis(200);
    let master = Program::master(&["--interval", "200ms"]);
    let group = Group::of(master, 3, interval);
    let _liars = [1, 2].map(|_| Liar::of(group.address(), Creeping { ahead: 0, by }));
    // In the first rounds all are new. Then the master sees that two don't follow, and the rate
    // that they have caused so far is given up.
    group.watch().rounds(ROUNDS * 2);
    let watch = group.watch();
    watch.rounds(ROUNDS);
    let corrections = watch.corrections();
    let rates = corrections.iter().map(|record| rate_ppm(record));
    let fastest = rates.fold(0.0, |fastest: f64, rate| fastest.max(rate.abs()));
    let skew = watch.noticed().skew;
    row(
        fault,
        &format!(
            "the others gain {fastest:.0} ppm, skew {}",
            span::span(skew)
        ),
        &format!("{LIMIT_OF_DRAG_PPM:.0} ppm, {}", span::span(LIMIT.skew)),
        fastest <= LIMIT_OF_DRAG_PPM && skew <= LIMIT.skew,
    );
}

#[test]
fn a_third_lies_by_as_much_as_still_votes() {
    a_third_creeps(
        "a third of the clocks runs 0.9 ms ahead in each round",
        900_000,
    );
}

#[test]
fn a_third_lies_slowly() {
    a_third_creeps(
        "a third of the clocks runs 50 µs ahead in each round",
        50_000,
    );
}

/// How fast network time gains on the follower's own clock.
fn rate_ppm(record: &[Moment]) -> f64 {
    let [first, .., last] = record else {
        panic!("too few corrections");
    };
    let nanoseconds = |span: TimeDelta| span.num_nanoseconds().expect("a short span") as f64;
    let gained = last.ahead_of_own() - first.ahead_of_own();
    nanoseconds(gained) / nanoseconds(last.clock - first.clock) * 1e6
}
