//! Readers that are slow, hostile, or of another user.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Machine, text};

#[test]
#[ignore = "needs root, and setpriv, to be another user"]
fn another_user_of_the_machine_may_ask() {
    let machine = Machine::new();
    fs::set_permissions(machine.folder(), Permissions::from_mode(0o755)).expect("our folder");
    let (master, _) = machine.master(&["--name", "ship"]);
    machine.status_when("berkeley-master", |_| true);
    // The program is copied to where that user may start it.
    let program = machine.folder().join("asks");
    fs::copy(env!("CARGO_BIN_EXE_berkeley-master"), &program).expect("a copy");
    let asked = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(["status", "--socket"])
        .arg(machine.socket("berkeley-master", &master))
        .output()
        .expect("setpriv");
    assert!(asked.status.success(), "{}", text(&asked.stderr));
    assert!(text(&asked.stdout).contains("on ship, process"));
}
