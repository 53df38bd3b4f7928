//! SIGINT (Ctrl-C) and SIGTERM ask for an orderly end.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Signals that no longer end the process at once.
#[derive(Debug)]
pub struct Caught(Signals);

/// Holds SIGINT and SIGTERM back from now on: to be called before anything starts, so that no
/// moment is left in which one of them ends the process without order.
///
/// # Errors
/// When the operating system refuses the handler.
pub fn catch() -> io::Result<Caught> {
    Signals::new([SIGINT, SIGTERM]).map(Caught)
}

impl Caught {
    /// Calls `stop` when the first signal comes, or if it came already. A second one ends the
    /// process at once, in case the orderly end hangs.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn on_stop(mut self, stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut coming = self.0.forever();
                if let Some(signal) = coming.next() {
                    log::debug!("signal {signal}: stopping");
                    stop();
                }
                if let Some(signal) = coming.next() {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            })?;
        Ok(())
    }
}
