//! A network of a test's own, in which it runs once more.

use std::process::Command;

/// Says that a test runs in the network that was made for it.
const INSIDE: &str = "BERKELEY_TEST_NETWORK";

/// Whether this test runs in a network of its own, with these addresses on its loopback. If not, it
/// is run there now.
#[track_caller]
pub(crate) fn is_in_own_network(test: &str, addresses: &[String]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let add = |address: &String| format!("ip address add {address}/32 dev lo && ");
    let addresses: String = addresses.iter().map(add).collect();
    let setup = format!("ip link set lo up && {addresses} exec \"$@\"");
    let this = std::env::current_exe().expect("a program");
    let status = Command::new("unshare")
        .args(["--net", "sh", "-c", &setup, "sh"])
        .arg(this)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(INSIDE, "yes")
        .status()
        .expect("unshare, of util-linux");
    assert!(status.success(), "it failed in its own network: {status}");
    false
}
