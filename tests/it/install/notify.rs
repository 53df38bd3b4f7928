//! What systemd is told: a socket of the test takes its place.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::support::programs::{Program, SOON};

/// The end of the socket at which systemd listens.
struct Systemd {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(2 * SOON)).expect("a socket");
        Self { socket, folder }
    }

    /// Starts a program as a unit with `WatchdogSec=600ms` is.
    fn start(&self, program: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("WATCHDOG_USEC", "600000");
        Program::start(&mut command)
    }

    /// The next message.
    fn told(&self) -> String {
        let mut message = [0; 1024];
        let length = self.socket.recv(&mut message).expect("a message");
        String::from_utf8(message[..length].to_vec()).expect("text")
    }

    /// Waits for a sign of life whose status line contains `part`.
    fn is_told(&self, part: &str) {
        let deadline = Instant::now() + SOON;
        loop {
            let told = self.told();
            assert!(told.starts_with("WATCHDOG=1\nSTATUS="), "{told}");
            if told.contains(part) {
                return;
            }
            assert!(Instant::now() < deadline, "{told}, and not {part}");
        }
    }
}

const MASTER: &str = env!("CARGO_BIN_EXE_berkeley-master");
const FOLLOWER: &str = env!("CARGO_BIN_EXE_berkeley-follower");

#[test]
fn a_master_is_ready_at_once_and_a_follower_with_its_first_correction() {
    let (leads, follows) = (Systemd::new(), Systemd::new());
    let arguments = ["--listen", "127.0.0.1:0", "--interval", "200ms"];
    let master = leads.start(MASTER, &arguments);
    let address = master.address().to_string();
    assert_eq!(
        leads.told(),
        "READY=1\nSTATUS=leads, no round yet, error unknown\n"
    );
    let follower = follows.start(FOLLOWER, &[&address]);
    let ready = follows.told();
    assert!(ready.starts_with("READY=1\nSTATUS="), "{ready}");
    follower.line("Synchronized time: ");
    leads.is_told("leads, 2 of 2 agree, ± ");
    follows.is_told(&format!("follows {address}, ± "));
    drop((follower, master));
}
