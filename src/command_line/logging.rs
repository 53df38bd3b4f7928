//! The log on stderr, which must not hold up the program.

use std::io::{self, Write};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use env_logger::{Builder, Env, Target};

/// Lines that stderr has not taken yet; more than these are dropped. A terminal that is held
/// (Ctrl-S) must not stop the rounds.
const LINES: usize = 64;

/// Starts logging to stderr: at `info`, unless `RUST_LOG` says otherwise.
///
/// # Errors
/// When the operating system gives no thread.
pub fn start() -> io::Result<()> {
    let (lines, waiting) = mpsc::sync_channel::<Vec<u8>>(LINES);
    let write = move || {
        for line in waiting {
            let _ = io::stderr().write_all(&line);
        }
    };
    thread::Builder::new().name("log".to_owned()).spawn(write)?;
    let env = Env::default().default_filter_or("info");
    let target = Target::Pipe(Box::new(Lines(lines)));
    Builder::from_env(env).target(target).init();
    Ok(())
}

/// Takes whole lines, as `env_logger` writes them, without ever waiting.
struct Lines(SyncSender<Vec<u8>>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
