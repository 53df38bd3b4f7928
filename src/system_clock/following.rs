//! The thread that keeps the system's clock with the network, and what ends it.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::lock::lock;

/// While this lives, the system's clock follows the network. Dropping it leaves the clock at its
/// own tick and the frequency that was learned, and nothing slewing.
#[derive(Debug)]
pub struct Following {
    stop: StopFollowing,
    thread: Option<JoinHandle<()>>,
    steers: bool,
}

impl Following {
    /// Starts the thread, which runs until its receiver is disconnected. It steers the clock, or
    /// leaves that to somebody else whom it tells the time.
    ///
    /// # Errors
    /// When the operating system gives no more threads.
    pub(crate) fn start(
        name: &str,
        steers: bool,
        run: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || run(&stopped))?;
        Ok(Self {
            stop: StopFollowing(Arc::new(Mutex::new(Some(stop)))),
            thread: Some(thread),
            steers,
        })
    }

    /// Whether it is this program that steers the clock.
    #[must_use]
    pub fn steers(&self) -> bool {
        self.steers
    }

    /// What ends the following from any thread, at once.
    #[must_use]
    pub fn stopper(&self) -> StopFollowing {
        self.stop.clone()
    }
}

/// Ends the following of the network by the system's clock.
#[derive(Debug, Clone)]
pub struct StopFollowing(Arc<Mutex<Option<Sender<()>>>>);

impl StopFollowing {
    /// Leaves the clock as dropping the [`Following`] does, and does not wait for it.
    pub fn stop(&self) {
        *lock(&self.0) = None;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
