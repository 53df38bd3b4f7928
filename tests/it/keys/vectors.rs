//! The vectors of `docs/handshake.md`, made anew by the library and by Python.

use std::collections::HashMap;
use std::process::Command;

use berkeley::internals::keys::code::Nonce;
use berkeley::internals::keys::group::GroupKeys;
use berkeley::internals::keys::handshake::{Called, Caller, claimed};
use berkeley::internals::keys::node_key::NodeKey;
use berkeley::internals::keys::secret::Secret;

const PAGE: &str = include_str!("../../../docs/handshake.md");

/// Makes every vector from the first one and from the nonces, by the text of the page alone.
const PYTHON: &str = include_str!("vectors.py");

/// The vectors, by their names.
fn vectors() -> HashMap<&'static str, &'static str> {
    let (_, after) = PAGE.split_once("## Test vectors").expect("a heading");
    let (_, block) = after.split_once("```text\n").expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    block
        .lines()
        .map(|line| (line[..22].trim(), &line[22..]))
        .collect()
}

#[test]
fn the_library_makes_the_vectors_of_the_page() {
    let given = vectors();
    let secret = Secret::from_hex(given["secret of the group"]).expect("64 digits");
    let opening = given["caller's opening"];
    let key = NodeKey::derive(&secret, claimed(opening).expect("an opening"));
    assert_eq!(key.secret.to_hex(), given["node key"]);
    assert_eq!(key.line(), given["line of the key"]);
    let nonce = |line: &str| -> Nonce {
        let (_, nonce) = line.split_once("nonce=").expect("a nonce");
        nonce[..32].parse().expect("32 digits")
    };
    let calls = Caller::new(&key, nonce(opening));
    assert_eq!(calls.opening(), opening);
    let theirs = nonce(given["called one's answer"]);
    let (called, answer) = Called::answer(&key.secret, opening, theirs);
    assert_eq!(answer, given["called one's answer"]);
    let (proof, mut ours) = calls.prove(&answer).expect("it holds the key");
    assert_eq!(proof, given["caller's proof"]);
    let mut theirs = called.proven(&proof).expect("it holds the key");
    for (codes, name) in [
        (&mut theirs, "called one's line 0"),
        (&mut ours, "caller's line 0"),
    ] {
        assert_eq!(sealed(codes, given[name]), given[name]);
    }
    let name = "called one's line 1";
    assert_eq!(sealed(&mut theirs, given[name]), given[name]);
    let certificate = GroupKeys::new(secret).certify(7).to_string();
    assert_eq!(certificate, given["certificate of term 7"]);
}

fn sealed(codes: &mut berkeley::internals::keys::codes::Codes, line: &str) -> String {
    let (line, _) = line.split_once(" mac=").expect("a code");
    let mut line = format!("{line}\n");
    codes.seal(&mut line);
    line.trim_end().to_owned()
}

#[test]
#[ignore = "needs python3"]
fn python_makes_the_vectors_of_the_page() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/handshake.md");
    let output = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(std::fs::File::open(page).expect("the page"))
        .output()
        .expect("python3 runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_eq!(output.stdout, b"11 vectors agree\n");
}
