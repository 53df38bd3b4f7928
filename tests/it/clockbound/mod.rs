//! The segment that `--clockbound` writes, read by ClockBound's own client.

mod disrupted;
mod hosts;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use berkeley::internals::system_clock::bound::{Bound, Status};
use berkeley::internals::system_clock::segment::Segment;
use chrono::TimeDelta;
use clock_bound_client::{ClockBoundClient, ClockStatus};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

/// What that clock shows, in nanoseconds.
fn coarse() -> i64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// A segment, and how a client names it.
fn segment() -> (TempDir, Segment, String) {
    // It has to be in memory.
    let folder = TempDir::new_in("/dev/shm").expect("a folder");
    let path = folder.path().join("shm0");
    let segment = Segment::open(&path).expect("a segment");
    (folder, segment, path.display().to_string())
}

fn bound(error: TimeDelta, status: Status) -> Bound {
    Bound {
        as_of: coarse(),
        error,
        growth_ppm: 2.0,
        status,
    }
}

/// How wide the interval is, in nanoseconds, and the status.
#[track_caller]
fn asked(client: &mut ClockBoundClient) -> (i64, ClockStatus) {
    let now = client.now().expect("an answer");
    let (earliest, latest) = (now.earliest, now.latest);
    let seconds = latest.tv_sec() - earliest.tv_sec();
    let width = seconds * 1_000_000_000 + latest.tv_nsec() - earliest.tv_nsec();
    (width, now.clock_status)
}

#[test]
fn a_client_understands_what_it_is_told() {
    let (_folder, mut segment, path) = segment();
    let mut client = ClockBoundClient::new_with_path(&path).expect("a client");
    let (width, status) = asked(&mut client);
    assert_eq!(status, ClockStatus::Unknown);
    assert!(width > 1_000_000_000_000_000_000, "anything may be");
    let error = TimeDelta::milliseconds(3);
    for (said, heard) in [
        (Status::Synchronized, ClockStatus::Synchronized),
        (Status::FreeRunning, ClockStatus::FreeRunning),
        (Status::Disrupted, ClockStatus::Disrupted),
        (Status::Unknown, ClockStatus::Unknown),
    ] {
        segment.say(&bound(error, said), 1).expect("it is said");
        let (width, status) = asked(&mut client);
        assert_eq!(status, heard);
        // It grows by 2 ppm.
        assert!((6_000_000..6_100_000).contains(&width), "{width} ns");
    }
}

#[test]
fn a_client_that_is_not_told_again_takes_the_clock_for_free_running_and_then_for_unknown() {
    let (_folder, mut segment, path) = segment();
    let mut client = ClockBoundClient::new_with_path(&path).expect("a client");
    let error = TimeDelta::milliseconds(3);
    let said = bound(error, Status::Synchronized);
    for (seconds, heard, grown) in [
        (4, ClockStatus::Synchronized, 0.008),
        (100, ClockStatus::FreeRunning, 0.2),
        (1001, ClockStatus::Unknown, 2.002),
    ] {
        let as_of = said.as_of - seconds * 1_000_000_000;
        segment
            .say(&Bound { as_of, ..said }, 1)
            .expect("it is said");
        let (width, status) = asked(&mut client);
        assert_eq!(status, heard);
        let wrong = width as f64 * 1e-6 - 2.0 * (3.0 + grown);
        assert!((0.0..0.1).contains(&wrong), "{width} ns");
    }
}

/// Whoever reads while we write sees what was said before or after, and nothing in between.
#[test]
fn nobody_reads_half_a_word() {
    let (_folder, mut segment, path) = segment();
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut words = 0;
            // The generation begins anew after 32,767 words.
            while words < 70_000 || !enough.load(Ordering::SeqCst) {
                let (error, status) = if words % 2 == 0 {
                    (TimeDelta::seconds(1), Status::Synchronized)
                } else {
                    (TimeDelta::seconds(1000), Status::FreeRunning)
                };
                segment.say(&bound(error, status), 1).expect("it is said");
                words += 1;
                // On a busy machine, too, somebody reads now and then.
                if words % 8 == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut client = ClockBoundClient::new_with_path(&path).expect("a client");
        let mut changes = 0;
        let mut last = ClockStatus::Unknown;
        while changes < 100 {
            let (width, status) = asked(&mut client);
            let error = width / 2_000_000_000;
            match status {
                ClockStatus::Synchronized => assert_eq!(error, 1),
                ClockStatus::FreeRunning => assert_eq!(error, 1000),
                ClockStatus::Unknown => assert!(error > 1000),
                ClockStatus::Disrupted => panic!("nobody said so"),
            }
            changes += u32::from(status != last);
            last = status;
        }
        enough.store(true, Ordering::SeqCst);
    });
}
