//! SIGINT (Ctrl-C) and SIGTERM ask for an orderly end.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::lock::lock;

/// How long an orderly end may take. A terminal that is held, or a name server that is silent,
/// can keep a program from it.
const ORDERLY: Duration = Duration::from_millis(800);

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
    /// Holds SIGINT and SIGTERM back from now on: to be called before anything starts, so that no
    /// moment is left in which one of them ends the process without order. When one comes and the
    /// process lives on for 0.8 s, `at_last` is called, which should end it.
    ///
    /// # Errors
    /// When the operating system refuses the handler or its thread.
    pub fn catch(at_last: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let task = Arc::new(Mutex::new(Task::None));
        let shared = Arc::clone(&task);
        let wait = move || {
            if let Some(signal) = signals.forever().next() {
                log::debug!("signal {signal}: stopping");
                let task = std::mem::replace(&mut *lock(&shared), Task::Stopped);
                if let Task::Stop(stop) = task {
                    stop();
                }
                thread::sleep(ORDERLY);
                at_last();
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
