//! What an operator orders: revoking, rotating, and what is told to whoever gets it wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use berkeley::internals::keys::secret::Secret;

use crate::support::keys::{Keys, run};
use crate::support::programs::Program;

const MASTER: &str = env!("CARGO_BIN_EXE_berkeley-master");
const FOLLOWER: &str = env!("CARGO_BIN_EXE_berkeley-follower");

/// How soon an order is obeyed; the machine may be busy.
const OBEYED_WITHIN: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(2);

/// When the follower was sent away, after `ordered`.
#[track_caller]
fn gone(master: &Program, name: &str, ordered: Instant) -> Duration {
    let line = master.line(&format!("Follower left: {name}"));
    let took = line.read.duration_since(ordered);
    println!("{name} was gone after {} ms", took.as_millis());
    assert!(took < OBEYED_WITHIN + BUSY, "{took:?}");
    took
}

#[test]
fn a_revoked_key_is_good_for_nothing_within_a_second() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let address = master.address();
    let [stolen, other] = ["stolen", "db1"].map(|name| keys.follower(name, address));
    for follower in [&stolen, &other] {
        follower.line("Synchronized time: ");
    }
    let path = keys.group_file();
    let path = path.to_str().expect("a name");
    let ordered = Instant::now();
    let said = run(MASTER, &["key", "revoke", "stolen", "--key-file", path], "");
    assert!(said.is_ok_and(|said| said.contains("Revoked the key of stolen")));
    gone(&master, "stolen", ordered);
    stolen.log_line("the key of stolen was revoked");
    let before = stolen.transcript().matches("Synchronized").count();
    // The others notice nothing, and it never comes back.
    for _ in 0..5 {
        other.line("Synchronized time: ");
    }
    assert_eq!(stolen.transcript().matches("Synchronized").count(), before);
    assert!(!other.transcript().contains("lost"));
    let refused = run(MASTER, &["key", "node", "stolen", "--key-file", path], "");
    assert!(refused.is_err_and(|why| why.contains("was revoked: take another name")));
}

#[test]
fn a_rotation_moves_all_machines_to_another_secret_one_after_the_other() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let address = master.address();
    let [early, late] = ["early", "late"].map(|name| keys.follower(name, address));
    early.line("Synchronized time: ");
    late.line("Synchronized time: ");
    let path = keys.group_file();
    let path = path.to_str().expect("a name");
    let began = run(MASTER, &["key", "rotate", "--key-file", path], "").expect("it begins");
    assert!(began.contains("Began generation 2"), "{began}");
    let again = run(MASTER, &["key", "rotate", "--key-file", path], "").expect_err("not now");
    assert!(again.contains("key rotate --finish"), "{again}");
    // One gets its new key, which it reads when it connects again.
    let line = run(MASTER, &["key", "node", "early", "--key-file", path], "").expect("a key");
    assert!(
        line.starts_with("berkeley-key 1 follower early 2 "),
        "{line}"
    );
    let early_file = keys.node_file("early");
    let early_path = early_file.to_str().expect("a name");
    let installed = run(
        FOLLOWER,
        &["key", "install", "--key-file", early_path],
        &line,
    );
    let installed = installed.expect("it is installed");
    assert!(
        installed.contains("Installed the key of early, generation 2"),
        "{installed}"
    );
    let ordered = Instant::now();
    let finished = run(
        MASTER,
        &["key", "rotate", "--finish", "--key-file", path],
        "",
    );
    assert!(finished.is_ok_and(|said| said.contains("Only generation 2")));
    gone(&master, "late", ordered);
    late.log_line("generation 1 of the group's key is not in use here, only 2");
    early.line("Connected to ");
    for _ in 0..3 {
        early.line("Synchronized time: ");
    }
    keys.node_file("late");
    master.line("Follower joined: late");
    late.line("Synchronized time: ");
}

#[test]
fn a_file_that_makes_no_sense_changes_nothing_in_a_running_master() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let follower = keys.follower("db1", master.address());
    follower.line("Synchronized time: ");
    fs::set_permissions(keys.group_file(), fs::Permissions::from_mode(0o644)).expect("a file");
    master.log_line("the keys that were read before stay in use");
    for _ in 0..3 {
        follower.line("Synchronized time: ");
    }
    let mut refused = keys.master(&[]);
    refused.log_line("`chmod 600` it");
    assert_eq!(refused.ends_within(BUSY * 5).code(), Some(1));
}

#[test]
fn a_file_of_another_group_in_its_place_ends_all_sessions() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let follower = keys.follower("db1", master.address());
    follower.line("Synchronized time: ");
    let path = keys.group_file();
    // Not what the page says, but what one does in a hurry.
    fs::remove_file(&path).expect("a file");
    let path = path.to_str().expect("a name");
    let ordered = Instant::now();
    run(MASTER, &["key", "new", "--key-file", path], "").expect("a file");
    gone(&master, "db1", ordered);
    master.log_line("the key of db1 is another group's");
    follower.log_line("its proof is wrong");
    keys.node_file("db1");
    follower.line("Connected to ");
    follower.line("Synchronized time: ");
}

#[test]
fn a_candidate_takes_no_copy_that_is_not_whole() {
    let keys = Keys::new();
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("etc/group.key");
    let path = other.to_str().expect("a name");
    let install = |text: &str| run(MASTER, &["key", "install", "--key-file", path], text);
    let text = fs::read_to_string(keys.group_file()).expect("a file");
    let said = install(&text).expect("it is whole");
    assert!(said.contains("generations in use: [1]"), "{said}");
    assert_eq!(fs::read_to_string(&other).expect("a file"), text);
    for (input, why) in [
        (&text[..text.len() - 20], "is not the checksum"),
        ("", "does not begin with `berkeley-group-key 1`"),
        (&keys.node("db1", None).line(), "does not begin with"),
    ] {
        let refused = install(input).expect_err("it is not whole");
        assert!(refused.contains(why), "{refused}");
    }
    assert_eq!(fs::read_to_string(&other).expect("a file"), text);
}

#[test]
fn the_commands_say_what_is_wrong() {
    let keys = Keys::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = keys.group_file();
    let path = path.to_str().expect("a name");
    let missing = folder.path().join("none.key");
    let missing = missing.to_str().expect("a name");
    for (arguments, part) in [
        (&["key", "new", "--key-file", path][..], "exists already"),
        (
            &["key", "node", "db1", "--key-file", missing],
            "cannot read the key file",
        ),
        (&["key", "node", "a,b", "--key-file", path], "a name"),
        (
            &["key", "rotate", "--finish", "--key-file", path],
            "only generation 1 is in use",
        ),
        (&["--auth", "observe"], "--key-file"),
        (&["--key-file", missing], "cannot read the key file"),
    ] {
        let why = run(MASTER, arguments, "").expect_err("it is wrong");
        assert!(why.contains(part), "{arguments:?}: {why}");
    }
    let line = keys.node("db1", None).line();
    for (input, part) in [
        ("", "it is not the line that"),
        (&line.replace("db1", "db2"), "its checksum is wrong"),
        (&line[..line.len() - 3], "its checksum is wrong"),
    ] {
        let why = run(FOLLOWER, &["key", "install", "--key-file", missing], input);
        let why = why.expect_err("it is wrong");
        assert!(why.contains(part), "{input:?}: {why}");
    }
    let wire = ["--key-file", missing, "--wire", "timestamp"];
    let why = run(FOLLOWER, &wire, "").expect_err("it is wrong");
    assert!(why.contains("timestamps prove nothing"), "{why}");
    keys.change(|group| {
        group.rotate(Secret::new([9; 32])).expect("the first one");
    });
    assert!(keys.node("db1", None).line().contains(" db1 2 "));
}
