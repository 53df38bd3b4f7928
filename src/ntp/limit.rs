//! How often one machine is answered: a bucket of tokens for each, one token an answer.
//!
//! A bucket is kept as the moment at which it will be full again (the generic cell rate algorithm):
//! a token taken puts that off by the time in which one comes back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::wire::machine::Machine;

/// How fast tokens come back, and how many a bucket holds.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_token: Duration,
    tokens: u32,
}

/// For one machine: 16 a second in the long run, which is as often as any client can be told to
/// ask, and 64 at once.
const EACH: Rate = Rate {
    per_token: Duration::from_micros(62_500),
    tokens: 64,
};

/// For all those together whom there is no room to remember.
const OTHERS: Rate = Rate {
    per_token: Duration::from_millis(1),
    tokens: 1000,
};

/// So many machines are remembered.
const MACHINES: usize = 4096;

/// How often it is looked who need not be remembered any more, and how often one is told that it
/// asks too often.
const PAUSE: Duration = Duration::from_secs(1);

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Answer,
    /// Who asks is told to ask less often.
    Kiss,
    /// Nothing is said.
    Silence,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// When it is full again.
    full: Instant,
    /// No kiss before.
    kiss: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self {
            full: now,
            kiss: now,
        }
    }

    fn take(&mut self, rate: Rate, now: Instant) -> Verdict {
        let full = self.full.max(now) + rate.per_token;
        if full <= now + rate.per_token * rate.tokens {
            self.full = full;
            Verdict::Answer
        } else if self.kiss <= now {
            self.kiss = now + PAUSE;
            Verdict::Kiss
        } else {
            Verdict::Silence
        }
    }

    /// Whether it says no more than a new one would.
    fn is_as_new(&self, now: Instant) -> bool {
        self.full <= now && self.kiss <= now
    }
}

/// How often each machine was answered lately. Its size is bounded, whoever asks.
#[derive(Debug)]
pub struct Limiter {
    machines: HashMap<Machine, Bucket>,
    others: Bucket,
    /// When those were last forgotten who have not asked for a while.
    swept: Instant,
}

impl Limiter {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            machines: HashMap::new(),
            others: Bucket::new(now),
            swept: now,
        }
    }

    /// What becomes of a question that comes from this address now.
    pub fn admit(&mut self, from: IpAddr, now: Instant) -> Verdict {
        let machine = Machine::of(from);
        if let Some(bucket) = self.machines.get_mut(&machine) {
            return bucket.take(EACH, now);
        }
        if self.machines.len() >= MACHINES && now >= self.swept + PAUSE {
            self.machines.retain(|_, bucket| !bucket.is_as_new(now));
            self.swept = now;
        }
        if self.machines.len() >= MACHINES {
            return self.others.take(OTHERS, now);
        }
        let bucket = self.machines.entry(machine);
        bucket.or_insert(Bucket::new(now)).take(EACH, now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn machine(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(10 << 24 | number).into()
    }

    /// How many of so many questions, spread over a second, have each end.
    fn ask(limiter: &mut Limiter, from: IpAddr, questions: u32, second: Instant) -> [usize; 3] {
        let verdicts: Vec<_> = (0..questions)
            .map(|question| {
                limiter.admit(from, second + Duration::from_secs(1) * question / questions)
            })
            .collect();
        let count = |wanted| {
            verdicts
                .iter()
                .filter(|verdict| **verdict == wanted)
                .count()
        };
        [Verdict::Answer, Verdict::Kiss, Verdict::Silence].map(count)
    }

    #[test]
    fn who_asks_too_often_is_told_once_a_second_and_answered_as_often_as_others() {
        let began = Instant::now();
        let mut limiter = Limiter::new(began);
        let mut told = [0; 3];
        for second in 0..10 {
            let second = began + Duration::from_secs(second);
            let flood = ask(&mut limiter, machine(1), 50_000, second);
            told.iter_mut()
                .zip(flood)
                .for_each(|(sum, more)| *sum += more);
            // Another one has what it asks for.
            assert_eq!(ask(&mut limiter, machine(2), 16, second), [16, 0, 0]);
        }
        assert_eq!(told, [64 + 159, 10, 500_000 - 64 - 159 - 10]);
    }

    #[test]
    fn a_bucket_fills_again() {
        let began = Instant::now();
        let mut limiter = Limiter::new(began);
        let answered = |limiter: &mut Limiter, after| {
            let at = began + Duration::from_secs(after);
            let admits = |_: &u32| limiter.admit(machine(1), at) == Verdict::Answer;
            (0..100).filter(admits).count()
        };
        assert_eq!(answered(&mut limiter, 0), 64);
        assert_eq!(answered(&mut limiter, 1), 16);
        assert_eq!(answered(&mut limiter, 60), 64);
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_machine() {
        let began = Instant::now();
        let mut limiter = Limiter::new(began);
        let answered = (0..1000).filter(|number| {
            let from = format!("2001:db8::{number:x}").parse().unwrap();
            limiter.admit(from, began) == Verdict::Answer
        });
        assert_eq!(answered.count(), 64);
    }

    #[test]
    fn whoever_asks_from_many_addresses_makes_nothing_grow() {
        let began = Instant::now();
        let mut limiter = Limiter::new(began);
        let mut answered = |from: u32, at: Instant| {
            let all = from..from + 100_000;
            let answered =
                all.filter(|number| limiter.admit(machine(*number), at) == Verdict::Answer);
            let answered = answered.count();
            assert!(limiter.machines.len() <= MACHINES);
            answered
        };
        assert_eq!(answered(0, began), MACHINES + 1000);
        // Those who were remembered are forgotten as soon as they would be taken for new ones.
        assert_eq!(answered(200_000, began + 2 * PAUSE), MACHINES + 1000);
    }
}
