//! A client of the timestamp wire, as bare as `client.py`: it sends its clock with no newline and
//! is told the time in 26 characters.

#![allow(
    dead_code,
    reason = "each test binary uses a part of this module, and is warned of the rest"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use chrono::TimeDelta;

use crate::support::programs::{SOON, now, parse};

/// How much later than its interval a correction may come: connections look for commands every
/// 100 ms, and the machine may be busy.
pub(crate) const GRACE: Duration = Duration::from_millis(300);

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// How far its clock is ahead of the machine's.
    ahead: TimeDelta,
}

impl Client {
    /// A client that has not reported yet.
    pub(crate) fn connect(master: SocketAddr, ahead: TimeDelta) -> Self {
        let stream = TcpStream::connect(master).expect("the master accepts");
        stream.set_nodelay(true).expect("a socket");
        stream.set_write_timeout(Some(SOON)).expect("a socket");
        Self { stream, ahead }
    }

    /// A client that has reported its clock.
    pub(crate) fn join(master: SocketAddr, ahead: TimeDelta) -> Self {
        let client = Self::connect(master, ahead);
        client.report();
        client
    }

    /// What the master calls it.
    pub(crate) fn name(&self) -> String {
        self.stream.local_addr().expect("a socket").to_string()
    }

    /// What it would report now.
    pub(crate) fn timestamp(&self) -> String {
        (now() + self.ahead)
            .format("%Y-%m-%d %H:%M:%S%.6f")
            .to_string()
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        (&self.stream).write_all(bytes).expect("the master reads");
    }

    pub(crate) fn report(&self) {
        self.send(self.timestamp().as_bytes());
    }

    /// How far the time that it is told next is ahead of this machine's clock; `None` when
    /// nothing is told within `patience`.
    pub(crate) fn hear(&self, patience: Duration) -> Option<TimeDelta> {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("a socket");
        let mut told = [0; 26];
        match (&self.stream).read_exact(&mut told) {
            Ok(()) => {
                let told = std::str::from_utf8(&told).expect("ASCII");
                Some(parse(told) - now())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("the master ended the connection: {error}"),
        }
    }

    /// Takes part in so many rounds, each of which has to come on time: what it is told, as in
    /// [`Client::hear`].
    pub(crate) fn take_part(&self, rounds: usize, interval: Duration) -> Vec<TimeDelta> {
        (1..=rounds)
            .map(|round| {
                let told = self
                    .hear(interval + GRACE)
                    .unwrap_or_else(|| panic!("{} was told nothing in round {round}", self.name()));
                self.report();
                told
            })
            .collect()
    }

    /// Waits until the master has ended the connection: what it sent before.
    pub(crate) fn until_end(&self) -> String {
        self.stream.set_read_timeout(Some(SOON)).expect("a socket");
        let mut sent = Vec::new();
        let end = (&self.stream).read_to_end(&mut sent);
        assert!(
            !end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "the master keeps the connection",
        );
        String::from_utf8_lossy(&sent).into_owned()
    }
}
