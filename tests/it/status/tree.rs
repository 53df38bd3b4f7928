//! What a master says of the group above it: by its status, its metrics and on its page.

use std::path::Path;

use serde_json::Value;

use super::{Machine, get, site, text, until};
use crate::support::browser::Browser;
use crate::support::programs::Program;

/// One above the other, on one machine.
struct Tree {
    machine: Machine,
    top: Program,
    below: Program,
    /// The address of the one above.
    parent: String,
    _follower: Program,
}

impl Tree {
    fn start() -> Self {
        let machine = Machine::new();
        let (top, address) = machine.master(&[]);
        let parent = address.to_string();
        let flags = ["--parent", &parent, "--http", "127.0.0.1:0"];
        let (below, own) = machine.master(&flags);
        let follower = machine.follower(own, &["--name", "db1", "--simulate-offset", "1s"]);
        Self {
            machine,
            top,
            below,
            parent,
            _follower: follower,
        }
    }

    fn ask(&self, program: &Program, flags: &[&str]) -> String {
        let socket = self.machine.socket("berkeley-master", program);
        let socket = Path::to_str(&socket).expect("a name");
        let flags = [&["status", "--socket", socket], flags].concat();
        text(&self.machine.ask("berkeley-master", &flags).stdout)
    }

    fn status(&self, program: &Program) -> Value {
        serde_json::from_str(&self.ask(program, &["--json"])).expect("JSON")
    }

    /// What the lower one says of the tree as soon as this is so.
    #[track_caller]
    fn when(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        until(|| Some(self.status(&self.below)["tree"].take()).filter(|tree| wanted(tree)))
    }
}

#[test]
fn a_master_says_what_is_above_it_and_that_it_is_lost() {
    let tree = Tree::start();
    let http = site(&tree.below);
    let parent = tree.parent.as_str();
    let told = tree.when(|told| told["shift_ns"].is_i64() && told["clocks"] == 2);
    assert_eq!(told["parents"], serde_json::json!([parent]));
    assert_eq!(told["parent"], parent);
    assert!(told["error_ns"].as_i64() > Some(0), "{told}");
    let path = told["path"].as_array().expect("a path");
    assert_eq!(path.len(), 2, "{told}");
    let above = tree.status(&tree.top)["tree"].take();
    assert_eq!(above["path"], serde_json::json!([path[0]]));
    assert_eq!(above["parents"], serde_json::json!([]));
    let [first, last] = [0, 1].map(|place: usize| path[place].as_str().expect("text"));
    let said = tree.ask(&tree.below, &[]);
    for part in [
        format!(
            "above       {parent}, where this group counts as 2 clocks if that is believed there; last moved by "
        ),
        format!("; path {first} > {last}"),
    ] {
        assert!(said.contains(&part), "no {part:?} in\n{said}");
    }
    assert!(!tree.ask(&tree.top, &[]).contains("\nabove "));
    let told = get(http, "/metrics");
    for part in [
        "berkeley_group_clocks 2.0\n",
        "berkeley_parent_connected 1.0\n",
        "berkeley_tree_depth 1.0\n",
        "berkeley_parent_shift_seconds ",
        "berkeley_parent_error_seconds ",
    ] {
        assert!(told.contains(part), "no {part:?} in\n{told}");
    }

    tree.top.signal("KILL");
    let told = tree.when(|told| told["parent"].is_null() && told["shift_ns"].is_null());
    assert_eq!(told["path"], serde_json::json!([last]), "it is the top now");
    let said = tree.ask(&tree.below, &[]);
    let part = format!("above       no group ({parent}): going on alone");
    assert!(said.contains(&part), "no {part:?} in\n{said}");
    let told = get(http, "/metrics");
    assert!(told.contains("berkeley_parent_connected 0.0\n"), "{told}");
    assert!(told.contains("berkeley_tree_depth 0.0\n"), "{told}");
    assert!(!told.contains("parent_shift_seconds "), "{told}");
}

#[test]
#[ignore = "needs Chromium"]
fn the_page_of_a_master_says_what_is_above_it() {
    let tree = Tree::start();
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", site(&tree.below)));
    let lead = "document.getElementById('lead').textContent";
    browser.wait_for(&format!(
        "{lead}.includes('; below {}, as 2 clocks')",
        tree.parent
    ));
    tree.top.signal("KILL");
    browser.wait_for(&format!(
        "{lead}.includes('; no group above ({})')",
        tree.parent
    ));
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}
