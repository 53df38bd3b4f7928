//! How wrong a measured offset is, on loopback: both ends read one kernel clock, so the truth is
//! zero and all that is measured is error. Ours, the Python programs and chronyd, one after the
//! other in one run, as real processes:
//!
//! ```text
//! BERKELEY_SEED=FOLDER_OF_SERVER_PY cargo bench --bench accuracy
//! ```
//!
//! What is not installed is left out, and said to be. It takes two and a half minutes, on an idle
//! machine if the figures are to mean anything, and never touches the machine's clock.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The cadence of ours and of chronyd's, whose shortest poll is 2⁻⁴ s: how often threads are
/// woken is most of the error.
const INTERVAL: &str = "62500us";
const CHRONYD_POLL: &str = "minpoll -4 maxpoll -4";

/// How many samples are taken, after so many that only warm up.
const SAMPLES: usize = 300;
const WARM_UP: usize = 10;

/// How long the samples may take: several times what they should.
const PATIENCE: Duration = Duration::from_mins(2);

/// What keys may add to the median, in µs.
const KEYS_COST: f64 = 0.1;

/// How many `client.py` there are, and how long they report: every 5 s, as is fixed in them.
const CLIENTS: u32 = 20;
const REPORTS: Duration = Duration::from_secs(25);

const SERVER_PY: &str = "
import sys
sys.path.insert(0, sys.argv[1])
import server
server.initiate_clock_server(port=int(sys.argv[2]))
";

/// The program itself rather than something like it: its sleeps and its threads are what makes
/// the error, down to how its period of 5 s drifts against the server's. Only its `print` is
/// replaced, by one that reads the clock at once: a stamp of the printed line would add the pipe.
const CLIENT_PY: &str = "
import datetime, sys
sys.path.insert(0, sys.argv[1])
import client

def stamp(*words):
    now = datetime.datetime.now()
    if isinstance(words[-1], datetime.datetime):
        print((words[-1] - now) / datetime.timedelta(microseconds=1))

client.print = stamp
client.initiate_slave_client(port=int(sys.argv[2]))
";

fn main() -> Result<()> {
    println!(
        "{:<22}{:>9}{:>11}{:>17}{:>11}",
        "absolute error in µs", "samples", "median", "95th percentile", "worst"
    );
    let burst = row("burst of 8", ours(&["--dry-run"], "auto")?);
    let keyed = row("burst of 8, keys", keyed(&["--dry-run"])?);
    let steered = row("burst of 8, steering", ours(&[], "auto")?);
    row("steering, keys", self::keyed(&[])?);
    row("single poll", ours(&["--dry-run", "--burst", "1"], "auto")?);
    row("timestamp wire", ours(&["--dry-run"], "timestamp")?);
    ensure!(
        keyed.0 <= burst.0 + KEYS_COST,
        "keys are to cost {KEYS_COST} µs at most; was the machine idle?"
    );
    match python_programs() {
        Ok(seed) => {
            row("server.py, client.py", python(&seed)?);
        }
        Err(reason) => println!("{:<22}left out: {reason}", "server.py, client.py"),
    }
    let Some(program) = installed_chronyd() else {
        println!(
            "{:<22}left out: Debian's `chrony` is not installed",
            "chronyd"
        );
        return Ok(());
    };
    // Even with -x chronyd steers a clock of its own by what it measures, and measures against
    // that: a constant error vanishes from its offsets, as it does from ours without `--dry-run`.
    // With `noselect` it only measures, and its offsets are against the truth. So like is
    // compared with like.
    let measuring = row("chronyd, noselect", chronyd(program, "noselect")?);
    let steering = row("chronyd, steering", chronyd(program, "")?);
    println!(
        "\nThe median of chronyd is {:.1} times that of our burst where both only measure, and \
         {:.1} times where both steer.",
        measuring.0 / burst.0,
        steering.0 / steered.0
    );
    ensure!(
        burst.0 * 3.0 <= measuring.0 && burst.1 < measuring.1,
        "a burst is to be three times as exact as chronyd; was the machine idle?"
    );
    Ok(())
}

/// Prints what came of one kind of measurement; its median and 95th percentile.
fn row(name: &str, mut errors: Vec<f64>) -> (f64, f64) {
    for error in &mut errors {
        *error = error.abs();
    }
    errors.sort_by(f64::total_cmp);
    let part = |percent| errors[(errors.len() - 1) * percent / 100];
    println!(
        "{name:<22}{:>9}{:>11.2}{:>17.2}{:>11.2}",
        errors.len(),
        part(50),
        part(95),
        part(100)
    );
    (part(50), part(95))
}

/// Our master and follower, by the offsets in the master's record.
fn ours(flags: &[&str], wire: &str) -> Result<Vec<f64>> {
    pair(flags, &["--wire", wire])
}

/// The same with keys, made by the programs' own commands.
fn keyed(flags: &[&str]) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (group, node) = (path("group.key"), path("node.key"));
    let commands = format!(
        "'{master}' key new --key-file '{group}' && '{master}' key node db1 --key-file '{group}' | \
         '{follower}' key install --key-file '{node}'",
        master = env!("CARGO_BIN_EXE_berkeley-master"),
        follower = env!("CARGO_BIN_EXE_berkeley-follower"),
    );
    ensure!(
        succeeds(Command::new("sh").args(["-c", &commands])),
        "no keys were made"
    );
    pair(
        &[flags, &["--key-file", &group]].concat(),
        &["--key-file", &node],
    )
}

fn pair(flags: &[&str], follower_flags: &[&str]) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let record = folder.path().join("record.csv");
    let mut master = Command::new(env!("CARGO_BIN_EXE_berkeley-master"));
    master.args(["--listen", "127.0.0.1:0"]).args(flags);
    master.args(["--interval", INTERVAL, "--record"]);
    let mut master = Program::start(master.arg(&record), folder.path().join("master"))?;
    let address = master.says("Listening on ")?;
    let mut follower = Command::new(env!("CARGO_BIN_EXE_berkeley-follower"));
    follower
        .args([&address, "--interval", INTERVAL])
        .args(follower_flags);
    let _follower = Program::start(&mut follower, folder.path().join("follower"))?;
    master.samples(&record, recorded)
}

/// The offset in a line of a master's record, if the line is a follower's.
fn recorded(line: &str) -> Option<f64> {
    let mut columns = line.split(',').skip(2);
    let follower = columns.next()? != "master";
    let _address = columns.next()?;
    let nanoseconds: f64 = columns.next()?.parse().ok()?;
    follower.then_some(nanoseconds / 1e3)
}

/// `server.py` with some `client.py`, which start at moments spread over their period.
fn python(seed: &Path) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let start = |script, name: &str| {
        let mut python = Command::new("python3");
        python.args(["-u", "-c", script]).arg(seed);
        // Nothing is to be left in the folder of the two programs.
        python.env("PYTHONDONTWRITEBYTECODE", "1");
        Program::start(python.arg(port.to_string()), folder.path().join(name))
    };
    let mut server = start(SERVER_PY, "server")?;
    server.says("Clock server started")?;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(start(CLIENT_PY, &format!("client {number}"))?);
        thread::sleep(Duration::from_secs(5) / CLIENTS);
    }
    thread::sleep(REPORTS);
    let mut errors = Vec::new();
    for client in &clients {
        let told = lines(&client.output);
        // At the first, the programs are still importing what they need.
        errors.extend(
            told.lines()
                .skip(1)
                .filter_map(|line| line.parse::<f64>().ok()),
        );
    }
    ensure!(
        !errors.is_empty(),
        "no client.py was told a time:\n{}",
        lines(&server.output)
    );
    Ok(errors)
}

/// The folder of the Python programs, or why they can't run.
fn python_programs() -> Result<PathBuf, &'static str> {
    let seed = std::env::var_os("BERKELEY_SEED").map(PathBuf::from);
    let seed = seed.ok_or("BERKELEY_SEED does not name the folder of the two programs")?;
    if !["server.py", "client.py"]
        .iter()
        .all(|name| seed.join(name).is_file())
    {
        return Err("the folder that BERKELEY_SEED names does not have the two programs");
    }
    if !succeeds(Command::new("python3").args(["-c", "import dateutil"])) {
        return Err("python3 with dateutil (`pip install python-dateutil`) is not installed");
    }
    Ok(seed)
}

/// chronyd and chronyd. It logs what it measures; `option` is one more for its server.
fn chronyd(program: &str, option: &str) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let start = |name: &str, configuration: String| {
        let file = path.join(name).with_extension("conf");
        let pid = path.join(name).with_extension("pid");
        // No socket for commands, neither in the network nor in the file system.
        let common = format!("cmdport 0\nbindcmdaddress /\npidfile {}\n", pid.display());
        fs::write(&file, configuration + &common)?;
        let mut chronyd = Command::new(program);
        // -x: leave the machine's clock alone. -U, -u: run as whoever we are.
        chronyd
            .args(["-x", "-U", "-u", "root", "-d", "-f"])
            .arg(file);
        Program::start(&mut chronyd, path.join(name))
    };
    let _server = start(
        "server",
        format!("port {port}\nbindaddress 127.0.0.1\nallow 127.0.0.1\nlocal stratum 5\n"),
    )?;
    let mut client = start(
        "client",
        format!(
            "server 127.0.0.1 port {port} {CHRONYD_POLL} {option}\nport 0\n\
             logdir {}\nlog measurements\n",
            path.display()
        ),
    )?;
    client.samples(&path.join("measurements.log"), |line| {
        let seconds: f64 = line.split_whitespace().nth(11)?.parse().ok()?;
        Some(seconds * 1e6)
    })
}

/// Debian has it where only root's PATH leads.
fn installed_chronyd() -> Option<&'static str> {
    let places = ["chronyd", "/usr/sbin/chronyd"];
    places
        .into_iter()
        .find(|place| succeeds(Command::new(place).arg("-v")))
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A running program, which is killed when it is dropped.
struct Program {
    child: Child,
    /// The file that it prints to.
    output: PathBuf,
}

impl Program {
    fn start(command: &mut Command, output: PathBuf) -> Result<Self> {
        let file = File::create(&output)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command.spawn();
        let child = child.with_context(|| format!("{command:?} does not start"))?;
        Ok(Self { child, output })
    }

    /// Waits for the program to print a line that begins with `label`; the rest of that line.
    fn says(&mut self, label: &str) -> Result<String> {
        self.wait(&self.output.clone(), |text| {
            let rest = text.lines().find_map(|line| line.strip_prefix(label));
            rest.map(str::to_owned)
        })
    }

    /// Waits for the program to write enough samples to a file.
    fn samples(&mut self, file: &Path, sample: impl Fn(&str) -> Option<f64>) -> Result<Vec<f64>> {
        self.wait(file, |text| {
            let mut samples: Vec<_> = text.lines().filter_map(&sample).collect();
            // A round before the next timestamp came shows the last one again.
            samples.dedup();
            let enough = samples.get(WARM_UP..WARM_UP + SAMPLES)?;
            Some(enough.to_vec())
        })
    }

    fn wait<T>(&mut self, file: &Path, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = wanted(&lines(file)) {
                return Ok(found);
            }
            let said = || lines(&self.output);
            if let Some(status) = self.child.try_wait()? {
                bail!("a program ended ({status}); see what it says:\n{}", said());
            }
            let in_time = Instant::now() < deadline;
            ensure!(
                in_time,
                "not enough came in {PATIENCE:?}; see what it says:\n{}",
                said()
            );
            // Seldom enough not to disturb what is measured.
            thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole lines of a file that grows; none while it does not exist.
fn lines(file: &Path) -> String {
    let mut text = fs::read_to_string(file).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    text
}
