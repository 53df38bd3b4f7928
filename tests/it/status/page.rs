//! The page, in a real browser. `BERKELEY_SCREENSHOTS` names a folder for pictures of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Machine, site};
use crate::support::browser::Browser;

/// Keeps a picture, if that was asked for.
fn picture(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("BERKELEY_SCREENSHOTS") {
        browser.picture(&PathBuf::from(folder).join(name));
    }
}

/// Once the round is drawn: what was drawn, with the document that it was drawn from.
const DRAWN: &str = r#"(() => {
    const canvas = document.getElementById("clocks");
    const dense = canvas.width / canvas.clientWidth, copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const pen = copy.getContext("2d", { willReadFrequently: true });
    pen.drawImage(canvas, 0, 0);
    const painted = (x, y) => {
        const box = pen.getImageData(x * dense - 3, y * dense - 3, 7, 7).data;
        for (let byte = 3; byte < box.length; byte += 4) if (box[byte] > 200) return true;
        return false;
    };
    const rows = [...document.getElementById("rows").rows].map(row => ({
        name: row.dataset.name, vote: row.dataset.vote, x: Number(row.dataset.x),
        offset: Number(row.dataset.offset),
        painted: painted(Number(row.dataset.x), Number(row.dataset.y)),
        text: [...row.cells].map(cell => cell.textContent).join(" | "),
    }));
    return { width: canvas.clientWidth, unit: Number(canvas.dataset.unit),
        most: Number(canvas.dataset.most), rows, status: state.status,
        round: Number(document.documentElement.dataset.round),
        summary: document.getElementById("summary").textContent };
})()"#;

/// Shows a thousand clocks; how long a frame of the round takes to be drawn, in milliseconds.
const THOUSAND: &str = r#"(() => {
    pause(true);
    const status = structuredClone(state.status), like = status.clocks[1];
    status.clocks = Array.from({ length: 1000 }, (_, number) => ({ ...like,
        address: number ? like.address : null, name: "f" + number,
        offset_ns: (number * 7919 % 2000 - 1000) * 1000, vote: number % 9 ? "yes" : "outlier" }));
    status.round.number += 1000;
    show(status);
    const began = performance.now();
    for (let frame = 0; frame < 30; frame++) drawClocks(frame / 30);
    document.getElementById("clocks").getContext("2d").getImageData(0, 0, 1, 1);
    return (performance.now() - began) / 30;
})()"#;

const SETTLED: &str = r#"document.getElementById("clocks").dataset.settled === "yes""#;

/// Where a clock of the document has to be, by the scale that the page says it has: linear within
/// `unit`, logarithmic beyond.
fn place(drawn: &Value, offset: f64) -> f64 {
    let number = |name: &str| drawn[name].as_f64().expect("a number");
    let (half, unit) = (number("width") / 2.0, number("unit"));
    half + (half - 12.0) * (offset / unit).asinh() / (number("most") / unit).asinh()
}

/// Every clock of the document that was drawn is where the document says. Who has which vote.
fn check(drawn: &Value) -> Vec<(String, String)> {
    let status = &drawn["status"];
    let average = status["round"]["average_ns"].as_f64().expect("an average");
    let clocks = status["clocks"].as_array().expect("clocks");
    let rows = drawn["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), clocks.len());
    let check = |clock: &Value| {
        let row = rows.iter().find(|row| row["name"] == clock["name"]);
        let row = row.expect("a row for each clock");
        let expected = place(
            drawn,
            clock["offset_ns"].as_f64().expect("an offset") - average,
        );
        let x = row["x"].as_f64().expect("a place");
        assert!(
            (x - expected).abs() < 0.5,
            "{x} where {expected} is due: {row}"
        );
        assert_eq!(row["painted"], true, "{row}");
        assert_eq!(row["vote"], clock["vote"]);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        (text(&row["name"]), text(&row["vote"]))
    };
    clocks.iter().map(check).collect()
}

#[test]
#[ignore = "needs Chromium"]
fn the_page_shows_a_live_group() {
    let machine = Machine::new();
    let flags = [
        "--http",
        "127.0.0.1:0",
        "--interval",
        "1s",
        "--min-followers",
        "6",
    ];
    let flags = [&["--listen", "127.0.0.1:0"], &flags[..]].concat();
    let master = machine.start("berkeley-master", &flags);
    let (address, page) = (master.address(), format!("http://{}/", site(&master)));
    let names = ["bridge", "deck", "engine", "galley", "radio"];
    let mut followers: Vec<_> = names
        .iter()
        .map(|name| machine.follower(address, &["--name", name, "--simulate-drift", "20"]))
        .collect();
    // On the timestamp wire it can't follow its corrections, and it gains 10 ms in a second.
    let fast = [
        "--wire",
        "timestamp",
        "--interval",
        "100ms",
        "--simulate-drift",
        "10000",
    ];
    followers.push(machine.follower(address, &fast));
    let mut browser = Browser::start();
    browser.size(1280, 1180, false);
    browser.open(&page);
    browser.wait_for("document.documentElement?.dataset.round > 0");
    browser.wait_for(SETTLED);
    let first = browser.evaluate(DRAWN);
    let votes = check(&first);
    assert_eq!(votes.len(), 7);
    let summary = first["summary"].as_str().expect("text");
    assert!(summary.contains("clocks vote, average"), "{summary}");

    // A round changes the picture.
    let round = first["round"].as_u64().expect("a number");
    browser.wait_for(&format!(
        "document.documentElement.dataset.round > {}",
        round + 6
    ));
    browser.wait_for(SETTLED);
    let later = browser.evaluate(DRAWN);
    let votes = check(&later);
    let outliers: Vec<_> = votes.iter().filter(|(_, vote)| vote == "outlier").collect();
    assert!(
        outliers.len() == 1 && outliers[0].0.starts_with("127.0.0.1:"),
        "{votes:?}"
    );
    let rows = later["rows"].as_array().expect("rows").iter();
    let mut told = rows.filter(|row| row["name"] == outliers[0].0);
    let told = told.next().expect("a row")["text"].to_string();
    assert!(told.contains("| outlier |"), "{told}");
    assert_ne!(first["summary"], later["summary"]);
    // By the keyboard: the next clock is chosen, and its burst and rate are told.
    browser.evaluate("document.getElementById('clocks').focus(); choose('deck')");
    browser.press("ArrowDown", 40);
    let chosen = "document.getElementById('h-one').textContent";
    assert_eq!(browser.evaluate(chosen), "One clock: engine");
    let told = browser.evaluate("document.getElementById('burst-text').textContent");
    assert!(
        told.as_str()
            .is_some_and(|told| told.contains("of 8 waited least")),
        "{told}"
    );
    picture(&mut browser, "page-desktop.png");
    // The page of the live group stands still while it is given a thousand clocks.
    let frame = browser.evaluate(THOUSAND).as_f64().expect("milliseconds");
    println!("a frame of 1,000 clocks takes {frame:.1} ms");
    assert!(frame < 33.0, "a frame of 1,000 clocks takes {frame} ms");
    assert_eq!(browser.evaluate("state.points.length"), 1000);
    assert_eq!(
        browser.evaluate("document.getElementById('rows').rows.length"),
        200
    );
    browser.evaluate("pause(false); tick(); 0");
    browser.wait_for("state.clocks.length < 10");
    browser.size(390, 844, true);
    browser.wait_for("document.getElementById('clocks').clientWidth < 400");
    let wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(
        browser.evaluate(wide),
        true,
        "a phone has to scroll sideways"
    );
    picture(&mut browser, "page-phone.png");
    browser.colours("dark");
    picture(&mut browser, "page-dark.png");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
#[ignore = "needs Chromium"]
fn the_page_of_a_follower_shows_a_growing_cone_without_a_master() {
    let machine = Machine::new();
    let (master, address) = machine.master(&[]);
    let follower = machine.follower(address, &["--http", "127.0.0.1:0", "--name", "mast"]);
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", site(&follower)));
    let cone = "document.getElementById('cone-text')?.textContent";
    browser.wait_for(&format!("{cone}.includes('corrected from round to round')"));
    assert_eq!(
        browser.evaluate("document.getElementById('list').hidden"),
        true
    );
    master.stops_at("TERM");
    browser.wait_for(&format!("{cone}.includes('(holdover), so this grows')"));
    browser.wait_for("state.errors.filter(error => error.hold).length > 2");
    let grows = "state.errors.filter(error => error.hold).every((error, look, all) => !look || error.ns > all[look - 1].ns)";
    assert_eq!(browser.evaluate(grows), true);
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
#[ignore = "needs Chromium"]
fn a_record_is_replayed_round_by_round() {
    let machine = Machine::new();
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/worked-example.csv");
    let record = record.display().to_string();
    let flags = ["replay", &record, "--http", "127.0.0.1:0"];
    let master = machine.start("berkeley-master", &flags);
    let page = format!("http://{}/", site(&master));
    let mut browser = Browser::start();
    browser.open(&page);
    browser.wait_for("document.documentElement?.dataset.round > 0");
    browser.evaluate("go(0)");
    browser.wait_for("document.documentElement?.dataset.round == 1");
    browser.wait_for(SETTLED);
    let first = browser.evaluate(DRAWN);
    check(&first);
    let rows = first["rows"].to_string();
    // By +16 and -18 minutes.
    for part in ["slow", "fast", "+16.00 min", "−18.00 min"] {
        assert!(rows.contains(part), "no {part} in {rows}");
    }
    browser.evaluate("document.getElementById('step').click()");
    browser.wait_for("document.documentElement?.dataset.round == 2");
    browser.evaluate("document.getElementById('back').click()");
    browser.wait_for("document.documentElement?.dataset.round == 1");
    browser.evaluate(
        "document.getElementById('speed').value = '20'; document.getElementById('pause').click()",
    );
    browser.wait_for("document.documentElement?.dataset.round == 12");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
    master.stops_at("TERM");
}

#[test]
#[ignore = "needs Chromium"]
fn a_record_tells_rates_and_references_and_why_a_clock_has_no_vote() {
    let machine = Machine::new();
    let record = machine.folder().join("record.csv");
    let mut rows =
        "time,round,node,address,offset_ns,delay_ns,vote,correction_ns,error_ns,rate_ppm,\
                    reference,reference_ns,led_ppm\n"
            .to_owned();
    for round in 1..=3 {
        let rate = f64::from(round) * 0.5;
        let time = format!("2026-11-24T14:00:0{round}Z,{round}");
        let round = format!(
            "{time},master,,0,,yes,0,10,{rate},,,12.5\n\
             {time},gps,10.0.0.1:1,1000,20,yes,-500,10,-3.25,followed,40000000,12.5\n\
             {time},twin,10.0.0.1:2,0,20,same machine,0,10,,,,12.5\n"
        );
        rows.push_str(&round);
    }
    std::fs::write(&record, rows).expect("a file");
    let flags = [
        "replay",
        record.to_str().expect("a name"),
        "--http",
        "127.0.0.1:0",
    ];
    let master = machine.start("berkeley-master", &flags);
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", site(&master)));
    browser.wait_for("document.documentElement?.dataset.round == 3");
    let summary = browser.evaluate("document.getElementById('summary').textContent");
    let summary = summary.as_str().expect("text");
    let led = "1 of 1 references followed, +40.00 ms from the group: led at +12.500 ppm.";
    assert!(summary.ends_with(led), "{summary}");
    let mut told = |name: &str, of: &str| {
        browser.evaluate(&format!("choose('{name}')"));
        let text = browser.evaluate(&format!("document.getElementById('{of}').textContent"));
        text.as_str().expect("text").to_owned()
    };
    assert!(told("gps", "rate-text").contains("−3.250 ppm, the last 3 looks"));
    assert!(told("gps", "facts").contains("+40.00 ms from the group, which is led towards it"));
    assert!(told("twin", "facts").contains("Other connections from its address have the vote."));
    assert_eq!(told("twin", "rate-text"), "This clock tells no rate.");
    let chosen =
        "[...document.querySelectorAll('[aria-current=true]')].map(it => it.textContent).join()";
    assert_eq!(browser.evaluate(chosen), "twin");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}
