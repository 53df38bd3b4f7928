//! Runs programs and waits for what they print, always with a deadline.

#![allow(
    dead_code,
    reason = "each test binary uses a part of this module, and is warned of the rest"
)]

use std::fmt::Write;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use berkeley::internals::clock::{Clock, SteadyClock, WallClock};
use berkeley::internals::wire::timestamp;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use socket2::{Domain, Socket, Type};

use super::keys;

/// How long anything may take that should happen at once: a busy machine's pause, not ours.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// How soon after SIGINT or SIGTERM a program has to be gone.
pub(crate) const STOPPED_WITHIN: Duration = Duration::from_secs(1);

/// How exact a time that somebody is told has to be.
pub(crate) const EXACT: TimeDelta = TimeDelta::milliseconds(50);

/// The local time of the machine that runs the tests.
pub(crate) fn now() -> NaiveDateTime {
    timestamp::local(WallClock.read())
}

/// A time that goes on as the machine's oscillator does, from whatever the wall clock showed at the
/// first call: something may set or steer the wall clock while the tests run. What is to be compared
/// over more than a moment is compared by this one.
pub(crate) fn steady() -> DateTime<Utc> {
    static CLOCK: LazyLock<SteadyClock> = LazyLock::new(SteadyClock::start);
    CLOCK.read()
}

#[track_caller]
pub(crate) fn assert_exact(measured: TimeDelta, expected: TimeDelta) {
    assert!(
        (measured - expected).abs() <= EXACT,
        "{measured} where {expected} is due",
    );
}

/// A line that a program wrote.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) read: Instant,
    /// The local time when it was read.
    pub(crate) time: NaiveDateTime,
}

impl Line {
    /// When it was read, by UTC.
    pub(crate) fn utc(&self) -> NaiveDateTime {
        timestamp::moment(self.time, WallClock.read()).naive_utc()
    }

    /// How far the time that the line names after `label` is ahead of ours.
    pub(crate) fn told_ahead(&self, label: &str) -> TimeDelta {
        self.told(label) - self.time
    }

    /// The time that the line names after `label`.
    pub(crate) fn told(&self, label: &str) -> NaiveDateTime {
        let (_, told) = self.text.split_once(label).expect("the label");
        parse(told.get(..26).expect("26 characters"))
    }
}

/// Reads a timestamp, without the library's help.
pub(crate) fn parse(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.6f")
        .unwrap_or_else(|error| panic!("{text:?} is not a timestamp: {error}"))
}

/// A running program, which is killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    output: Receiver<Line>,
    log: Receiver<Line>,
    /// All that it wrote, for whoever has to find out why a test failed.
    transcript: Arc<Mutex<String>>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        if !command
            .get_envs()
            .any(|(name, _)| name == "RUNTIME_DIRECTORY")
        {
            // Not where the programs of this machine have their sockets.
            command.env("RUNTIME_DIRECTORY", env!("CARGO_TARGET_TMPDIR"));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that a signal reaches what `faketime` runs too.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let transcript = Arc::new(Mutex::new(format!("{command:?}\n")));
        let output = follow(child.stdout.take().expect("a pipe"), &transcript);
        let log = follow(child.stderr.take().expect("a pipe"), &transcript);
        Self {
            child,
            output,
            log,
            transcript,
        }
    }

    /// `berkeley-master` on a free port of the loopback.
    pub(crate) fn master(arguments: &[&str]) -> Self {
        Self::start(
            Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
                .args(["--listen", "127.0.0.1:0"])
                .args(keys::master_flags(arguments))
                .args(arguments),
        )
    }

    /// `berkeley-follower` of the given master.
    pub(crate) fn follower(master: SocketAddr, arguments: &[&str]) -> Self {
        Self::start(
            Command::new(env!("CARGO_BIN_EXE_berkeley-follower"))
                .arg(master.to_string())
                .args(keys::follower_flags(arguments))
                .args(arguments),
        )
    }

    /// The address that a master listens on. To be asked once, and first.
    pub(crate) fn address(&self) -> SocketAddr {
        let line = self.line("Listening on ");
        let address = line.text.trim_start_matches("Listening on ");
        address.parse().expect("ADDRESS:PORT after `Listening on`")
    }

    /// The next line on stdout that contains `part`.
    #[track_caller]
    pub(crate) fn line(&self, part: &str) -> Line {
        next(&self.output, part).unwrap_or_else(|missing| panic!("{missing}"))
    }

    /// As [`Program::line`], or `None` if it ends or says nothing of the kind.
    pub(crate) fn try_line(&self, part: &str) -> Option<Line> {
        next(&self.output, part).ok()
    }

    /// The next line on stderr that contains `part`.
    #[track_caller]
    pub(crate) fn log_line(&self, part: &str) -> Line {
        next(&self.log, part).unwrap_or_else(|missing| panic!("{missing}"))
    }

    /// The next line on stderr, if one comes until then.
    pub(crate) fn log_line_before(&self, until: Instant) -> Option<Line> {
        let left = until.saturating_duration_since(Instant::now());
        self.log.recv_timeout(left).ok()
    }

    /// All that it wrote until now.
    pub(crate) fn transcript(&self) -> String {
        self.transcript.lock().expect("a transcript").clone()
    }

    /// The names of its threads, as far as the kernel keeps them: 15 bytes.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("a process");
        // A thread may end while they are listed.
        let name = |task: io::Result<fs::DirEntry>| {
            let name = fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
            Some(name.trim_end().to_owned())
        };
        tasks.filter_map(name).collect()
    }

    /// How many TCP sockets it has.
    pub(crate) fn sockets(&self) -> usize {
        let process = format!("/proc/{}", self.child.id());
        let tables = ["tcp", "tcp6"].map(|table| {
            let table = fs::read_to_string(format!("{process}/net/{table}"));
            table.expect("a table of sockets")
        });
        let entries = tables.iter().flat_map(|table| table.lines().skip(1));
        let inodes: Vec<_> = entries
            .filter_map(|entry| entry.split_whitespace().nth(9))
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        let files = fs::read_dir(format!("{process}/fd")).expect("a process");
        let open = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        open.filter(|file| {
            inodes
                .iter()
                .any(|inode| file.as_os_str() == inode.as_str())
        })
        .count()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child's state").is_none()
    }

    /// Sends a signal to the program and all that it started.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} -- -{}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "{kill}");
    }

    #[track_caller]
    pub(crate) fn ends_within(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child's state") {
                return status;
            }
            assert!(Instant::now() < deadline, "it runs on after {patience:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for an end that comes without being asked for, and has to be in order.
    #[track_caller]
    pub(crate) fn stops_by_itself(mut self) {
        let status = self.ends_within(SOON);
        assert_eq!(status.code(), Some(0), "it ended with {status}");
    }

    /// Sends a signal that asks for an end, which then has to come soon and in order.
    #[track_caller]
    pub(crate) fn stops_at(mut self, signal: &str) {
        self.signal(signal);
        let status = self.ends_within(STOPPED_WITHIN);
        assert_eq!(status.code(), Some(0), "SIG{signal} ended it: {status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.transcript());
        }
        // The group, not only the child; it is gone already if the program ended by itself.
        let kill = format!("kill -s KILL -- -{} 2>&-", self.child.id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
        let _ = self.child.wait();
    }
}

/// Reads the lines of a pipe as they come.
fn follow(pipe: impl Read + Send + 'static, transcript: &Arc<Mutex<String>>) -> Receiver<Line> {
    let (lines, read) = mpsc::channel();
    let transcript = Arc::clone(transcript);
    let reader = move || {
        for text in BufReader::new(pipe).lines().map_while(Result::ok) {
            let (read, time) = (Instant::now(), now());
            let mut transcript = transcript.lock().expect("a transcript");
            writeln!(transcript, "{time} | {text}").expect("memory");
            drop(transcript);
            // Nobody may be interested any more.
            let _ = lines.send(Line { text, read, time });
        }
    };
    let thread = thread::Builder::new().name("pipe".to_owned());
    thread.spawn(reader).expect("a thread");
    read
}

/// The next line that contains `part`, or what to say if there is none.
fn next(lines: &Receiver<Line>, part: &str) -> Result<Line, String> {
    let deadline = Instant::now() + SOON;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line.text.contains(part) => return Ok(line),
            Ok(_) => {}
            Err(end) => return Err(format!("no line with {part:?} came: {end}")),
        }
    }
}

/// A port of the loopback that refuses connections, and the socket that keeps it from others.
pub(crate) fn refusing_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a free port");
    let address = socket.local_addr().expect("a socket");
    let address = address.as_socket().expect("an IP address");
    (socket, address)
}
