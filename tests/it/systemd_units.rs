//! The systemd units are sound, and as closed as a unit can be whose program sets the clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use berkeley::internals::keys::file::{GROUP_FILE, NODE_FILE};

/// The units as they would be with the programs installed where these were built.
fn units(folder: &Path) -> Vec<PathBuf> {
    let (master, follower) = (
        ("berkeley-master", env!("CARGO_BIN_EXE_berkeley-master")),
        ("berkeley-follower", env!("CARGO_BIN_EXE_berkeley-follower")),
    );
    let units = [
        ("berkeley-master", master),
        ("berkeley-follower", follower),
        ("berkeley-wait", follower),
    ];
    let place = |(unit, (name, built)): (&str, (&str, &str))| {
        let file = format!("{unit}.service");
        let unit = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("systemd")
            .join(&file);
        let unit = fs::read_to_string(unit).expect("a unit");
        // Without a folder: wherever systemd finds programs.
        let installed = format!("\nExecStart={name} ");
        assert!(unit.contains(&installed), "{file} starts another program");
        let unit = unit.replace(&installed, &format!("\nExecStart={built} "));
        let mending = format!("\nExecStopPost=-{name} ");
        let unit = unit.replace(&mending, &format!("\nExecStopPost=-{built} "));
        let placed = folder.join(file);
        fs::write(&placed, unit).expect("a file");
        let folder = placed.with_extension("service.d");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("key.conf"), drop_in(name)).expect("a file");
        placed
    };
    units.map(place).to_vec()
}

/// What a program's unit needs in a group with keys.
fn drop_in(name: &str) -> String {
    let path = format!("systemd/{name}.service.d/key.conf");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).expect("a drop-in")
}

#[test]
fn the_drop_ins_hand_on_the_file_that_the_commands_make() {
    for (name, file) in [
        ("berkeley-master", GROUP_FILE),
        ("berkeley-follower", NODE_FILE),
    ] {
        let drop_in = drop_in(name);
        let short = Path::new(file).file_name().expect("a name").display();
        for line in [
            format!("LoadCredential={short}:{file}"),
            format!("Environment=BERKELEY_KEY_FILE=%d/{short}"),
        ] {
            assert!(
                drop_in.lines().any(|other| other == line),
                "{line}: {drop_in}"
            );
        }
    }
}

fn analyze(arguments: &[&str], unit: &Path) -> String {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).arg(unit).output();
    let output = output.expect("systemd-analyze runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    assert!(output.status.success(), "{}: {said}", unit.display());
    said
}

#[test]
fn whatever_ends_a_program_its_clock_is_mended_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    // The last one waits only.
    for unit in &units(folder.path())[..2] {
        let unit = fs::read_to_string(unit).expect("a unit");
        let setting = |key: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("no {key} in {unit}"))
        };
        let mending = setting("ExecStopPost=-");
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (started, mending) = (words(setting("ExecStart=")), words(mending));
        assert_eq!(mending[0], started[0], "the same program");
        assert_eq!(mending[1], "--mend-clock");
        assert_eq!(mending[2..], started[3..5], "the same drift file");
    }
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_understands_them() {
    let folder = tempfile::tempdir().expect("a folder");
    for unit in units(folder.path()) {
        assert_eq!(analyze(&["verify"], &unit), "", "no word is the best word");
    }
}

#[test]
#[ignore = "needs systemd-analyze"]
fn with_the_lines_for_ntp_they_are_sound_too() {
    let folder = tempfile::tempdir().expect("a folder");
    for unit in &units(folder.path())[..2] {
        let mut text = fs::read_to_string(unit).expect("a unit");
        for setting in ["AmbientCapabilities", "CapabilityBoundingSet"] {
            let line = format!("\n{setting}=CAP_NET_BIND_SERVICE\n");
            let commented = line.replacen('\n', "\n#", 1);
            assert!(text.contains(&commented), "no {setting} in {text}");
            text = text.replace(&commented, &line);
        }
        fs::write(unit, text).expect("a file");
        assert_eq!(analyze(&["verify"], unit), "");
        // One right more.
        analyze(&["security", "--offline=true", "--threshold=21"], unit);
    }
}

#[test]
#[ignore = "needs systemd-analyze"]
fn they_expose_no_more_than_they_must() {
    let folder = tempfile::tempdir().expect("a folder");
    for unit in units(folder.path()) {
        // In tenths, from 0 to 100. What is left is the network and the clock.
        analyze(&["security", "--offline=true", "--threshold=20"], &unit);
    }
}

#[test]
fn what_waits_takes_the_flags_that_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = units(folder.path()).pop().expect("a unit");
    let unit = fs::read_to_string(unit).expect("a unit");
    assert!(unit.contains("\nBefore=time-sync.target\n"), "{unit}");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let start = start
        .expect("what it starts")
        .replace("$BERKELEY_WAIT_FLAGS", "--error 2ms --timeout 0s");
    let words: Vec<_> = start.split(' ').collect();
    let mut wait = Command::new(words[0]);
    wait.args(&words[1..])
        .env("RUNTIME_DIRECTORY", folder.path());
    let output = wait.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("gave up after 0s: neither a berkeley-follower nor a"),
        "{said}"
    );
}
