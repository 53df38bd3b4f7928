//! Running programs are asked how they are: at their sockets, over HTTP, on the page.

mod page;
mod questions;
mod readers;
mod tree;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::programs::{Program, SOON};

/// A runtime folder of a test's own, and the programs that have their sockets in it.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let path = match program {
            "berkeley-master" => env!("CARGO_BIN_EXE_berkeley-master"),
            _ => env!("CARGO_BIN_EXE_berkeley-follower"),
        };
        let mut command = Command::new(path);
        command.args(arguments);
        command.env("RUNTIME_DIRECTORY", self.folder());
        command
    }

    fn start(&self, program: &str, arguments: &[&str]) -> Program {
        Program::start(&mut self.command(program, arguments))
    }

    /// A master on a free port, and where.
    fn master(&self, arguments: &[&str]) -> (Program, SocketAddr) {
        let listen = ["--listen", "127.0.0.1:0", "--interval", "200ms"];
        let master = self.start("berkeley-master", &[&listen, arguments].concat());
        let address = master.address();
        (master, address)
    }

    fn follower(&self, master: SocketAddr, arguments: &[&str]) -> Program {
        let master = master.to_string();
        let arguments = [&[master.as_str()], arguments].concat();
        self.start("berkeley-follower", &arguments)
    }

    /// What a subcommand comes to.
    fn ask(&self, program: &str, arguments: &[&str]) -> Output {
        let output = self.command(program, arguments).output();
        output.expect("a program that starts")
    }

    /// The socket of a program.
    fn socket(&self, name: &str, program: &Program) -> PathBuf {
        self.folder().join(format!("{name}-{}.sock", program.id()))
    }

    /// The document of the program with this name, of which one runs here.
    #[track_caller]
    fn status(&self, program: &str) -> Value {
        let status = self.try_status(program);
        status.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, or why there is none.
    fn try_status(&self, program: &str) -> Result<Value, String> {
        let output = self.ask(program, &["status", "--json"]);
        if !output.status.success() {
            return Err(text(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// The document of a program as soon as it is there and `wanted` is true of it.
    #[track_caller]
    fn status_when(&self, program: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(|| {
            self.try_status(program)
                .ok()
                .filter(|status| wanted(status))
        })
    }

    fn sockets(&self) -> usize {
        fs::read_dir(self.folder()).expect("a folder").count()
    }
}

/// What `look` finds, as soon as it does.
#[track_caller]
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + 3 * SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to this");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Where a program shows its status over HTTP. To be asked once, after its address.
fn site(program: &Program) -> SocketAddr {
    let line = program.line("Showing the status at http://");
    let (_, address) = line.text.split_once("http://").expect("an address");
    let address = address.trim_end_matches('/');
    address.parse().expect("ADDRESS:PORT")
}

/// The whole answer to a request.
fn get(http: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(http).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The clock with this name in a master's document.
fn clock<'a>(status: &'a Value, name: &str) -> &'a Value {
    let clocks = status["clocks"].as_array().expect("clocks");
    let found = clocks.iter().find(|clock| clock["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {status}"))
}
