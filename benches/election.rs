//! Thousands of runs of the election's simulation: broken invariants, and how long things take.
//! `cargo bench --bench election -- RUNS`, 10,000 if it does not say.

#[path = "../tests/it/simulation/candidates/mod.rs"]
#[allow(dead_code, reason = "the scenarios need more of it")]
mod election;

use std::time::Instant;

use election::faults::{self, Outcome};

fn main() {
    let runs = std::env::args().find_map(|word| word.parse().ok());
    let runs: u64 = runs.unwrap_or(10_000);
    let mut broken = Vec::new();
    let mut outcomes: Vec<Outcome> = Vec::new();
    let began = Instant::now();
    let first = std::env::var("ELECTION_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + runs {
        let outcome = faults::run(seed);
        for fault in &outcome.faults {
            println!("seed {seed}: {fault}");
        }
        if !outcome.faults.is_empty() {
            broken.push(seed);
        }
        outcomes.push(outcome);
    }
    let mean = began.elapsed().as_secs_f64() * 1e3 / runs as f64;
    println!(
        "{runs} runs, {} with a broken invariant, {mean:.2} ms each",
        broken.len()
    );
    let corrections: u64 = outcomes.iter().map(|outcome| outcome.corrections).sum();
    println!("{corrections} corrections, {} a run", corrections / runs);
    println!(
        "{:<40} {:>9} {:>9} {:>9} {:>9}",
        "", "median", "99 %", "99.9 %", "worst"
    );
    let millis = |of: &dyn Fn(&Outcome) -> f64, what: &str| {
        let mut all: Vec<f64> = outcomes.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        let part = |part: f64| all[((all.len() - 1) as f64 * part) as usize];
        println!(
            "{what:<40} {:>9.3} {:>9.3} {:>9.3} {:>9.3}",
            part(0.5),
            part(0.99),
            part(0.999),
            part(1.0)
        );
    };
    let micros =
        |span: chrono::TimeDelta| span.num_microseconds().unwrap_or(i64::MAX) as f64 * 1e-3;
    millis(
        &|one| one.led_after[0] as f64 * 1e-6,
        "one leader in each part after, ms",
    );
    millis(
        &|one| one.led_after[1] as f64 * 1e-6,
        "one leader of all healed after, ms",
    );
    millis(&|one| micros(one.worst_skew), "worst skew of a cohort, ms");
    millis(
        &|one| micros(one.worst_moved),
        "worst correction within a cohort, ms",
    );
}
