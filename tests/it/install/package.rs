//! The Debian package, installed into a bare Debian: a folder that `debootstrap` has filled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{said, writing};
use crate::support::programs::Program;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What is installed for each of the two programs, beside the program.
const BESIDE: [&str; 4] = [
    "usr/share/man/man1/NAME.1.gz",
    "usr/share/bash-completion/completions/NAME",
    "usr/share/zsh/vendor-completions/_NAME",
    "usr/share/fish/vendor_completions.d/NAME.fish",
];

/// The package, made of the programs that these tests run, not of programs built once more.
fn package(folder: &Path) -> PathBuf {
    let release = folder.join("release");
    fs::create_dir(&release).expect("a folder");
    for built in [
        env!("CARGO_BIN_EXE_berkeley-master"),
        env!("CARGO_BIN_EXE_berkeley-follower"),
    ] {
        let name = Path::new(built).file_name().expect("a name");
        fs::copy(built, release.join(name)).expect("a copy");
    }
    // Where the package takes them from.
    writing::write(&Path::new(ROOT).join("target/manuals")).expect("man pages and completions");
    let deb = folder.join("berkeley.deb");
    let mut command = Command::new("cargo");
    command
        .args(["deb", "--no-build", "--quiet", "--output"])
        .arg(&deb)
        .env("CARGO_TARGET_DIR", folder)
        .current_dir(ROOT);
    // No warning, only where the package is.
    assert_eq!(said(&mut command), format!("{}\n", deb.display()));
    deb
}

/// A bare Debian, kept for the next time: it takes a minute to make.
fn bare_debian() -> PathBuf {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bare-debian");
    if !tree.exists() {
        let unfinished = tree.with_extension("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        let mut command = Command::new("debootstrap");
        command.args(["--variant=minbase", "--include=systemd", "bookworm"]);
        said(command.arg(&unfinished));
        fs::rename(&unfinished, &tree).expect("a folder");
    }
    tree
}

/// A command inside of the tree.
fn inside(tree: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("chroot");
    command.arg(tree).args(words);
    // A folder in the tree, where the programs have their sockets.
    command.env("RUNTIME_DIRECTORY", "/run/berkeley");
    command
}

/// Files of ours in the tree.
fn ours(tree: &Path) -> String {
    let mut find = Command::new("find");
    let folders = ["etc", "usr", "var/lib/systemd"].map(|folder| tree.join(folder));
    said(find.args(folders).args(["-iname", "*berkeley*"]))
}

#[test]
#[ignore = "needs root, debootstrap, cargo-deb and a Debian mirror"]
fn a_bare_debian_takes_it_runs_it_and_is_bare_again_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let deb = package(folder.path());
    let tree = bare_debian();
    // Of a test that was interrupted.
    let _ = inside(&tree, &["dpkg", "--purge", "berkeley"]).output();
    assert_eq!(ours(&tree), "", "it is bare");
    fs::copy(deb, tree.join("tmp/package.deb")).expect("a copy");
    said(&mut inside(&tree, &["dpkg", "-i", "/tmp/package.deb"]));

    for name in ["berkeley-master", "berkeley-follower"] {
        for beside in BESIDE {
            let beside = beside.replace("NAME", name);
            assert!(tree.join(&beside).is_file(), "{beside} is missing");
        }
    }
    let wants = tree.join("etc/systemd/system/multi-user.target.wants");
    for unit in ["berkeley-master", "berkeley-follower", "berkeley-wait"] {
        let unit = format!("{unit}.service");
        // Here the unit finds the program by its name alone.
        let verify = said(&mut inside(&tree, &["systemd-analyze", "verify", &unit]));
        assert_eq!(verify, "", "no word is the best word");
        // A link that leads nowhere outside of the tree.
        assert!(!wants.join(&unit).is_symlink(), "nothing starts unasked");
    }
    run(&tree);

    let settings = tree.join("etc/default/berkeley");
    fs::write(&settings, "BERKELEY_FOLLOWER_FLAGS=\"10.0.0.1\"\n").expect("a file");
    said(&mut inside(&tree, &["dpkg", "-i", "/tmp/package.deb"]));
    let kept = fs::read_to_string(&settings).expect("a file");
    assert!(kept.contains("10.0.0.1"), "an upgrade keeps it: {kept}");

    said(&mut inside(&tree, &["dpkg", "--purge", "berkeley"]));
    assert_eq!(ours(&tree), "", "nothing is left");
}

/// Both programs, as they are installed.
fn run(tree: &Path) {
    let master = ["berkeley-master", "--listen", "127.0.0.1:0", "--rounds=2"];
    let mut master = inside(tree, &master);
    let master = Program::start(master.arg("--interval=200ms"));
    let address = master.address().to_string();
    let follower = Program::start(&mut inside(tree, &["berkeley-follower", &address]));
    follower.line("Synchronized time: ");
    let status = said(&mut inside(tree, &["berkeley-follower", "status"]));
    assert!(status.contains(&address), "{status}");
    master.line("Round 2: 2 of 2 clocks agree");
    master.stops_by_itself();
    follower.stops_at("TERM");
}
