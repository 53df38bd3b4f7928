//! A master under load that is asked how it is, by some who read and some who do not.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(250);

/// As many who never read as are answered at a time.
const SILENT: usize = 16;

/// What the answers came to.
pub struct Asked {
    /// How long `status --json` took, from its start to its end, in order.
    pub times: Vec<Duration>,
    /// How long the last document was, in bytes.
    pub length: usize,
    /// Polls that were not asked meanwhile.
    pub polls_lost: u64,
}

impl Asked {
    pub fn longest(&self) -> Duration {
        self.times.last().copied().unwrap_or_default()
    }
}

/// A thread that asks until it is told to end.
pub struct Questions {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<Asked>>,
}

impl Questions {
    /// Asks the only master whose socket is in this folder.
    pub fn begin(folder: &Path) -> Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let (ended, folder) = (Arc::clone(&ends), folder.to_owned());
        let thread = thread::Builder::new().name("asks".to_owned());
        let thread = thread.spawn(move || ask(&folder, &ended))?;
        Ok(Self { ends, thread })
    }

    pub fn end(self) -> Result<Asked> {
        self.ends.store(true, Ordering::SeqCst);
        let asked = self.thread.join();
        asked.map_err(|_| anyhow!("the thread that asks has panicked"))?
    }
}

fn ask(folder: &Path, ends: &AtomicBool) -> Result<Asked> {
    let socket = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let socket = socket.filter(|path| path.extension().is_some_and(|end| end == "sock"));
    let socket = socket.last().context("the master has no socket")?;
    let mut asked = Asked {
        times: Vec::new(),
        length: 0,
        polls_lost: 0,
    };
    let mut silent = Vec::new();
    while !ends.load(Ordering::SeqCst) {
        silent.push(UnixStream::connect(&socket)?);
        silent.drain(..silent.len().saturating_sub(SILENT));
        let began = Instant::now();
        let answer = Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
            .args(["status", "--json", "--socket"])
            .arg(&socket)
            .output()?;
        asked.times.push(began.elapsed());
        let error = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "it was asked in vain: {error}");
        asked.length = answer.stdout.len();
        thread::sleep(PAUSE);
    }
    asked.times.sort_unstable();
    Ok(asked)
}
