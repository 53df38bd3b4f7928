//! What systemd is told by a program that it has started (`Type=notify`): that the program is
//! ready, how it is, and that it is alive.

use std::env;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::command_line::site::Source;
use crate::report::status::Status;
use crate::report::status_line::status_line;

/// A follower is ready with its first correction, or without one after this: a master that is away
/// holds up neither the boot nor what is started after us.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether the program is ready.
const LOOK: Duration = Duration::from_millis(100);

/// How often the status line is renewed, if the watchdog does not ask for a sign of life before.
const RENEWAL: Duration = Duration::from_secs(10);

/// Tells systemd, if it wants to know, until the process ends: from a thread that reads the status
/// as everybody else does. So a watchdog that barks means that the process stands still, or a
/// thread keeps a lock that all need.
///
/// # Errors
/// When there is no thread.
pub fn tell(status: &Source) -> io::Result<()> {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(());
    }
    let status = Source::clone(status);
    let run = move || run(&*status);
    thread::Builder::new()
        .name("systemd".to_owned())
        .spawn(run)?;
    Ok(())
}

fn run(status: &dyn Fn() -> Status) {
    let started = Instant::now();
    let mut now = status();
    while !is_ready(&now, started.elapsed()) {
        thread::sleep(LOOK);
        now = status();
    }
    notify(NotifyState::Ready, &now);
    let pause = pause(sd_notify::watchdog_enabled());
    loop {
        thread::sleep(pause);
        notify(NotifyState::Watchdog, &status());
    }
}

/// Whether the program does its work. A master that is there listens; whoever needs the group's
/// time waits for `berkeley-wait.service`.
fn is_ready(status: &Status, elapsed: Duration) -> bool {
    match status {
        Status::Master(_) => true,
        Status::Follower(status) => status.clock.synchronized || elapsed >= PATIENCE,
    }
}

/// Three signs of life for each that the watchdog waits for.
fn pause(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(RENEWAL, |limit| RENEWAL.min(limit / 3))
}

fn notify(state: NotifyState, status: &Status) {
    let line = status_line(status);
    if let Err(error) = sd_notify::notify(&[state, NotifyState::Status(&line)]) {
        log::debug!("systemd was not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::status::{
        ClockStatus, FOLLOWER, FollowerCounters, FollowerStatus, ProcessStatus, VERSION,
    };

    fn follower(synchronized: bool) -> Status {
        Status::Follower(Box::new(FollowerStatus {
            version: VERSION,
            program: FOLLOWER.to_owned(),
            process: ProcessStatus {
                id: 1,
                release: String::new(),
                name: None,
                time: String::new(),
                uptime_s: 0.0,
            },
            master: None,
            term: None,
            clock: ClockStatus::unread(synchronized),
            correction: None,
            counters: FollowerCounters::default(),
            ntp: None,
        }))
    }

    #[test]
    fn a_follower_is_ready_with_a_correction_or_after_a_while_without() {
        assert!(is_ready(&follower(true), Duration::ZERO));
        let almost = PATIENCE.saturating_sub(LOOK);
        assert!(!is_ready(&follower(false), almost), "there may be a master");
        assert!(is_ready(&follower(false), PATIENCE), "the boot goes on");
    }

    #[test]
    fn the_watchdog_hears_of_us_in_time() {
        assert_eq!(pause(None), RENEWAL);
        assert_eq!(pause(Some(Duration::from_secs(3))), Duration::from_secs(1));
        assert_eq!(pause(Some(Duration::from_secs(90))), RENEWAL);
    }
}
