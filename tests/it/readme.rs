//! What the README promises to whoever embeds the library: its example, as a crate of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::programs::Program;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The example in the README's text.
fn example() -> String {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("a README");
    let (_, example) = readme.split_once("```rust\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    example.to_owned()
}

/// Builds a program of the example alone, outside of this package, and says where it is.
fn build(folder: &Path) -> std::path::PathBuf {
    let manifest = format!(
        "[package]\nname = \"embedder\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nberkeley = {{ path = \"{ROOT}\", default-features = false }}\n\n\
         [workspace]\n"
    );
    fs::create_dir(folder.join("src")).expect("a folder");
    fs::write(folder.join("Cargo.toml"), manifest).expect("a file");
    fs::write(folder.join("src/main.rs"), example()).expect("a file");
    // The same versions, which are here already.
    fs::copy(
        Path::new(ROOT).join("Cargo.lock"),
        folder.join("Cargo.lock"),
    )
    .expect("a file");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("embedder");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .expect("cargo");
    let message = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{message}");
    target.join("debug/embedder")
}

#[test]
fn the_example_builds_as_a_crate_of_its_own_and_gets_a_corrected_time() {
    let lines = example().lines().count();
    assert!(lines <= 20, "{lines} lines");
    let folder = tempfile::tempdir().expect("a folder");
    let embedder = build(folder.path());
    // A minute ahead, so the two clocks meet half a minute ahead.
    let master = Program::master(&["--simulate-offset", "1m"]);
    let mut command = Command::new(embedder);
    let program = Program::start(command.arg(master.address().to_string()));
    let line = program.line(" UTC");
    let time: DateTime<Utc> = line.text.parse().expect("a time");
    let ahead = time.naive_utc() - line.utc();
    let wrong = ahead - TimeDelta::seconds(30);
    assert!(wrong.abs() < TimeDelta::milliseconds(500), "{ahead} ahead");
    program.stops_by_itself();
}
