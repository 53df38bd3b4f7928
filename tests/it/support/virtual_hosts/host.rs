//! A virtual host: its console, what is typed there and what comes back.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::Network;

/// How long anything may take that should happen at once.
const SOON: Duration = Duration::from_secs(20);

/// A kernel may overlook what is typed until more is typed: once in some thousand times.
const OVERLOOKED: Duration = Duration::from_secs(2);

/// How often a clock is asked for its time; the quickest answer counts.
const QUESTIONS: usize = 40;

/// What an answer on the console begins with.
const ANSWER: &str = "= ";

/// What a reading of the processor's counter and the system's clock begins with.
const READING: &str = "@ ";

/// Tells the time of the system's clock. The shell knows it without starting a program.
pub(crate) const TELL_TIME: &str = "echo \"= $EPOCHREALTIME\"";

/// A line on a console.
struct Line {
    text: String,
    read: Instant,
}

/// A User-mode Linux kernel.
pub(crate) struct Host {
    kernel: Child,
    number: usize,
    keyboard: RefCell<ChildStdin>,
    answers: Receiver<Line>,
    output: Receiver<Line>,
    /// What counter.c told, see [`Host::readings`].
    readings: Arc<Mutex<Vec<String>>>,
    /// All that was shown, for whoever has to find out why a test failed.
    transcript: Arc<Mutex<String>>,
}

impl Host {
    /// Boots the host of this number, from 1, which its address ends with.
    pub(super) fn start(network: &Network, number: usize) -> Self {
        let init = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/support/virtual_hosts/init.sh"
        );
        let mut kernel = network
            .command("linux.uml")
            .env("LD_PRELOAD", network.suspend())
            .args(["mem=128M", "quiet", "con=null", "con0=fd:0,fd:1"])
            .arg(format!("uml_dir={}/", network.folder()))
            .arg(format!("umid={number}"))
            .arg(format!("vec0:transport=raw,ifname=host{number},depth=128"))
            .args(["rootfstype=hostfs", "root=/dev/root", "ro"])
            .args(["init=/bin/bash", "--", init])
            .arg(format!("10.0.0.{number}/24"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nsenter, of util-linux");
        let keyboard = RefCell::new(kernel.stdin.take().expect("a pipe"));
        let screen = kernel.stdout.take().expect("a pipe");
        let transcript = Arc::new(Mutex::new(format!("Host {number}\n")));
        let readings = Arc::<Mutex<Vec<String>>>::default();
        let (answers, output) = follow(screen, &transcript, &readings);
        Self {
            kernel,
            number,
            keyboard,
            answers,
            output,
            readings,
            transcript,
        }
    }

    #[track_caller]
    pub(super) fn is_ready(&self) {
        self.line("ready");
    }

    /// Types a command. Whoever wants it in the background ends it with `&`.
    pub(crate) fn run(&self, command: &str) {
        let mut keyboard = self.keyboard.borrow_mut();
        writeln!(keyboard, "{command}").expect("a keyboard");
    }

    /// What a shell makes of some words; a command's output, say.
    #[track_caller]
    pub(crate) fn ask(&self, words: &str) -> String {
        self.answer(&format!("echo \"{ANSWER}{words}\"")).text
    }

    #[track_caller]
    fn answer(&self, command: &str) -> Line {
        self.run(command);
        let asked = Instant::now();
        while asked.elapsed() < SOON {
            if let Ok(answer) = self.answers.recv_timeout(OVERLOOKED) {
                return answer;
            }
            self.run("");
        }
        panic!("no answer to {command:?}");
    }

    /// Suspends the host: its programs, its oscillator and its network card stand still.
    pub(crate) fn suspend(&self) {
        self.run("echo mem > /sys/power/state; echo awake");
    }

    /// Wakes the host, which has slept until now.
    #[track_caller]
    pub(crate) fn wake(&self, network: &Network) {
        let slept = self.output.try_iter().all(|line| line.text != "awake");
        assert!(slept, "it was not suspended");
        network.signal(self.number, "USR1");
        self.line("awake");
    }

    /// Forgets the lines that were not waited for.
    pub(crate) fn forget_lines(&self) {
        self.lines();
    }

    /// The lines that nobody has waited for, asked for or forgotten yet.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.output.try_iter().map(|line| line.text).collect()
    }

    /// Waits for the next line that contains `part`.
    #[track_caller]
    pub(crate) fn line(&self, part: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(line) if line.text.contains(part) => return line.text,
                Ok(_) => {}
                Err(end) => panic!("no line with {part:?} came: {end}"),
            }
        }
    }

    /// What counter.c has told there until now.
    pub(crate) fn readings(&self) -> Vec<String> {
        self.readings.lock().expect("readings").clone()
    }

    /// All that was shown until now.
    pub(crate) fn transcript(&self) -> String {
        self.transcript.lock().expect("a transcript").clone()
    }

    /// Asks once what the clock shows: that, ran back to `since`, and how long the answer took.
    fn clock(&self, tell_time: &str, since: Instant) -> (Duration, DateTime<Utc>) {
        let asked = Instant::now();
        let answer = self.answer(tell_time);
        let took = answer.read - asked;
        let shown = NaiveDateTime::parse_from_str(&answer.text, "%s%.f").expect("a time");
        let elapsed = asked + took / 2 - since;
        (took, shown.and_utc() - elapsed)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.transcript());
        }
        // What it has started ends with the network.
        let _ = self.kernel.kill();
        let _ = self.kernel.wait();
    }
}

/// What these hosts' clocks would have shown at one moment, `since`, had they run like ours from
/// then on. They are asked by turns, so that they are compared at the same time, too.
///
/// An answer takes 0.2 ms, and of that as long with one host as with another.
#[track_caller]
pub(crate) fn clocks<const HOSTS: usize>(
    hosts: &[Host; HOSTS],
    since: Instant,
) -> [DateTime<Utc>; HOSTS] {
    let hosts: Vec<_> = hosts.iter().collect();
    let clocks = clocks_told_by(&hosts, TELL_TIME, since);
    clocks.try_into().expect("a clock for each host")
}

/// The same of some hosts, and of the clocks that a command there tells the time of.
#[track_caller]
pub(crate) fn clocks_told_by(
    hosts: &[&Host],
    tell_time: &str,
    since: Instant,
) -> Vec<DateTime<Utc>> {
    let ask = |host: &&Host| host.clock(tell_time, since);
    let mut quickest: Vec<_> = hosts.iter().map(ask).collect();
    for _ in 1..QUESTIONS {
        for (best, host) in quickest.iter_mut().zip(hosts) {
            *best = (*best).min(ask(host));
        }
    }
    quickest.into_iter().map(|(_, shown)| shown).collect()
}

/// Reads a console's lines as they come: answers, and all others.
fn follow(
    screen: ChildStdout,
    transcript: &Arc<Mutex<String>>,
    readings: &Arc<Mutex<Vec<String>>>,
) -> (Receiver<Line>, Receiver<Line>) {
    let (answers, answered) = mpsc::channel();
    let (lines, read) = mpsc::channel();
    let (transcript, readings) = (Arc::clone(transcript), Arc::clone(readings));
    let reader = move || {
        for text in BufReader::new(screen).lines().map_while(Result::ok) {
            let read = Instant::now();
            // Nobody may be interested any more.
            let _ = if let Some(text) = text.strip_prefix(ANSWER) {
                let text = text.to_owned();
                answers.send(Line { text, read }).is_ok()
            } else if let Some(reading) = text.strip_prefix(READING) {
                readings.lock().expect("readings").push(reading.to_owned());
                true
            } else {
                let mut transcript = transcript.lock().expect("a transcript");
                transcript.push_str(&text);
                transcript.push('\n');
                lines.send(Line { text, read }).is_ok()
            };
        }
    };
    let thread = thread::Builder::new().name("screen".to_owned());
    thread.spawn(reader).expect("a thread");
    (answered, read)
}
