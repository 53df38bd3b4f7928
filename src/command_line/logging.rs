//! The log on stderr, which must not hold up the program.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use env_logger::{Builder, Env, Target};

/// Lines that stderr has not taken yet; more than these are dropped. A terminal that is held
/// (Ctrl-S) must not stop the rounds.
const LINES: usize = 64;

/// Starts logging to stderr: at `info`, unless `RUST_LOG` says otherwise. Each line has its time,
/// but not in systemd's journal, which notes it itself.
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
    let mut log = Builder::from_env(env);
    if is_journal(io::stderr().as_fd()) {
        log.format_timestamp(None);
    }
    log.target(target).init();
    Ok(())
}

/// Whether what is written there goes to systemd's journal: `JOURNAL_STREAM` names the device and
/// the inode of the stream, see systemd.exec(5). It is inherited by whoever is started, so the
/// variable alone says nothing.
fn is_journal(stream: BorrowedFd) -> bool {
    let Ok(journal) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stream = stream.try_clone_to_owned().map(File::from);
    let stream = stream.and_then(|stream| stream.metadata());
    stream.is_ok_and(|it| journal == format!("{}:{}", it.dev(), it.ino()))
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
