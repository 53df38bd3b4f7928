//! The signals that ask for an orderly end: SIGINT (Ctrl-C), SIGTERM, SIGHUP (a terminal that is
//! closed) and SIGQUIT.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::lock::lock;

/// How long an orderly end may take. A terminal that is held, or a name server that is silent,
/// can keep a program from it.
const ORDERLY: Duration = Duration::from_millis(800);

/// A wrapper may pass on what the terminal has already sent: what follows a signal so soon is the
/// same wish.
const SAME_WISH: Duration = Duration::from_millis(100);

/// How often it is looked for another signal during the orderly end.
const LOOK: Duration = Duration::from_millis(10);

/// What there is to stop.
#[derive(Default)]
enum Task {
    /// Nothing yet.
    #[default]
    None,
    Stop(Box<dyn FnOnce() + Send>),
    /// The signal has come.
    Stopped,
}

/// Signals that no longer end the process at once.
pub struct StopSignals(Arc<Mutex<Task>>);

impl StopSignals {
    /// Holds the signals back from now on: to be called before anything starts, so that no moment
    /// is left in which one of them ends the process without order. At the first one, the task of
    /// [`StopSignals::on_stop`] is called. When the process lives on for 0.8 s, or a second signal
    /// comes, `at_last` is called, which should end it; it is given the second signal.
    ///
    /// SIGHUP is left alone if it is ignored now: so asks `nohup`.
    ///
    /// # Errors
    /// When the operating system refuses the handlers or their thread.
    pub fn catch(at_last: impl FnOnce(Option<i32>) + Send + 'static) -> io::Result<Self> {
        let mut caught = vec![SIGINT, SIGTERM, SIGQUIT];
        if !is_ignored(SIGHUP) {
            caught.push(SIGHUP);
        }
        let mut signals = Signals::new(caught)?;
        let task = Arc::new(Mutex::new(Task::None));
        let shared = Arc::clone(&task);
        let wait = move || {
            if let Some(signal) = signals.forever().next() {
                log::debug!("signal {signal}: stopping");
                let first = Instant::now();
                let task = std::mem::replace(&mut *lock(&shared), Task::Stopped);
                if let Task::Stop(stop) = task {
                    stop();
                }
                at_last(second(&mut signals, first));
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait)?;
        Ok(Self(task))
    }

    /// Calls `stop` when the first signal comes, or at once if it came already.
    pub fn on_stop(&self, stop: impl FnOnce() + Send + 'static) {
        let mut task = lock(&self.0);
        if let Task::Stopped = *task {
            drop(task);
            stop();
        } else {
            *task = Task::Stop(Box::new(stop));
        }
    }
}

/// Waits for the signal that ends an orderly end; `None` when that has taken too long.
fn second(signals: &mut Signals, first: Instant) -> Option<i32> {
    while first.elapsed() < ORDERLY {
        if let Some(signal) = signals
            .pending()
            .find(|signal| ends(*signal, first.elapsed()))
        {
            return Some(signal);
        }
        thread::sleep(LOOK);
    }
    None
}

/// Whether a signal that comes so long after the first one ends an orderly end. A terminal that is
/// closed sends SIGHUP, and so does its shell.
fn ends(signal: i32, after: Duration) -> bool {
    signal != SIGHUP && after > SAME_WISH
}

/// Whether this process was started with the signal ignored, as far as the system tells.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status");
    status.is_ok_and(|status| ignores(&status, signal))
}

/// Whether the signal is in the mask of a process's status, as Linux writes it: see proc(5).
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_wish_ends_at_once_and_an_echo_of_the_first_does_not() {
        assert!(ends(SIGINT, Duration::from_millis(300)));
        assert!(ends(SIGTERM, Duration::from_millis(300)));
        assert!(!ends(SIGINT, Duration::from_millis(3)), "a wrapper's");
        assert!(!ends(SIGHUP, Duration::from_millis(300)), "the shell's");
    }

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status = "Name:\tx\nSigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, SIGHUP));
        assert!(ignores(status, 13), "SIGPIPE");
        assert!(!ignores(status, SIGINT));
        assert!(!ignores("Name:\tx\n", SIGHUP));
    }
}
