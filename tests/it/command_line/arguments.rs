//! Arguments that make no sense, which are answered with what does, and `--help`.

use std::fs;
use std::net::TcpListener;

use super::{FOLLOWER, MASTER, fails, run};

#[test]
fn a_bad_argument_is_named_and_exits_with_2() {
    for (arguments, part) in [
        (["--interval", "0s"], "'--interval "),
        (["--interval", "5"], "'--interval "),
        (["--interval", "-5s"], "'--interval "),
        (["--rounds", "0"], "'--rounds "),
        (["--rounds", "two"], "'--rounds "),
        (["--simulate-offset", "5"], "'--simulate-offset "),
        (["--simulate-offset", "--14m"], "'--simulate-offset "),
        (["--simulate-drift", "fast"], "'--simulate-drift "),
        (["--simulate-drift", "nan"], "'--simulate-drift "),
        (["--interval", "--record"], "'--interval "),
        (["--no-such-flag", "1"], "'--no-such-flag'"),
        (["--serve-ntp=123", "--name=a"], "'--serve-ntp"),
        (["--serve-ntp", "--ntp-stratum=1"], "'--ntp-stratum "),
        (["--serve-ntp", "--ntp-stratum=16"], "'--ntp-stratum "),
    ] {
        fails(MASTER, &arguments, 2, part);
        fails(FOLLOWER, &arguments, 2, part);
    }
    for (arguments, part) in [
        (["--listen", "nonsense"], "'--listen "),
        (["--listen", "127.0.0.1"], "'--listen "),
        (["--listen", "127.0.0.1:65536"], "'--listen "),
        (["--min-followers", "0"], "'--min-followers "),
        (["--max-followers", "0"], "'--max-followers "),
        (["--max-per-address", "0"], "'--max-per-address "),
        (["--tolerance", "0s"], "'--tolerance "),
        (["--tolerance", "1"], "'--tolerance "),
        (["--max-offset", "0s"], "'--max-offset "),
        (["--candidates", "a:0,b"], "'--candidates "),
        (
            ["--candidates", "127.0.0.1:1"],
            "--candidates names from 2 to 9",
        ),
        (["--candidates", "a,b,a"], "--candidates names a:8080 twice"),
        (["--advertise", "a"], "--candidates"),
    ] {
        fails(MASTER, &arguments, 2, part);
    }
    let dry = ["--dry-run", "--candidates", "a,b"];
    fails(MASTER, &dry, 2, "--dry-run does not go with --candidates");
    let dry = ["--dry-run", "--serve-ntp"];
    fails(MASTER, &dry, 2, "--serve-ntp does not go with --dry-run");
    let below = ["--parent", "a", "--reference"];
    fails(MASTER, &below, 2, "--reference does not go with --parent");
    for (parents, part) in [
        ("a,b:8080,a:8080", "--parent names a:8080 twice"),
        (
            "a,localhost",
            "--parent localhost:8080 is where this master",
        ),
        (
            "b,127.0.0.1",
            "--parent 127.0.0.1:8080 is where this master",
        ),
    ] {
        fails(MASTER, &["--parent", parents], 2, part);
    }
    let own = ["--candidates", "a,b", "--parent", "c,b"];
    fails(MASTER, &own, 2, "--parent b:8080 is one of --candidates");
    let told = ["--wire=timestamp", "--serve-ntp"];
    fails(FOLLOWER, &told, 2, "--serve-ntp does not go with --wire");
    let unserved = run(MASTER, &["--ntp-stratum=3"]);
    assert_eq!(
        unserved.status.code(),
        Some(2),
        "a stratum that nobody is told"
    );
    fails(FOLLOWER, &["--wire", "pigeon"], 2, "'--wire ");
    fails(FOLLOWER, &["http://127.0.0.1:80"], 2, "MASTER");
    fails(FOLLOWER, &["a,", "b"], 2, "MASTER");
    fails(FOLLOWER, &["host:65536"], 2, "MASTER");
    fails(FOLLOWER, &[""], 2, "MASTER");
}

#[test]
fn who_else_is_told_the_time_has_to_fit_to_who_keeps_the_clock() {
    let clockbound = "--clockbound=/dev/shm/none";
    let chronyd = "--chrony-socket=none";
    let steer = "--steer=system";
    for (arguments, part) in [
        (vec![clockbound], "--clockbound needs --steer system"),
        (
            vec![clockbound, steer, "--reference"],
            "--clockbound does not go with --reference",
        ),
        (
            vec![chronyd, steer],
            "--chrony-socket does not go with --steer system",
        ),
        (
            vec![chronyd, "--reference"],
            "--chrony-socket does not go with --reference",
        ),
        (
            vec![chronyd, "--simulate-drift", "5"],
            "--chrony-socket does not go with --simulate-offset",
        ),
    ] {
        fails(MASTER, &arguments, 2, part);
        fails(FOLLOWER, &arguments, 2, part);
    }
    let told = [chronyd, "--wire", "timestamp"];
    fails(
        FOLLOWER,
        &told,
        2,
        "--chrony-socket does not go with --wire",
    );
    let long = format!("--chrony-socket={}", "x".repeat(200));
    fails(
        FOLLOWER,
        &[&long],
        1,
        "no socket can be at --chrony-socket xxx",
    );
}

#[test]
fn an_error_says_what_to_do() {
    for (arguments, part) in [
        (["--rounds", "0"], "leave --rounds out to run for ever"),
        (["--interval", "-5s"], "must not be negative"),
    ] {
        fails(MASTER, &arguments, 2, part);
        fails(FOLLOWER, &arguments, 2, part);
    }
    for (arguments, part) in [
        (["--tolerance", "0s"], "a tolerance is more than 0s"),
        (["--tolerance", "-5s"], "must not be negative"),
        (["--candidates", "a, b,"], "an address is missing"),
        (["--candidates", "a,,b"], "an address is missing"),
        (["--candidates", "http://a,b"], "no http:// before it"),
    ] {
        fails(MASTER, &arguments, 2, part);
    }
    fails(FOLLOWER, &["http://a"], 2, "no http:// before it");
    fails(
        FOLLOWER,
        &["a,b"],
        2,
        "arguments of their own: A:8080 B:8080",
    );
    // A space after a comma is no mistake: this list is read.
    let spaced = ["--dry-run", "--candidates", "a, b"];
    fails(MASTER, &spaced, 2, "--dry-run does not go with");
}

#[test]
fn a_drift_file_that_cannot_be_written_is_found_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing").join("drift");
    let missing = missing.to_str().expect("a name in UTF-8");
    let is_folder = folder.path().to_str().expect("a name in UTF-8");
    for path in [missing, is_folder] {
        for part in ["--drift-file", path] {
            let arguments = ["--listen", "127.0.0.1:0", "--drift-file", path];
            fails(MASTER, &arguments, 1, part);
            fails(FOLLOWER, &["--drift-file", path], 1, part);
        }
    }
}

#[test]
fn one_file_for_the_record_and_the_drift_is_refused_by_whatever_path() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("a")).expect("a folder");
    std::os::unix::fs::symlink("a", folder.path().join("b")).expect("a link");
    let path = |path: &str| folder.path().join(path).display().to_string();
    let refused = || {
        for [record, drift] in [
            ["a/x", "a/x"],
            ["a/x", "a/../a/./x"],
            ["a/x", "b/x"],
            // It is written there before it takes the place of the old one.
            ["b/x.new", "a/x"],
        ] {
            let (record, drift) = (path(record), path(drift));
            let arguments = ["--record", &record, "--drift-file", &drift];
            let part = "--record and --drift-file name one file";
            fails(MASTER, &arguments, 2, part);
            fails(FOLLOWER, &arguments, 2, part);
        }
    };
    // Whether it is there or not.
    refused();
    fs::write(folder.path().join("a/x"), "").expect("a file");
    refused();
}

#[test]
fn no_file_of_keys_is_written_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("group.key");
    let key = "berkeley-group-key 1\n";
    fs::write(&path, key).expect("a file");
    let path = path.to_str().expect("a name in UTF-8");
    for flag in ["--record", "--drift-file", "--state-file"] {
        let arguments = ["--key-file", path, flag, path];
        let part = format!("{flag} and --key-file name one file");
        fails(MASTER, &arguments, 2, &part);
        if flag != "--state-file" {
            fails(FOLLOWER, &arguments, 2, &part);
        }
        // Nor where nothing says that it is one.
        let part = format!("{flag} {path}");
        fails(MASTER, &["--listen", "127.0.0.1:0", flag, path], 1, &part);
    }
    assert_eq!(fs::read_to_string(path).expect("a file"), key);
}

#[test]
fn an_address_in_use_exits_with_1_and_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a socket").to_string();
    fails(MASTER, &["--listen", &address], 1, "--listen");
    fails(MASTER, &["--listen", &address], 1, &address);
}

#[test]
fn a_record_that_cannot_be_written_exits_with_1_and_names_the_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("missing").join("record.csv");
    let path = path.to_str().expect("a name in UTF-8");
    for part in ["--record", path] {
        fails(
            MASTER,
            &["--listen", "127.0.0.1:0", "--record", path],
            1,
            part,
        );
        fails(FOLLOWER, &["--record", path], 1, part);
    }
}

/// Checks the default that `--help` shows for each flag.
#[track_caller]
fn help_shows(program: &str, defaults: &[(&str, &str)]) {
    let output = run(program, &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    // However the lines are broken.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (flag, default) in defaults {
        let about = help
            .split_once(&format!(" {flag} "))
            .unwrap_or_else(|| panic!("{flag} is not in {help}"))
            .1;
        // Up to the next flag.
        let about = about.split(" --").next().unwrap_or(about);
        let shown = format!("[default: {default}");
        assert!(about.contains(&shown), "{flag}: {about}");
    }
}

#[test]
fn help_shows_every_default() {
    let both = [
        ("--interval", "5s]"),
        ("--rounds", "for ever]"),
        ("--simulate-offset", "0s]"),
        ("--simulate-drift", "0ppm]"),
        ("--record", "none]"),
    ];
    help_shows(MASTER, &both);
    help_shows(FOLLOWER, &both);
    help_shows(
        MASTER,
        &[
            ("--listen", "0.0.0.0:8080]"),
            ("--min-followers", "1]"),
            ("--max-followers", "16000]"),
            ("--max-per-address", "256]"),
            ("--tolerance", "automatic"),
            ("--max-offset", "24h]"),
            ("--candidates", "this one alone]"),
            ("--advertise", "the one that listens here]"),
        ],
    );
    help_shows(
        FOLLOWER,
        &[
            ("Arguments: [MASTER]...", "127.0.0.1:8080]"),
            ("--wire", "auto]"),
        ],
    );
}

#[test]
fn a_master_that_cannot_start_leaves_the_record_of_another_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record.csv");
    fs::write(&path, "the record of a running master").expect("a file");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("a socket").to_string();
    let record = path.to_str().expect("a name");
    fails(
        MASTER,
        &["--listen", &address, "--record", record],
        1,
        "--listen",
    );
    let left = fs::read_to_string(&path).expect("a file");
    assert_eq!(left, "the record of a running master");
}
