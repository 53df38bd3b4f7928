//! A client of NTP that says what it was answered, with a codec of its own.

#![allow(
    dead_code,
    reason = "each test binary uses a part of this module, and is warned of the rest"
)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use berkeley::internals::clock::{Clock, WallClock};

/// How long an answer may take that comes at all.
const SOON: Duration = Duration::from_millis(500);

/// From 1900 to 1970, in seconds.
const UNIX_EPOCH: f64 = 2_208_988_800.0;

/// An answer, with all times in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answer {
    pub(crate) leap: u8,
    pub(crate) version: u8,
    pub(crate) mode: u8,
    pub(crate) stratum: u8,
    pub(crate) root_delay: f64,
    pub(crate) root_dispersion: f64,
    pub(crate) reference: [u8; 4],
    /// How far the server's clock is ahead of this machine's, and the round trip.
    pub(crate) offset: f64,
    pub(crate) delay: f64,
    /// For how long the server had the question, and for how long nobody had corrected its clock.
    pub(crate) held: f64,
    pub(crate) age: f64,
}

impl Answer {
    /// Whether a client may take the time.
    pub(crate) fn is_synchronized(&self) -> bool {
        self.leap != 3 && (1..=15).contains(&self.stratum)
    }

    /// How wrong the offset may be: the root distance, seen from the client.
    pub(crate) fn promised(&self) -> f64 {
        f64::midpoint(self.delay, self.root_delay) + self.root_dispersion
    }
}

/// A question.
pub(crate) fn question(version: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    bytes[0] = version << 3 | 3;
    bytes[2] = 4;
    fastrand::fill(&mut bytes[40..]);
    bytes.extend(rest);
    bytes
}

/// A client, at an address of its own.
pub(crate) struct Client(pub(crate) UdpSocket);

impl Client {
    pub(crate) fn of(server: SocketAddr) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, server)
    }

    pub(crate) fn at(address: Ipv4Addr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((address, 0)).expect("a socket");
        socket.connect(server).expect("an address");
        socket.set_read_timeout(Some(SOON)).expect("a socket");
        Self(socket)
    }

    /// Asks once; `None` if there is no answer.
    pub(crate) fn try_ask(&self) -> Option<Answer> {
        self.ask_with(&question(4, &[]))
    }

    /// Asks until there is an answer: UDP may lose one.
    #[track_caller]
    pub(crate) fn ask(&self) -> Answer {
        let answer = (0..20).find_map(|_| self.try_ask());
        answer.expect("an answer")
    }

    /// What this question is answered.
    pub(crate) fn ask_with(&self, question: &[u8]) -> Option<Answer> {
        let sent = now();
        self.0.send(question).ok()?;
        let mut bytes = [0; 2048];
        loop {
            let length = self.0.recv(&mut bytes).ok()?;
            let came = now();
            assert_eq!(length, 48, "the length of an answer");
            // Late answers to earlier questions are not what was asked for.
            if bytes[24..32] == question[40..48] {
                return Some(understood(&bytes, sent, came));
            }
        }
    }

    /// How many packets there are to be read, within so long.
    pub(crate) fn heard(&self, patience: Duration) -> usize {
        let socket = &self.0;
        socket.set_read_timeout(Some(patience)).expect("a socket");
        let heard = std::iter::from_fn(|| socket.recv(&mut [0; 2048]).ok()).count();
        socket.set_read_timeout(Some(SOON)).expect("a socket");
        heard
    }
}

/// The time of this machine, in seconds since some moment of today: floats have few digits.
fn now() -> f64 {
    let now = WallClock.read();
    seconds(
        now.timestamp(),
        f64::from(now.timestamp_subsec_nanos()) * 1e-9,
    )
}

fn seconds(since_1970: i64, fraction: f64) -> f64 {
    since_1970.rem_euclid(86_400) as f64 + fraction
}

fn understood(bytes: &[u8], sent: f64, came: f64) -> Answer {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let time = |at| {
        let since_1970 = i64::from(word(at)) - UNIX_EPOCH as i64;
        seconds(since_1970, f64::from(word(at + 4)) / 2f64.powi(32))
    };
    let short = |at| f64::from(word(at)) / 65536.0;
    let (corrected, received, transmitted) = (time(16), time(32), time(40));
    Answer {
        leap: bytes[0] >> 6,
        version: bytes[0] >> 3 & 7,
        mode: bytes[0] & 7,
        stratum: bytes[1],
        root_delay: short(4),
        root_dispersion: short(8),
        reference: bytes[12..16].try_into().expect("four bytes"),
        offset: f64::midpoint(received - sent, transmitted - came),
        delay: (came - sent) - (transmitted - received),
        held: transmitted - received,
        age: transmitted - corrected,
    }
}
