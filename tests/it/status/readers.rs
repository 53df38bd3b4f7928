//! Readers that are slow, hostile, or of another user.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Machine, get, site, text};
use crate::support::programs::SOON;
use crate::tree::wait;

const INTERVAL: Duration = Duration::from_millis(200);

/// So many hostile connections, of each kind a quarter.
const HOSTILE: usize = 1000;

/// A connection that does no good, kept open: over HTTP, or at the socket.
type Reader = (Option<TcpStream>, Option<UnixStream>);

/// Opens the next hostile connection: garbage, silence, a request of a byte now and then, or a
/// reader at the socket that does not read.
fn hostile(number: usize, http: SocketAddr, socket: &Path) -> Option<Reader> {
    if number % 4 == 3 {
        // Its queue may be full of others of our kind.
        let local = UnixStream::connect(socket).ok()?;
        return Some((None, Some(local)));
    }
    let mut stream = TcpStream::connect(http).ok()?;
    let said: &[u8] = match number % 4 {
        0 => b"\x16\x03\x01\x00\xff\x00garbage \x1b[2J\r\n\r\n",
        1 => b"",
        _ => b"G",
    };
    let _ = stream.write_all(said);
    Some((Some(stream), None))
}

fn drip((stream, _): &mut Reader) {
    if let Some(stream) = stream {
        // It may have been sent away.
        let _ = stream.write(b"x");
    }
}

/// Every follower gave its time in each of the last rounds, and no poll of its last burst is
/// missing.
#[track_caller]
fn assert_nothing_lost(status: &Value) {
    for clock in status["clocks"].as_array().expect("clocks") {
        let reach = clock["reach"].as_str().expect("text");
        assert!(!reach.contains('0'), "{clock}");
        let delays = clock["burst"]["delays_ns"].as_array();
        assert!(delays.is_none_or(|delays| delays.len() == 8), "{clock}");
    }
}

fn rounds(status: &Value) -> u64 {
    status["counters"]["rounds_held"]
        .as_u64()
        .expect("a number")
}

#[test]
fn a_thousand_hostile_readers_cost_no_round_and_no_poll() {
    let machine = Machine::new();
    let (master, address) = machine.master(&["--http", "127.0.0.1:0", "--min-followers", "3"]);
    let http = site(&master);
    let socket = machine.socket("berkeley-master", &master);
    let _followers = ["a", "b", "c"].map(|name| machine.follower(address, &["--name", name]));
    // The opening is over, and rounds follow each other at the interval.
    let before = machine.status_when("berkeley-master", |status| rounds(status) >= 4);
    let began = Instant::now();
    let mut readers = Vec::new();
    let mut asked = 0;
    while began.elapsed() < 10 * INTERVAL || readers.len() < HOSTILE * 9 / 10 {
        if readers.len() < HOSTILE {
            readers.extend(hostile(readers.len(), http, &socket));
        } else {
            readers.iter_mut().step_by(50).for_each(drip);
        }
        if began.elapsed() > asked * INTERVAL {
            asked += 1;
            // Who reads is served all the while, at both doors; who finds all places taken asks again.
            assert_nothing_lost(&machine.status_when("berkeley-master", |_| true));
            assert!(get(http, "/metrics").contains("berkeley_rounds_total"));
        }
        assert!(began.elapsed() < 3 * SOON, "{} readers", readers.len());
    }
    let status = machine.status_when("berkeley-master", |_| true);
    assert_nothing_lost(&status);
    let due = began.elapsed().as_millis() / INTERVAL.as_millis();
    let held = rounds(&status) - rounds(&before);
    assert!(
        u128::from(held) + 1 >= due,
        "{held} rounds where {due} were due"
    );
    // No more threads than there are places, but for those that have just given theirs up.
    wait("there are no more threads than places", || {
        let threads = master.threads();
        let busy = |name: &str| threads.iter().filter(|thread| *thread == name).count();
        busy("http") <= 33 && busy("status") <= 33
    });
    drop(readers);
}

#[test]
fn a_request_that_comes_a_byte_at_a_time_has_an_end() {
    let machine = Machine::new();
    let (master, _) = machine.master(&["--http", "127.0.0.1:0"]);
    let mut stream = TcpStream::connect(site(&master)).expect("a connection");
    let pause = Duration::from_millis(500);
    stream.set_read_timeout(Some(pause)).expect("a socket");
    let began = Instant::now();
    let mut answer = [0; 16];
    let came = loop {
        assert!(began.elapsed() < 3 * SOON, "it is listened to for ever");
        let _ = stream.write_all(b"G");
        match stream.read(&mut answer) {
            Ok(came) => break came,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break 0,
        }
    };
    let answer = &answer[..came];
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
        "{answer:?}"
    );
    assert!(
        began.elapsed() > Duration::from_secs(3),
        "a slow link has no time"
    );
}

#[test]
fn a_page_is_read_and_nothing_else_can_be_done() {
    let machine = Machine::new();
    let (master, address) = machine.master(&["--http", "127.0.0.1:0", "--metrics-clocks", "2"]);
    let http = site(&master);
    let _followers = ["a", "b", "c"].map(|name| machine.follower(address, &["--name", name]));
    machine.status_when("berkeley-master", |status| status["round"]["clocks"] == 4);
    let page = get(http, "/");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(
        page.contains("Content-Security-Policy: default-src 'none'"),
        "{page}"
    );
    assert!(page.len() < 61_000, "{} bytes", page.len());
    let body = |answer: &str| answer.split_once("\r\n\r\n").expect("a body").1.to_owned();
    let told: Value = serde_json::from_str(&body(&get(http, "/status.json"))).expect("JSON");
    let asked = machine.status("berkeley-master");
    for field in ["version", "program", "listen", "interval_s"] {
        assert_eq!(told[field], asked[field]);
    }
    let metrics = body(&get(http, "/metrics"));
    for part in [
        "berkeley_followers 3.0",
        "# TYPE berkeley_rounds_total counter",
        "berkeley_connections_total{outcome=\"accepted\"} 3",
        "berkeley_clock_offset_seconds{clock=\"master\"}",
    ] {
        assert!(metrics.contains(part), "no {part} in\n{metrics}");
    }
    assert_eq!(metrics.matches("berkeley_clock_offset_seconds{").count(), 2);
    for (path, answer) in [
        ("/nothing", "HTTP/1.1 404"),
        ("/../etc/passwd", "HTTP/1.1 404"),
    ] {
        assert!(get(http, path).starts_with(answer));
    }
    let mut stream = TcpStream::connect(http).expect("a connection");
    stream
        .write_all(b"POST / HTTP/1.1\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("Allow: GET, HEAD"));
}

#[test]
#[ignore = "needs promtool, of Debian's prometheus"]
fn prometheus_accepts_the_metrics() {
    let machine = Machine::new();
    let (master, address) = machine.master(&["--http", "127.0.0.1:0"]);
    let follower = machine.follower(address, &["--http", "127.0.0.1:0"]);
    machine.status_when("berkeley-master", |status| rounds(status) >= 1);
    for program in [&master, &follower] {
        let metrics = get(site(program), "/metrics");
        let (_, metrics) = metrics.split_once("\r\n\r\n").expect("a body");
        let file = machine.folder().join("metrics");
        fs::write(&file, metrics).expect("a file");
        let checked = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(fs::File::open(&file).expect("a file"))
            .output()
            .expect("promtool");
        let said = [checked.stdout, checked.stderr].concat();
        assert!(
            checked.status.success() && said.is_empty(),
            "{}",
            text(&said)
        );
    }
}

#[test]
#[ignore = "needs root, and setpriv, to be another user"]
fn another_user_of_the_machine_may_ask() {
    let machine = Machine::new();
    fs::set_permissions(machine.folder(), Permissions::from_mode(0o755)).expect("our folder");
    let (master, _) = machine.master(&["--name", "ship"]);
    machine.status_when("berkeley-master", |_| true);
    // The program is copied to where that user may start it.
    let program = machine.folder().join("asks");
    fs::copy(env!("CARGO_BIN_EXE_berkeley-master"), &program).expect("a copy");
    let asked = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(["status", "--socket"])
        .arg(machine.socket("berkeley-master", &master))
        .output()
        .expect("setpriv");
    assert!(asked.status.success(), "{}", text(&asked.stderr));
    assert!(text(&asked.stdout).contains("on ship, process"));
}
