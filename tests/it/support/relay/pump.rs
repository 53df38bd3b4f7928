//! One direction of one connection: a thread reads, another hands on when it is time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::{Pair, Shared, Toward};

/// What is read at once; the end of the stream when it is empty.
struct Piece {
    bytes: Vec<u8>,
    due: Instant,
}

struct Pump {
    shared: Arc<Shared>,
    pair: Pair,
    toward: Toward,
}

pub(super) fn start(shared: &Arc<Shared>, pair: &Pair, toward: Toward, seed: u64) {
    // Few: a sender to whom nobody listens has to notice it.
    let (pieces, taken) = mpsc::sync_channel(16);
    let pump = || Pump {
        shared: Arc::clone(shared),
        pair: pair.clone(),
        toward,
    };
    let (reader, writer) = (pump(), pump());
    super::start("relay reads", move || {
        reader.read(&pieces, &mut fastrand::Rng::with_seed(seed));
    });
    super::start("relay writes", move || writer.write(&taken));
}

impl Pump {
    fn ends(&self) -> (&TcpStream, &TcpStream) {
        match self.toward {
            Toward::Server => (&self.pair.client, &self.pair.server),
            Toward::Client => (&self.pair.server, &self.pair.client),
        }
    }

    fn read(&self, pieces: &SyncSender<Piece>, random: &mut fastrand::Rng) {
        let (mut from, _) = self.ends();
        let mut buffer = [0; 1024];
        let mut latest = Instant::now();
        while self.wait_for_voice() {
            let length = from.read(&mut buffer).unwrap_or(0);
            let now = Instant::now();
            let link = *self.shared.lock().link(self.toward);
            let mut delay = link.delay + link.jitter.mul_f64(random.f64());
            if let Some((probability, time)) = link.late
                && random.f64() < probability
            {
                delay += time;
            }
            // Nothing overtakes what was sent before it.
            latest = latest.max(now + delay);
            let piece = Piece {
                bytes: buffer[..length].to_vec(),
                due: latest,
            };
            if pieces.send(piece).is_err() || length == 0 {
                return;
            }
        }
    }

    fn write(&self, pieces: &Receiver<Piece>) {
        for piece in pieces {
            thread::sleep(piece.due.saturating_duration_since(Instant::now()));
            if !self.wait_for_voice() || !self.hand_on(&piece.bytes) {
                break;
            }
        }
        // An end goes through like anything else; the other direction may go on.
        let (from, to) = self.ends();
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
        self.shared.direction_ended(&self.pair);
    }

    fn wait_for_voice(&self) -> bool {
        let toward = self.toward;
        self.shared.wait_until(|state| !state.link(toward).silent)
    }

    /// Whether it could be handed on, and there may be more.
    fn hand_on(&self, bytes: &[u8]) -> bool {
        let (_, mut to) = self.ends();
        let mut rest = bytes;
        while let Some(drip) = self.drip()
            && !rest.is_empty()
        {
            let written = to.write_all(&rest[..1]);
            rest = &rest[1..];
            thread::sleep(drip);
            if written.is_err() || !self.wait_for_voice() {
                return false;
            }
        }
        !bytes.is_empty() && to.write_all(rest).is_ok()
    }

    fn drip(&self) -> Option<Duration> {
        self.shared.lock().link(self.toward).drip
    }
}
