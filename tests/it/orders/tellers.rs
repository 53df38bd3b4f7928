//! Who tells a master: its own user, another one, and who means no good.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use super::{control_socket, is_done, said};
use crate::support::programs::{Program, SOON};

/// What a master answers to these bytes, if anything.
fn answer(master: &Program, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(control_socket(master)).expect("a master");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    let mut answer = Vec::new();
    // A master that has heard enough may have hung up by then.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("ASCII")
}

#[test]
fn only_its_own_user_may_write_to_the_socket() {
    let master = Program::master(&[]);
    master.address();
    let socket = fs::metadata(control_socket(&master)).expect("a socket");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let path = control_socket(&master);
    master.stops_at("TERM");
    assert!(!path.exists(), "it was left behind");
}

#[test]
fn garbage_and_those_that_say_nothing_cost_no_round() {
    let master = Program::master(&["--interval", "200ms"]);
    let follower = Program::follower(master.address(), &[]);
    let told = answer(&master, b"set +1ms\n");
    assert_eq!(told, "ok: the group is stepped by +1.000 ms (step 1)\n");
    for wrong in [
        &b"\n"[..],
        b"set \x1b[2J\n",
        b"stop\n",
        b"drop \xff\xfe\n",
        &vec![b'x'; 100_000],
        &[0; 600],
    ] {
        let told = answer(&master, wrong);
        assert!(told.is_empty() || told.starts_with("error: "), "{told:?}");
    }
    assert!(answer(&master, &[b'x'; 600]).contains("one line of printable characters"));
    // A thousand that connect and say half a word, or nothing.
    let mut silent = Vec::new();
    for number in 0..1000 {
        let Ok(mut stream) = UnixStream::connect(control_socket(&master)) else {
            continue;
        };
        if number % 2 == 0 {
            let _ = stream.write_all(b"se");
        }
        silent.push(stream);
        silent.truncate(900);
    }
    for _ in 0..5 {
        master.line("2 of 2 clocks agree");
        follower.line("Synchronized time: ");
    }
    is_done(&master, &["set", "-1ms"], "(step 2)");
    let transcript = master.transcript();
    assert!(!transcript.contains('\x1b') && !transcript.contains("panicked"));
    assert!(transcript.lines().count() < 200, "they fill the log");
}

#[test]
#[ignore = "needs root, and setpriv, to be another user"]
fn another_user_of_the_machine_may_not_set_the_time() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our folder");
    // The program is copied to where that user may start it.
    let program = folder.path().join("tells");
    fs::copy(env!("CARGO_BIN_EXE_berkeley-master"), &program).expect("a copy");
    let master = Program::start(
        Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
            .args(["--listen", "127.0.0.1:0"])
            .env("RUNTIME_DIRECTORY", folder.path()),
    );
    master.address();
    let socket = folder
        .path()
        .join(format!("berkeley-master-{}.control", master.id()));
    let as_other = |arguments: &[&str]| {
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(arguments)
            .env("RUNTIME_DIRECTORY", folder.path())
            .output()
            .expect("setpriv")
    };
    let path = socket.to_str().expect("a name");
    for arguments in [&["set", "+90s"][..], &["set", "+90s", "--socket", path]] {
        let output = as_other(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(&output).contains("this user may not tell"),
            "{}",
            said(&output)
        );
    }
    let status = as_other(&["status"]);
    assert!(status.status.success(), "{}", said(&status));
    // Even where the file would let it.
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).expect("our socket");
    let output = as_other(&["set", "+90s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("only root may"), "{}", said(&output));
    assert!(!master.transcript().contains("step"));
    let own = Command::new(&program)
        .args(["set", "+90s"])
        .env("RUNTIME_DIRECTORY", folder.path())
        .output();
    assert!(own.expect("the program").status.success(), "root may");
}
