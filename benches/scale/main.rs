//! What followers cost their master: its memory, its processor time, and how exact it stays, with
//! 1 to 10,000 of them on this machine, over loopback; beside it `server.py`, in the same run:
//!
//! ```text
//! BERKELEY_SEED=FOLDER_OF_SERVER_PY cargo bench --bench scale
//! ```
//!
//! The master is the real program in a process of its own. The followers are sockets of this one:
//! ten thousand real ones would be ten thousand processes on the same cores, and what was measured
//! would be theirs. It takes eight minutes, on an idle machine if the figures are to mean anything,
//! ends with an error when a limit is broken, and never touches the machine's clock. Other numbers
//! of followers may follow a `--`; most limits are on 1,000 and 10,000.

mod asked;
mod load;
mod program;
mod truth;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::keys;
use berkeley::internals::keys::group::GroupKeys;
use berkeley::internals::keys::secret::Secret;
use chrono::{DateTime, Utc};

use crate::asked::{Asked, Questions};
use crate::load::{Load, Manner, RoundSpan};
use crate::program::{Program, Usage};

/// From one round to the next: the programs' own, none is told another.
pub const INTERVAL: Duration = berkeley::DEFAULT_INTERVAL;

/// The default of the master: how often it polls a follower in a round.
const BURST: u64 = berkeley::DEFAULT_BURST as u64;

/// How many followers, and how many rounds are measured: a minute of them.
const SIZES: [usize; 4] = [1, 100, 1_000, 10_000];
const ROUNDS: u64 = 12;

/// How much more of the processor a master with keys may take.
const MOST_FOR_KEYS: f64 = 1.25;
/// In how many further rounds it is asked how it is, all the while.
const ASKED_ROUNDS: u64 = 3;

/// `server.py` with more is another story: its threads start too slowly to be ready in time.
const MOST_FOR_PYTHON: usize = 1_000;

/// The first rounds come sooner after one another, until their pauses are this part of an interval.
const REGULAR: f64 = 0.99;

/// Where in an interval the master has no bursts to take and no corrections to send: the moment
/// to look at it.
const QUIET: f64 = 0.9;

/// What the process needs beyond its followers' sockets.
const SPARE_DESCRIPTORS: u64 = 100;

/// How many may connect to `server.py` at a time. It lets ten wait: one more waits for a second or
/// longer, and one that joins while it averages kills the thread that does.
const WAITING: usize = 8;

const SERVER_PY: &str = "
import sys
sys.path.insert(0, sys.argv[1])
import server
server.initiate_clock_server(port=int(sys.argv[2]))
";

/// A look at a program under load, in a quiet moment.
struct Look {
    at: Instant,
    time: DateTime<Utc>,
    usage: Usage,
    messages: u64,
    rounds: usize,
}

impl Look {
    fn at(program: &mut Program, load: &Load) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            time: WallClock.read(),
            usage: program.usage()?,
            messages: load.messages(),
            rounds: load.rounds().len(),
        })
    }
}

/// What one master and its followers came to.
struct Measured {
    followers: usize,
    join: Duration,
    /// How often a connection was lost before it was greeted.
    retries: usize,
    /// By how much the master grew, in bytes.
    memory: u64,
    processor: Duration,
    messages: u64,
    /// What the followers saw of each round; of `server.py`'s there is nothing to see.
    rounds: Vec<RoundSpan>,
    /// Polls that were not asked, as a burst was cut short or not begun.
    polls_lost: u64,
    /// Rounds in which a follower was not corrected, over all followers.
    corrections_lost: u64,
    /// How wrong the offsets were that the master found, in µs, without sign and in order.
    errors: Vec<f64>,
    /// What came of asking it how it is.
    asked: Option<Asked>,
}

impl Measured {
    fn memory_each(&self) -> f64 {
        self.memory as f64 / 1024.0 / self.followers as f64
    }

    /// The part of one core that the master takes.
    fn processor_part(&self) -> f64 {
        self.processor.as_secs_f64() / (INTERVAL * ROUNDS as u32).as_secs_f64()
    }

    fn microseconds_a_message(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / self.messages as f64
    }

    fn error(&self, percent: usize) -> f64 {
        let last = self.errors.len().saturating_sub(1);
        self.errors
            .get(last * percent / 100)
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// The median of a round's span.
    fn round(&self, span: impl Fn(&RoundSpan) -> Duration) -> Option<Duration> {
        let mut spans: Vec<_> = self.rounds.iter().map(span).collect();
        spans.sort_unstable();
        spans.get(spans.len() / 2).copied()
    }

    fn dispatch(&self) -> Duration {
        self.round(|round| round.last_correction - round.first_correction)
            .unwrap_or_default()
    }

    fn row_of_retries(&self) {
        if self.retries > 0 {
            let (followers, retries) = (self.followers, self.retries);
            println!(
                "{:<10}{followers:>9} connections lost before they were greeted: {retries}",
                ""
            );
        }
    }

    fn row_of_answers(&self) {
        let Some(asked) = &self.asked else { return };
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{:<10}{:>9} `status --json`: {:.1} ms, {:.1} ms at most of {}; {} KiB; {} polls lost",
            "",
            self.followers,
            milliseconds(asked.times[asked.times.len() / 2]),
            milliseconds(asked.longest()),
            asked.times.len(),
            asked.length / 1024,
            asked.polls_lost
        );
    }

    fn row(&self, name: &str) {
        let shown = |span: Option<Duration>, unit: f64| {
            span.map_or("-".to_owned(), |span| {
                format!("{:.2}", span.as_secs_f64() * unit)
            })
        };
        // Too little to be counted is less than a tick.
        let processor = |unit: f64| match self.processor {
            Duration::ZERO => format!("<{:.2}", program::TICK.as_secs_f64() * unit),
            processor => format!("{:.2}", processor.as_secs_f64() * unit),
        };
        println!(
            "{name:<10}{:>9}{:>8.2}{:>10.1}{:>11}{:>8}{:>11}{:>9}{:>9}{:>7}{:>9.1}{:>9.1}",
            self.followers,
            self.join.as_secs_f64(),
            self.memory_each(),
            processor(1e3 / ROUNDS as f64),
            processor(100.0 / (INTERVAL * ROUNDS as u32).as_secs_f64()),
            processor(1e6 / self.messages as f64),
            shown(
                self.round(|round| round.last_correction - round.first_poll),
                1.0
            ),
            shown(
                self.round(|round| round.last_correction - round.first_correction),
                1e3
            ),
            self.polls_lost,
            self.error(50),
            self.error(95),
        );
    }
}

fn main() -> Result<()> {
    // Cargo tells every benchmark that it is one.
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let mut sizes: Vec<usize> = words
        .map(|word| {
            word.parse()
                .with_context(|| format!("'{word}' is no number of followers"))
        })
        .collect::<Result<_>>()?;
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let most = sizes.iter().copied().max().unwrap_or_default() as u64;
    program::allow_descriptors(most + SPARE_DESCRIPTORS)?;
    println!(
        "{:<10}{:>9}{:>8}{:>10}{:>11}{:>8}{:>11}{:>9}{:>9}{:>7}{:>18}\n\
         {:<10}{:>9}{:>8}{:>10}{:>11}{:>8}{:>11}{:>9}{:>9}{:>7}{:>9}{:>9}",
        "",
        "",
        "joined",
        "memory",
        "processor",
        "",
        "processor",
        "round",
        "dispatch",
        "polls",
        "error in µs",
        "",
        "followers",
        "in s",
        "KiB each",
        "ms a round",
        "% of 1",
        "µs/message",
        "in s",
        "in ms",
        "lost",
        "median",
        "95 %"
    );
    let mut ours = Vec::new();
    for &followers in &sizes {
        let measured = berkeley(followers, Manner::Polled)
            .with_context(|| format!("berkeley-master with {followers} followers"))?;
        measured.row("berkeley");
        measured.row_of_retries();
        measured.row_of_answers();
        ours.push(measured);
    }
    let mut keyed = Vec::new();
    for &followers in &sizes {
        let measured = berkeley(followers, Manner::Keyed)
            .with_context(|| format!("berkeley-master with {followers} followers with keys"))?;
        measured.row("with keys");
        measured.row_of_retries();
        keyed.push(measured);
    }
    let mut theirs = Vec::new();
    match python_program() {
        Ok(seed) => {
            for &followers in sizes.iter().filter(|&&size| size <= MOST_FOR_PYTHON) {
                let measured = python(&seed, followers)
                    .with_context(|| format!("server.py with {followers} followers"))?;
                measured.row("server.py");
                theirs.push(measured);
            }
        }
        Err(reason) => println!("{:<10}left out: {reason}", "server.py"),
    }
    let mut broken = broken_limits(&ours, &theirs);
    broken.extend(cost_of_keys(&ours, &keyed));
    ensure!(
        broken.is_empty(),
        "limits that do not hold (was the machine idle?):\n{}",
        broken.join("\n")
    );
    Ok(())
}

/// What the master promises, and where it does not keep it.
fn broken_limits(ours: &[Measured], theirs: &[Measured]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut limit = |followers: usize, what: &str, found: f64, most: f64| {
        if found > most {
            broken.push(format!(
                "{followers} followers: {what}: {found:.2}, more than {most:.2}"
            ));
        }
    };
    let with = |measured: &[Measured], followers| {
        measured
            .iter()
            .position(|measured| measured.followers == followers)
    };
    for measured in ours {
        let lost = measured.corrections_lost as f64;
        limit(measured.followers, "corrections lost", lost, 0.0);
        if let Some(asked) = &measured.asked {
            let longest = asked.longest().as_secs_f64() * 1e3;
            limit(measured.followers, "ms for a status", longest, 200.0);
            let lost = asked.polls_lost as f64;
            limit(measured.followers, "polls lost while asked", lost, 0.0);
        }
    }
    let (Some(thousand), Some(most)) = (with(ours, 1_000), with(ours, 10_000)) else {
        return broken;
    };
    let (thousand, most) = (&ours[thousand], &ours[most]);
    limit(10_000, "s to join", most.join.as_secs_f64(), 10.0);
    limit(10_000, "polls lost", most.polls_lost as f64, 0.0);
    limit(10_000, "KiB of memory each", most.memory_each(), 16.0);
    limit(10_000, "% of a core", most.processor_part() * 100.0, 60.0);
    limit(10_000, "µs of error, median", most.error(50), 50.0);
    limit(1_000, "µs of error, median", thousand.error(50), 15.0);
    if let Some(python) = with(theirs, 1_000) {
        let python = &theirs[python];
        let half = python.memory_each() / 2.0;
        limit(1_000, "KiB of memory each", thousand.memory_each(), half);
        let half = python.microseconds_a_message() / 2.0;
        let found = thousand.microseconds_a_message();
        limit(1_000, "µs of processor a message", found, half);
    }
    let each =
        |measured: &Measured| measured.dispatch().as_secs_f64() * 1e6 / measured.followers as f64;
    let double = each(thousand) * 2.0;
    limit(10_000, "µs of dispatch each", each(most), double);
    broken
}

/// What keys may cost, and where they cost more.
fn cost_of_keys(without: &[Measured], with: &[Measured]) -> Vec<String> {
    let mut broken = Vec::new();
    for (without, with) in without.iter().zip(with) {
        let followers = with.followers;
        let more = with.processor.as_secs_f64() / without.processor.as_secs_f64();
        // Less than a thousand take too little to be compared.
        if followers >= 1_000 && more > MOST_FOR_KEYS {
            broken.push(format!(
                "{followers} followers: {more:.2} times the processor time"
            ));
        }
        if with.join > Duration::from_secs(10) {
            broken.push(format!(
                "{followers} followers with keys: {:?} to join",
                with.join
            ));
        }
    }
    broken
}

/// Our master, with keys or without.
fn berkeley(followers: usize, manner: Manner) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let record = folder.path().join("record.csv");
    let program = env!("CARGO_BIN_EXE_berkeley-master");
    let mut master = Command::new(program);
    master.env("RUNTIME_DIRECTORY", folder.path());
    master.args(["--listen", "127.0.0.1:0", "--record"]);
    master.arg(&record);
    let group = GroupKeys::new(Secret::random()?);
    if manner == Manner::Keyed {
        let path = folder.path().join("group.key");
        keys::file::create(&path, &group.text())?;
        master.arg("--key-file").arg(path);
    }
    let mut master = Program::start(&mut master, folder.path().join("master"))?;
    let address = master.says("Listening on ")?.parse()?;
    let before = master.usage()?;

    let mut load = match manner {
        Manner::Keyed => Load::keyed(group, address)?,
        manner => Load::new(manner, address)?,
    };
    // All at once, as after a power cut.
    let began = Instant::now();
    for _ in 0..followers {
        load.connect()?;
    }
    load.run_until(|load| load.joined() == followers)?;
    let join = began.elapsed();

    // To the quiet moment of an interval that all took part in, when the first rounds are over,
    // which come sooner after one another.
    let first = load.rounds().len();
    load.run_until(|load| {
        let rounds = &load.rounds()[first..];
        let pause = |pair: &[RoundSpan]| pair[1].first_correction - pair[0].first_correction;
        let last = rounds.windows(2).next_back().map(pause);
        last.is_some_and(|pause| pause >= INTERVAL.mul_f64(REGULAR))
    })?;
    let round = load.rounds().last().context("no round was seen")?;
    load.run_for(round.first_correction + INTERVAL.mul_f64(QUIET))?;
    let start = Look::at(&mut master, &load)?;
    load.run_for(start.at + INTERVAL * ROUNDS as u32)?;
    let end = Look::at(&mut master, &load)?;

    let rounds = load.rounds()[start.rounds..].to_vec();
    let found = truth::compare(
        &fs::read_to_string(&record)?,
        &load,
        &(start.time..end.time),
    )?;
    ensure!(
        found.rounds == ROUNDS && rounds.len() as u64 == ROUNDS,
        "{} rounds recorded and {} seen, where {ROUNDS} were to be",
        found.rounds,
        rounds.len()
    );
    let questions = Questions::begin(folder.path())?;
    load.run_for(end.at + INTERVAL * ASKED_ROUNDS as u32)?;
    let mut asked = questions.end()?;
    let times = end.time..WallClock.read();
    let meanwhile = truth::compare(&fs::read_to_string(&record)?, &load, &times)?;
    let expected = followers as u64 * ASKED_ROUNDS * BURST;
    asked.polls_lost = expected.saturating_sub(meanwhile.polls);
    let expected = followers as u64 * ROUNDS;
    Ok(Measured {
        followers,
        join,
        retries: load.retries(),
        memory: end.usage.memory.saturating_sub(before.memory),
        processor: end.usage.processor.saturating_sub(start.usage.processor),
        messages: end.messages - start.messages,
        rounds,
        polls_lost: (expected * BURST).saturating_sub(found.polls),
        corrections_lost: expected.saturating_sub(found.errors.len() as u64),
        errors: found.errors,
        asked: Some(asked),
    })
}

/// `server.py`. Its clients don't know what it measures; how wrong is what it tells them is the
/// error, as all its clocks are right.
fn python(seed: &Path, followers: usize) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let port = program::free_port()?;
    let mut server = Command::new("python3");
    server.args(["-u", "-c", SERVER_PY]).arg(seed);
    // Nothing is to be left in the folder of the program.
    server.env("PYTHONDONTWRITEBYTECODE", "1");
    let mut server = Program::start(server.arg(port.to_string()), folder.path().join("server"))?;
    server.says("Clock server started")?;
    let before = server.usage()?;

    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let mut load = Load::new(Manner::Reporting, address)?;
    let began = Instant::now();
    let joined = |server: &Program| server.output().matches("Client connected").count();
    for number in 0..followers {
        if number % WAITING == 0 {
            load.run_until(|_| joined(&server) == number)?;
        }
        load.connect()?;
    }
    load.run_until(|_| joined(&server) == followers)?;
    let join = began.elapsed();

    load.run_until(|load| load.corrections() >= followers as u64)?;
    load.run_for(Instant::now() + INTERVAL.mul_f64(0.5))?;
    let start = Look::at(&mut server, &load)?;
    load.run_for(start.at + INTERVAL * ROUNDS as u32)?;
    let end = Look::at(&mut server, &load)?;
    let errors = load.told_between(&(start.time..end.time));
    ensure!(
        !errors.is_empty(),
        "nobody was told a time:\n{}",
        server.output()
    );
    Ok(Measured {
        followers,
        join,
        retries: load.retries(),
        memory: end.usage.memory.saturating_sub(before.memory),
        processor: end.usage.processor.saturating_sub(start.usage.processor),
        messages: end.messages - start.messages,
        rounds: Vec::new(),
        polls_lost: 0,
        corrections_lost: 0,
        errors,
        asked: None,
    })
}

/// The folder of `server.py`, or why it can't run.
fn python_program() -> Result<PathBuf, &'static str> {
    let seed = std::env::var_os("BERKELEY_SEED").map(PathBuf::from);
    let seed = seed.ok_or("BERKELEY_SEED does not name the folder of server.py")?;
    if !seed.join("server.py").is_file() {
        return Err("the folder that BERKELEY_SEED names does not have it");
    }
    let mut python = Command::new("python3");
    python.args(["-c", "import dateutil"]);
    let quiet = python.stdout(Stdio::null()).stderr(Stdio::null());
    if !quiet.status().is_ok_and(|status| status.success()) {
        return Err("python3 with dateutil (`pip install python-dateutil`) is not installed");
    }
    Ok(seed)
}
