//! What the library depends on for those who embed it.

use std::process::Command;

#[test]
fn without_the_feature_cli_there_is_no_command_line_in_the_library() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--no-default-features"])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    let message = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{message}");
    let tree = String::from_utf8(tree.stdout).expect("UTF-8");
    let names: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains(&"chrono"), "{names:?}");
    for name in [
        "anyhow",
        "clap",
        "env_logger",
        "httparse",
        "humantime",
        "prometheus-client",
        "serde_json",
        "signal-hook",
    ] {
        assert!(!names.contains(&name), "{name} is among {names:?}");
    }
}
