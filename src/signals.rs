//! SIGINT (Ctrl-C) and SIGTERM ask for an orderly end.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `stop` when the first SIGINT or SIGTERM comes. A second one ends the process at once, in
/// case the orderly end hangs.
///
/// # Errors
/// When the operating system refuses the handler or its thread.
pub fn on_stop(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut coming = signals.forever();
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
