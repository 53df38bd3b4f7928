//! Output and logs that nobody reads, or that nobody reads any more.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::{FOLLOWER, MASTER};
use crate::support::programs::{Program, SOON, STOPPED_WITHIN, refusing_port};
use crate::support::timestamp_client::Client;

/// A program whose output is read by the test, or is not. It is killed when it is dropped.
struct Piped {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Piped {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = child.stdout.take().map(BufReader::new);
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let output = self.output.as_mut().expect("a pipe");
        output.read_line(&mut line).expect("a line");
        line
    }

    fn address(&mut self) -> SocketAddr {
        let line = self.line();
        let address = line.trim_start_matches("Listening on ").trim_end();
        address.parse().expect("an address")
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "{kill}");
    }

    #[track_caller]
    fn ends_within(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it runs on after {patience:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it logged, once it has ended.
    fn log(&mut self) -> String {
        let mut log = String::new();
        let stderr = self.child.stderr.as_mut().expect("a pipe");
        stderr.read_to_string(&mut log).expect("UTF-8");
        log
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A master whose output is held up, as by a terminal after Ctrl-S.
fn held() -> (Piped, Vec<Client>) {
    let mut master = Piped::start(MASTER, &["--listen", "127.0.0.1:0", "--interval", "10ms"]);
    let address = master.address();
    let clients: Vec<_> = (0..50)
        .map(|_| Client::join(address, TimeDelta::zero()))
        .collect();
    // Some 2000 bytes a round fill a pipe of 64 KiB in 33 rounds, in each of which a client is told
    // the time.
    for _ in 0..100 {
        clients[0].hear(SOON).expect("the rounds go on");
    }
    (master, clients)
}

#[test]
fn a_signal_ends_a_master_whose_output_nobody_reads() {
    let (mut master, _clients) = held();
    master.signal("TERM");
    assert_eq!(master.ends_within(STOPPED_WITHIN).code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut master, _clients) = held();
    let first = Instant::now();
    master.signal("TERM");
    // Sooner, it would be an echo of the first one.
    thread::sleep(Duration::from_millis(150));
    master.signal("INT");
    let second = first.elapsed();
    let status = master.ends_within(SOON);
    // On a machine that is very busy, the orderly end may have had its 0.8 s by then.
    if second < Duration::from_millis(700) {
        assert_eq!(status.code(), Some(130), "{status}");
    }
}

#[test]
fn a_master_whose_reader_has_had_enough_ends_in_order() {
    let arguments = ["--listen", "127.0.0.1:0", "--interval", "100ms"];
    let mut master = Piped::start(MASTER, &arguments);
    let follower = Program::follower(master.address(), &[]);
    follower.line("Synchronized time: ");
    // As `head -3` does.
    master.line();
    master.line();
    master.output = None;
    assert_eq!(master.ends_within(SOON).code(), Some(0));
    follower.log_line("it says: the master is stopping");
    let log = master.log();
    for word in ["error", "panicked"] {
        assert!(!log.to_lowercase().contains(word), "{log}");
    }
}

#[test]
fn a_follower_whose_reader_has_had_enough_ends_in_order() {
    let master = Program::master(&["--interval", "100ms"]);
    let address = master.address().to_string();
    let mut follower = Piped::start(FOLLOWER, &[&address]);
    follower.line();
    follower.line();
    follower.output = None;
    assert_eq!(follower.ends_within(SOON).code(), Some(0));
    master.line("it says: the follower is stopping");
    let log = follower.log();
    for word in ["error", "panicked"] {
        assert!(!log.to_lowercase().contains(word), "{log}");
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_stop_the_rounds() {
    let mut command = Command::new(MASTER);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--interval",
        "100ms",
        "--max-followers",
        "1",
    ]);
    command.env("RUST_LOG", "trace");
    command.stderr(Stdio::piped());
    let mut master = command.stdout(Stdio::piped()).spawn().expect("a master");
    // Held open and never read.
    let _log = master.stderr.take();
    let output = BufReader::new(master.stdout.take().expect("a pipe"));
    let mut lines = output.lines().map_while(Result::ok);
    let first = lines.next().expect("a line");
    let address = first.trim_start_matches("Listening on ").to_owned();
    let address: SocketAddr = address.parse().expect("an address");
    let follower = Program::follower(address, &[]);
    assert!(lines.any(|line| line.starts_with("Round 1: ")));
    // Each of these is turned away with a warning; a pipe holds some 600 of those.
    for _ in 0..1500 {
        let _ = TcpStream::connect(address).expect("the master accepts");
    }
    drop(follower);
    // The acceptor too goes on: another follower takes the place of the first.
    Program::follower(address, &[]).line("Synchronized time: ");
    master.kill().expect("a child");
    master.wait().expect("a child");
}

/// The first line of the log of a follower whose stderr is a file, and who is told that another
/// file, or this one, is systemd's journal.
fn logged(to_the_journal: bool) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let [log, other] = ["log", "other"].map(|name| folder.path().join(name));
    let [stderr, other] = [&log, &other].map(|path| File::create(path).expect("a file"));
    let journal = if to_the_journal { &stderr } else { &other };
    let journal = journal.metadata().expect("a file");
    let journal = format!("{}:{}", journal.dev(), journal.ino());
    let (_socket, refuses) = refusing_port();
    let mut child = Command::new(FOLLOWER)
        .arg(refuses.to_string())
        .env("JOURNAL_STREAM", journal)
        .env("RUNTIME_DIRECTORY", folder.path())
        .stderr(stderr)
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + SOON;
    let line = loop {
        let log = fs::read_to_string(&log).expect("a file");
        if let Some((line, _)) = log.split_once('\n') {
            break Some(line.to_owned());
        }
        if Instant::now() > deadline {
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    line.expect("a line")
}

#[test]
fn in_the_journal_no_line_has_a_second_time() {
    let line = logged(true);
    assert!(line.starts_with("[WARN"), "{line}");
    // The variable is inherited by who is started from a unit and logs elsewhere.
    let line = logged(false);
    assert!(line.starts_with("[20"), "{line}");
}
