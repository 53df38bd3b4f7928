//! The sides of a network, in namespaces of their own, with a switch between them from which each
//! can be unplugged. Everything ends with the test, however it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A network namespace, which lives as long as the shell in it.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let mut shell = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo here && read -r _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        assert_eq!(line, "here\n", "it takes root to make a network");
        Self(shell)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(program);
        command
    }

    #[track_caller]
    fn ip(&self, arguments: &str) {
        let mut command = self.command("ip");
        let status = command.args(arguments.split(' ')).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "ip {arguments}"
        );
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The network.
pub(crate) struct Network {
    switch: Namespace,
    sides: Vec<Namespace>,
}

impl Network {
    /// A network whose sides have these last numbers of the addresses in 10.0.0.0/24.
    pub(crate) fn new<const N: usize>(addresses: [&[u8]; N]) -> Self {
        let network = Self {
            switch: Namespace::new(),
            sides: addresses.map(|_| Namespace::new()).into(),
        };
        network.switch.ip("link add switch type bridge");
        network.switch.ip("link set switch up");
        for (number, (side, addresses)) in network.sides.iter().zip(addresses).enumerate() {
            let cable = format!(
                "link add port{number} type veth peer name cable netns {}",
                side.0.id()
            );
            network.switch.ip(&cable);
            network.plug_in(number);
            network.switch.ip(&format!("link set port{number} up"));
            side.ip("link set lo up");
            side.ip("link set cable up");
            for address in addresses {
                side.ip(&format!("address add 10.0.0.{address}/24 dev cable"));
            }
        }
        network
    }

    /// A command that runs on one side.
    pub(crate) fn command(&self, side: usize, program: &str) -> Command {
        self.sides[side].command(program)
    }

    /// Nothing comes through to a side or from it any more, and nobody is told.
    pub(crate) fn unplug(&self, side: usize) {
        self.switch.ip(&format!("link set port{side} nomaster"));
    }

    pub(crate) fn plug_in(&self, side: usize) {
        self.switch
            .ip(&format!("link set port{side} master switch"));
    }
}
