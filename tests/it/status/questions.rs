//! `status` and `wait`.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use super::{Machine, clock, text, until};
use crate::support::programs::STOPPED_WITHIN;

#[test]
fn a_master_says_how_its_clocks_are() {
    let machine = Machine::new();
    let (master, address) = machine.master(&["--min-followers", "4", "--name", "ship"]);
    let followers = [("a", "0s"), ("b", "0s"), ("c", "2s"), ("far", "3h")].map(|(name, offset)| {
        let flags = ["--name", name, "--simulate-offset", offset];
        machine.follower(address, &flags)
    });
    // Steps bring all together in the first rounds; what is wrong for good is an outlier.
    let liar = machine.start(
        "berkeley-follower",
        &[
            &address.to_string(),
            "--name",
            "liar",
            "--wire",
            "timestamp",
            "--interval",
            "50ms",
            "--simulate-offset",
            "-1h",
        ],
    );
    let status = machine.status_when("berkeley-master", |status| {
        let round = &status["round"];
        let reached = |clock: &serde_json::Value| clock["reach"] == "11111111";
        round["number"].as_u64() > Some(9)
            && round["clocks"] == 6
            && status["clocks"]
                .as_array()
                .is_some_and(|all| all.iter().all(reached))
    });
    assert_eq!(status["version"], 1);
    assert_eq!(status["program"], "berkeley-master");
    assert_eq!(status["process"]["id"], master.id());
    assert_eq!(status["process"]["name"], "ship");
    assert_eq!(status["listen"], address.to_string());
    assert_eq!(status["lead"]["role"], "leads");
    assert_eq!(status["clock"]["synchronized"], true);
    assert!(status["clock"]["error_ns"].as_i64() < Some(50_000_000));
    let round = &status["round"];
    assert!(round["abandoned"].is_null() && round["average_ns"].is_i64());
    let yes = |name| clock(&status, name)["vote"] == "yes";
    let votes = ["master", "a", "b", "c", "far"].map(yes);
    assert_eq!(round["votes"], votes.iter().filter(|vote| **vote).count());
    let burst = &clock(&status, "a")["burst"];
    let delays: Vec<_> = burst["delays_ns"].as_array().unwrap().iter().collect();
    let won = burst["won"].as_u64().unwrap() as usize;
    assert_eq!(delays.len(), 8);
    let least = delays.iter().map(|delay| delay.as_i64()).min().unwrap();
    assert_eq!(delays[won].as_i64(), least);
    assert!(clock(&status, "a")["rate_ppm"].is_f64());
    let told = status["clocks"].as_array().unwrap().iter();
    let mut told = told.filter(|clock| clock["wire"] == "timestamp");
    assert!(told.next().unwrap()["delay_ns"].is_null());
    assert!(clock(&status, "a")["reputation"]["rounds"].as_u64() >= Some(8));
    assert!(status["counters"]["rounds_held"].as_u64() >= Some(8));

    let shown = machine.ask("berkeley-master", &["status"]);
    let shown = text(&shown.stdout);
    for part in [
        "berkeley-master ",
        " on ship, process ",
        "lead        leads, for ",
        "clocks agree",
        "reach",
        "11111111",
        "the system's clock is only read",
    ] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    liar.stops_at("TERM");
    let left = |status: &serde_json::Value| status["clocks"].as_array().unwrap().len() == 5;
    machine.status_when("berkeley-master", left);
    drop(followers);
    master.stops_at("TERM");
}

#[test]
fn a_follower_says_whom_it_follows_and_that_it_holds_over() {
    let machine = Machine::new();
    let (master, address) = machine.master(&[]);
    let flags = ["--simulate-offset", "5s", "--name", "deck"];
    let follower = machine.follower(address, &flags);
    let corrected =
        |status: &serde_json::Value| status["counters"]["corrections"].as_u64() > Some(2);
    let status = machine.status_when("berkeley-follower", corrected);
    assert_eq!(status["version"], 1);
    assert_eq!(status["master"], address.to_string());
    assert_eq!(status["clock"]["steps"], 1);
    assert_eq!(status["clock"]["steer"], "none");
    assert!(status["clock"]["holdover_s"].is_null());
    assert!(status["correction"]["error_ns"].is_i64());
    master.stops_at("TERM");
    let alone = |status: &serde_json::Value| status["clock"]["holdover_s"].is_f64();
    let status = machine.status_when("berkeley-follower", alone);
    assert!(status["master"].is_null());
    let shown = text(&machine.ask("berkeley-follower", &["status"]).stdout);
    for part in [
        "on deck, process",
        "follows     no master",
        "holdover    for ",
        "1 step made",
    ] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    // What a program has in the folder goes with it.
    follower.stops_at("TERM");
    assert_eq!(machine.sockets(), 0);
}

#[test]
fn three_candidates_say_who_leads() {
    let machine = Machine::new();
    let ports = [0, 1, 2].map(|_| crate::support::programs::refusing_port());
    let list: Vec<_> = ports
        .iter()
        .map(|(_, address)| address.to_string())
        .collect();
    drop(ports);
    let all = list.join(",");
    let start = |own: &String| {
        let flags = ["--listen", own, "--candidates", &all, "--interval", "200ms"];
        machine.start("berkeley-master", &flags)
    };
    let masters: Vec<_> = list.iter().map(start).collect();
    let followers: Vec<_> = (0..10)
        .map(|number| {
            let name = format!("f{number}");
            machine.start("berkeley-follower", &[&list[0], "--name", &name])
        })
        .collect();
    // One document for each, one a line.
    let documents = || -> Vec<serde_json::Value> {
        let output = machine.ask("berkeley-master", &["status", "--json"]);
        let lines = text(&output.stdout);
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let told = until(|| {
        let told = documents();
        let leader = told
            .iter()
            .filter(|status| status["lead"]["role"] == "leads");
        let whole = leader.clone().all(|status| status["round"]["clocks"] == 13);
        let followed = told
            .iter()
            .filter(|status| status["lead"]["role"] == "follows");
        (leader.count() == 1 && whole && followed.count() == 2).then_some(told)
    });
    for status in &told {
        assert_eq!(status["lead"]["leader"], list[0], "{status}");
        assert!(status["lead"]["term"].as_u64() >= Some(1));
        let candidates = status["lead"]["candidates"].as_array().unwrap();
        assert!(
            candidates
                .iter()
                .all(|candidate| candidate["present"] == true)
        );
    }
    let shown = text(&machine.ask("berkeley-master", &["status"]).stdout);
    assert_eq!(shown.matches("3 of 3 present").count(), 3, "{shown}");
    let mut masters = masters.into_iter();
    masters.next().unwrap().stops_at("TERM");
    let told = until(|| {
        let told = documents();
        // The second in the list, unless its clock has not been corrected yet.
        let next = |status: &&serde_json::Value| {
            list[1..]
                .iter()
                .any(|other| status["lead"]["leader"] == *other)
        };
        let missing =
            |status: &&serde_json::Value| status["lead"]["candidates"][0]["present"] == false;
        (told.iter().filter(next).filter(missing).count() == 2).then_some(told)
    });
    assert!(told[0]["counters"]["lead_changes"].as_u64() >= Some(1));
    drop(followers);
}

#[test]
fn who_waits_goes_on_when_the_time_is_known() {
    let machine = Machine::new();
    let wait = |flags: &[&str]| machine.ask("berkeley-follower", &[&["wait"], flags].concat());
    let (master, address) = machine.master(&["--min-followers", "2"]);
    let first = machine.follower(address, &[]);
    // Nobody corrects anybody before both are here.
    let early = wait(&["--timeout", "300ms"]);
    assert_eq!(early.status.code(), Some(1));
    let said = text(&early.stderr);
    assert!(said.contains("the time is not known yet"), "{said}");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&["--error", "20ms", "--timeout", "30s"]));
        let second = machine.follower(address, &[]);
        let waited = waiting.join().unwrap();
        assert_eq!(waited.status.code(), Some(0), "{}", text(&waited.stderr));
        drop(second);
    });
    let strict = wait(&["--error", "1ns", "--timeout", "0s"]);
    assert_eq!(strict.status.code(), Some(1));
    let said = text(&strict.stderr);
    assert!(said.contains("only, not to 1 ns"), "{said}");
    // A machine whose master runs and no follower knows the time by its master.
    first.stops_at("TERM");
    assert_eq!(wait(&["--error", "1s"]).status.code(), Some(0));
    master.stops_at("TERM");
}

/// Asks the only program here, which answers like this.
fn answered_by(machine: &Machine, answer: impl FnOnce(UnixStream) + Send) -> String {
    let socket = machine.folder().join("berkeley-master-1.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = thread::scope(|scope| {
        scope.spawn(|| answer(listener.accept().unwrap().0));
        machine.ask("berkeley-master", &["status"])
    });
    assert_eq!(asked.status.code(), Some(1));
    assert!(asked.stdout.is_empty());
    std::fs::remove_file(socket).unwrap();
    text(&asked.stderr)
}

#[test]
fn who_asks_in_vain_is_told_why_in_one_line() {
    let machine = Machine::new();
    let asked = machine.ask("berkeley-master", &["status"]);
    assert_eq!(asked.status.code(), Some(1));
    let mut said = vec![(
        text(&asked.stderr),
        "no berkeley-master runs on this machine",
    )];
    let asked = machine.ask(
        "berkeley-master",
        &["status", "--socket", "/no/such/socket"],
    );
    assert_eq!(asked.status.code(), Some(1));
    said.push((text(&asked.stderr), "nobody answers at /no/such/socket"));
    let newer = |mut stream: UnixStream| {
        let document = br#"{"version":2,"program":"berkeley-master"}"#;
        stream.write_all(document).unwrap();
    };
    said.push((answered_by(&machine, newer), "version 2 of its status"));
    let other = |mut stream: UnixStream| stream.write_all(b"SSH-2.0-x\r\n").unwrap();
    said.push((answered_by(&machine, other), "is no Berkeley program"));
    said.push((answered_by(&machine, drop), "no answer came"));
    let hangs = |mut stream: UnixStream| drop(stream.read(&mut [0]));
    said.push((answered_by(&machine, hangs), "no answer came"));
    for (said, part) in said {
        assert!(said.contains(part), "no {part:?} in {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn one_of_several_that_does_not_answer_is_not_passed_over() {
    let machine = Machine::new();
    let (master, address) = machine.master(&[]);
    let follower = machine.follower(address, &[]);
    follower.line("Synchronized time: ");
    // What a program that was killed has left behind is of no interest.
    let left = machine.folder().join("berkeley-master-4194305.sock");
    drop(UnixListener::bind(&left).unwrap());
    let asked = machine.ask("berkeley-master", &["status"]);
    assert_eq!(asked.status.code(), Some(0), "{}", text(&asked.stderr));
    let waits = |flags: &[&str]| {
        let flags = [&["wait", "--error", "1s"], flags].concat();
        machine.ask("berkeley-master", &flags)
    };
    assert_eq!(waits(&[]).status.code(), Some(0));

    let hangs = machine.folder().join("berkeley-master-1.sock");
    let hangs = UnixListener::bind(hangs).unwrap();
    let began = std::time::Instant::now();
    let waited = waits(&["--timeout", "100ms"]);
    assert_eq!(waited.status.code(), Some(1));
    let said = text(&waited.stderr);
    assert!(said.contains("the program hangs"), "{said}");
    assert!(began.elapsed() < std::time::Duration::from_secs(4));
    thread::scope(|scope| {
        scope.spawn(|| {
            // The first two are those that have waited.
            for stream in hangs.incoming().map(Result::unwrap) {
                let document = br#"{"version":2,"program":"berkeley-master"}"#;
                if (&stream).write_all(document).is_ok() {
                    break;
                }
            }
        });
        let asked = machine.ask("berkeley-master", &["status"]);
        assert_eq!(asked.status.code(), Some(1));
        assert!(text(&asked.stdout).contains("leads, for "));
        let said = text(&asked.stderr);
        assert!(
            said.contains("berkeley-master-1.sock tells version 2"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    });
    let control = machine
        .folder()
        .join(format!("berkeley-master-{}.control", master.id()));
    let control = control.to_str().unwrap();
    let asked = machine.ask("berkeley-master", &["status", "--socket", control]);
    let said = text(&asked.stderr);
    assert!(
        said.contains("this socket takes orders; the status is at"),
        "{said}"
    );
    let socket = machine.socket("berkeley-master", &master);
    let asked = machine.ask(
        "berkeley-master",
        &["set", "--socket", socket.to_str().unwrap(), "+1s"],
    );
    assert_eq!(asked.status.code(), Some(1));
    let said = text(&asked.stderr);
    assert!(said.contains("gives the status; orders go to"), "{said}");
}

/// The names of all fields of a document.
fn fields(value: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                fields(value, found);
            }
        }
        serde_json::Value::Array(all) => all.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_documents_is_in_the_docs() {
    let machine = Machine::new();
    let http = ["--http", "127.0.0.1:0"];
    let (master, address) = machine.master(&[&http[..], &["--reference"]].concat());
    let follower = machine.follower(address, &[&http[..], &["--reference=5ms"]].concat());
    let sites = [super::site(&master), super::site(&follower)];
    follower.line("Synchronized time: ");
    let mut found = std::collections::BTreeSet::new();
    let led = |status: &serde_json::Value| {
        status["round"]["led_ppm"].is_f64() && clock(status, "master")["reference"].is_object()
    };
    fields(&machine.status_when("berkeley-master", led), &mut found);
    fields(&machine.status("berkeley-follower"), &mut found);
    assert!(found.len() > 60, "{found:?}");
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/status.md");
    let docs = std::fs::read_to_string(docs).expect("docs/status.md");
    // `correction.number`, `.ago_s` and the like.
    let named: std::collections::BTreeSet<_> = docs
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.rsplit('.').next())
        .collect();
    let missing: Vec<_> = found
        .iter()
        .filter(|field| !named.contains(field.as_str()))
        .filter(|field| !docs.contains(&format!("`{field}.")))
        .collect();
    assert!(missing.is_empty(), "docs/status.md lacks {missing:?}");
    for site in sites {
        let metrics = super::get(site, "/metrics");
        for name in metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP berkeley_"))
        {
            let (name, help) = name.split_once(' ').expect("a line of help");
            let told = docs.contains(&format!("`{name}`")) || docs.contains(&format!("`{name}{{"));
            assert!(told && !help.is_empty(), "docs/status.md lacks {name}");
        }
    }
}

#[test]
fn a_program_that_may_have_no_folder_runs_all_the_same() {
    let machine = Machine::new();
    std::fs::remove_dir(machine.folder()).unwrap();
    std::fs::write(machine.folder(), "").unwrap();
    let (master, _) = machine.master(&[]);
    master.log_line("`berkeley-master status` will not find this one");
    master.signal("TERM");
    let mut master = master;
    assert!(master.ends_within(STOPPED_WITHIN).success());
    std::fs::remove_file(machine.folder()).unwrap();
    std::fs::create_dir(machine.folder()).unwrap();
}
