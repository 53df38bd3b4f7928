//! A link's queue, filled by bursts of other traffic: what a token bucket filter makes of packets
//! that come half as fast again as it lets them go, on and off.

use fastrand::Rng;

use super::network::exponential;

/// Traffic in bursts.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// On the links to so many followers, the first ones.
    pub links: usize,
    /// When it begins and ends, in true time.
    pub from: i64,
    pub until: i64,
    /// A burst and the pause after it each last so long in the mean.
    pub mean: i64,
    /// The longest that a packet waits; what would wait longer is lost.
    pub longest: i64,
}

/// How long TCP waits before it sends again what was lost.
const RETRANSMISSION: i64 = 200_000_000;

/// The queue of one link. Moments are asked for in order.
#[derive(Debug, Clone)]
pub struct Queue {
    traffic: Traffic,
    at: i64,
    /// How long the next packet waits.
    depth: i64,
    is_burst: bool,
    changes: i64,
}

impl Queue {
    pub fn new(traffic: Traffic) -> Self {
        Self {
            traffic,
            at: traffic.from,
            depth: 0,
            is_burst: false,
            changes: traffic.from,
        }
    }

    /// How long a packet takes longer that comes at this moment, being sent again included.
    pub fn waiting(&mut self, now: i64, rng: &mut Rng) -> i64 {
        let mut sent = now;
        loop {
            self.pass_to(sent, rng);
            let is_full = self.is_burst && self.depth >= self.traffic.longest;
            // It gets in where another packet would have: two of three do.
            if !is_full || rng.u8(0..3) > 0 {
                return sent + self.depth - now;
            }
            sent += RETRANSMISSION;
        }
    }

    fn pass_to(&mut self, now: i64, rng: &mut Rng) {
        while self.at < now {
            if self.at >= self.changes {
                self.is_burst = !self.is_burst && self.at < self.traffic.until;
                let lasts = exponential(rng) * self.traffic.mean as f64;
                self.changes = self.at + 1 + lasts as i64;
            }
            let next = self.changes.min(now);
            let passed = next - self.at;
            self.depth = if self.is_burst {
                (self.depth + passed / 2).min(self.traffic.longest)
            } else {
                (self.depth - passed).max(0)
            };
            self.at = next;
        }
    }
}
