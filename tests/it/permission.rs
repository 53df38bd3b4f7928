//! Without the right to set the system's clock, `--steer system` is refused before anything
//! starts. The programs run here with that right taken away, whoever runs the tests.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Command, Output};

/// `CAP_SYS_TIME`, see capabilities(7).
const SYS_TIME: u64 = 1 << 25;

/// Runs a program that can't get the right to set the clock in any way.
fn without_the_right(program: &str, arguments: &[&str]) -> Output {
    let mut fenced = Command::new("setpriv");
    fenced.args([
        "--no-new-privs",
        "--inh-caps=-sys_time",
        "--bounding-set=-sys_time",
    ]);
    fenced.arg(program).args(arguments);
    fenced.output().expect("setpriv (util-linux) runs")
}

fn is_refused(program: &str, arguments: &[&str]) {
    // Whoever runs the tests may be root: no program starts before the fence is seen to hold.
    let status = without_the_right("cat", &["/proc/self/status"]);
    let status = String::from_utf8(status.stdout).expect("text");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.expect("a line").trim(), 16).expect("a number");
    assert_eq!(effective & SYS_TIME, 0, "the fence does not hold");

    let output = without_the_right(program, arguments);
    let message = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{message}");
    for part in ["--steer system", "CAP_SYS_TIME", "setcap", "systemd"] {
        assert!(message.contains(part), "{part} is missing: {message}");
    }
    assert!(output.stdout.is_empty(), "it started something");
}

#[test]
fn a_master_that_may_not_steer_is_refused() {
    let arguments = ["--listen", "127.0.0.1:0", "--steer", "system"];
    is_refused(env!("CARGO_BIN_EXE_berkeley-master"), &arguments);
}

#[test]
fn a_follower_that_may_not_steer_is_refused_before_it_connects() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a socket").to_string();
    is_refused(
        env!("CARGO_BIN_EXE_berkeley-follower"),
        &[&address, "--steer", "system"],
    );
    listener.set_nonblocking(true).expect("a socket");
    let nobody = listener.accept().expect_err("it connected");
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_clock_that_pretends_must_not_set_a_real_one() {
    for program in [
        env!("CARGO_BIN_EXE_berkeley-master"),
        env!("CARGO_BIN_EXE_berkeley-follower"),
    ] {
        let output = without_the_right(program, &["--steer", "system", "--simulate-drift", "5"]);
        let message = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("--simulate-drift"), "{message}");
    }
}

/// `CAP_NET_BIND_SERVICE`.
const BIND: &str = "net_bind_service";

#[test]
fn port_123_needs_a_right_that_the_error_names() {
    let free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if free.is_ok_and(|first| first.trim().parse().is_ok_and(|first: u16| first <= 123)) {
        println!("everybody may take port 123 here");
        return;
    }
    for (program, at) in [
        (
            env!("CARGO_BIN_EXE_berkeley-master"),
            "--listen=127.0.0.1:0",
        ),
        (env!("CARGO_BIN_EXE_berkeley-follower"), "127.0.0.1:1"),
    ] {
        let output = Command::new("setpriv")
            .args([
                "--no-new-privs",
                &format!("--inh-caps=-{BIND}"),
                &format!("--bounding-set=-{BIND}"),
            ])
            .args([program, at, "--serve-ntp"])
            .output()
            .expect("setpriv (util-linux) runs");
        let message = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{message}");
        for part in [
            "0.0.0.0:123",
            "CAP_NET_BIND_SERVICE",
            "setcap",
            "--serve-ntp=ADDRESS:PORT",
        ] {
            assert!(message.contains(part), "{part} is missing: {message}");
        }
    }
}
