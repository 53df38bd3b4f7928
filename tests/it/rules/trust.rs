//! A master says whom it trusts.

use std::process::Command;

use crate::support::programs::Program;

fn listening_on(address: &str) -> Program {
    let program = env!("CARGO_BIN_EXE_berkeley-master");
    Program::start(Command::new(program).args(["--listen", address]))
}

#[test]
fn a_master_that_others_reach_says_once_whom_that_trusts() {
    let said = |address| {
        let master = listening_on(address);
        master.line("Listening on ");
        let follower = Program::follower(
            master
                .transcript()
                .lines()
                .find_map(|line| line.split_once("Listening on "))
                .map(|(_, address)| address.replace("0.0.0.0", "127.0.0.1"))
                .expect("an address")
                .parse()
                .expect("an address"),
            &[],
        );
        follower.line("Synchronized time: ");
        master.line("Round 1: ");
        master.transcript().matches("without a key: ").count()
    };
    assert_eq!(said("0.0.0.0:0"), 1);
    assert_eq!(said("127.0.0.1:0"), 0);
}
