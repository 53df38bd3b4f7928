//! What an installation consists of: man pages, completions, the Debian package, and what systemd
//! is told.

mod manuals;
mod notify;
mod package;

use std::process::Command;

#[path = "../../../examples/manuals/writing.rs"]
mod writing;

/// What another program has to say.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}
