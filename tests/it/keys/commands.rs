//! The commands of `docs/keys.md`, as they stand there, by a shell. Only the way between machines
//! is another: `ssh` leads to folders, and the programs of all machines run on this one.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::candidates::group::Ports;
use crate::support::programs::Program;

const PAGE: &str = include_str!("../../../docs/keys.md");

/// Runs the command as the machine whose folder is `$ROOT/HOST`, where nothing is prepared.
const SSH: &str = "#!/bin/sh
host=${1#root@}; shift
case $1 in berkeley-master) file=group.key ;; *) file=node.key ;; esac
BERKELEY_KEY_FILE=\"$ROOT/$host/$file\" exec \"$@\"
";

/// The blocks of commands below a heading.
fn blocks(heading: &str) -> Vec<&'static str> {
    let (_, section) = PAGE
        .split_once(&format!("\n## {heading}\n"))
        .expect("a heading");
    let section = section.split("\n## ").next().expect("a section");
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().expect("its end"))
        .collect()
}

struct Machines {
    folder: TempDir,
    ports: Ports,
}

impl Machines {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ssh");
        fs::write(&path, SSH).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file");
        Self {
            folder,
            ports: Ports::reserve(3),
        }
    }

    /// Runs commands on `a`.
    #[track_caller]
    fn run(&self, commands: &str) {
        let programs = Path::new(env!("CARGO_BIN_EXE_berkeley-master")).parent();
        let programs = programs.expect("a folder").display();
        let path = std::env::var("PATH").expect("a path");
        let root = self.folder.path();
        let own = self.file("a", "group.key");
        let commands = commands.replace("/etc/berkeley/group.key", &own.display().to_string());
        let output = Command::new("sh")
            .args(["-ec", &commands])
            .env("PATH", format!("{}:{programs}:{path}", root.display()))
            .env("ROOT", root)
            .env("BERKELEY_KEY_FILE", &own)
            .output()
            .expect("a shell");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}: {error}");
    }

    fn file(&self, host: &str, name: &str) -> PathBuf {
        self.folder.path().join(host).join(name)
    }

    fn address(&self, host: &str) -> Option<SocketAddr> {
        let rank = ["a", "b", "c"]
            .iter()
            .position(|candidate| *candidate == host);
        rank.map(|rank| self.ports.address(rank))
    }

    /// Starts what the page says on this machine, with the files and the addresses of the test.
    fn start(&self, command: &str, host: &str) -> Program {
        let mut line = command.trim().to_owned();
        for name in ["group.key", "node.key"] {
            let file = self.file(host, name).display().to_string();
            line = line.replace(&format!("/etc/berkeley/{name}"), &file);
        }
        for candidate in ["a", "b", "c"] {
            let address = self.address(candidate).expect("a candidate").to_string();
            line = line.replace(&format!("{candidate}:8080"), &address);
        }
        let (program, arguments) = line.split_once(' ').expect("arguments");
        let programs = Path::new(env!("CARGO_BIN_EXE_berkeley-master")).parent();
        let mut started = Command::new(programs.expect("a folder").join(program));
        started.args(arguments.split(' '));
        if let Some(address) = self.address(host) {
            started.args(["--listen", &address.to_string()]);
        }
        Program::start(&mut started)
    }
}

#[test]
fn a_group_is_keyed_grows_throws_out_and_outlives_a_theft_by_the_commands_of_the_page() {
    let machines = Machines::new();
    let key = blocks("Key a group of ten");
    machines.run(key[0]);
    let (candidate, follower) = key[1].split_once('\n').expect("two commands");
    let candidates = ["a", "b", "c"].map(|host| machines.start(candidate, host));
    candidates[0].line("Leading, in term 1");
    let mut followers: Vec<_> = (1..=10)
        .map(|n| machines.start(follower, &format!("n{n}")))
        .collect();
    for follower in &followers {
        follower.line("Synchronized time: ");
    }
    for candidate in &candidates[1..] {
        candidate.line("Synchronized time: ");
    }
    machines.run(blocks("Add a machine")[0]);
    followers.push(machines.start(follower, "n11"));
    followers[10].line("Synchronized time: ");

    machines.run(blocks("Throw a machine out")[0]);
    candidates[0].line("Follower left: n3");
    followers[2].log_line("the key of n3 was revoked");

    machines.run(blocks("Renew all keys")[0]);
    followers[10].line("Connected to ");
    followers[10].line("Synchronized time: ");

    let [_, _, thief] = &candidates;
    machines.run(blocks("When a candidate was stolen")[0]);
    followers[0].line("Connected to ");
    followers[0].line("Synchronized time: ");
    thief.log_line("generation 2 of the group's key is not in use here");
}
