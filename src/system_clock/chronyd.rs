//! Tells a chronyd on this machine the network's time, so that chronyd keeps the system's clock with
//! it: a sample for each correction, to its SOCK reference clock.

use std::io::{self, ErrorKind};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use crate::discipline::network_clock::NetworkClock;
use crate::rate_limit::Throttle;
use crate::system_clock::look::Look;
use crate::system_clock::servo::PERIOD;

/// What marks a sample: `SOCK`.
const MAGIC: i32 = 0x534f_434b;

/// A sample, as chronyd 2 to 4 read it (`struct sock_sample`): when it was taken by the system's
/// clock, and how far the network's time is ahead of that.
fn sample(wall: DateTime<Utc>, offset: TimeDelta) -> Vec<u8> {
    let micros = libc::suseconds_t::from(wall.timestamp_subsec_micros());
    [
        &(wall.timestamp() as libc::time_t).to_ne_bytes()[..],
        &micros.to_ne_bytes(),
        &offset.as_seconds_f64().to_ne_bytes(),
        // No pulse, whose second is unknown; no leap second; nothing.
        &[0; 12],
        &MAGIC.to_ne_bytes(),
    ]
    .concat()
}

/// Where a chronyd takes samples, or will.
#[derive(Debug)]
pub struct ChronySocket {
    path: PathBuf,
    address: SocketAddr,
    socket: UnixDatagram,
    state: State,
    told: Throttle,
}

/// Whether it takes them.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Untried,
    Taken,
    Refused(ErrorKind),
}

impl ChronySocket {
    /// The path that chronyd's configuration names. Nothing need be there yet.
    ///
    /// # Errors
    /// When no socket can have that path, or there can be none.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // Nobody waits for a chronyd that stands still.
        socket.set_nonblocking(true)?;
        Ok(Self {
            path: path.to_owned(),
            address: SocketAddr::from_pathname(path)?,
            socket,
            state: State::Untried,
            told: Throttle::default(),
        })
    }

    /// Sends a sample for each correction of `network` until `stopped` is disconnected. While nobody
    /// can tell how wrong the network's time is, chronyd is told nothing.
    pub(crate) fn run(mut self, network: &NetworkClock, stopped: &Receiver<()>) {
        let mut last = None;
        while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            let look = Look::at(network);
            let Some(aim) = look.aim.filter(|aim| aim.error.is_some()) else {
                continue;
            };
            if last.replace(aim.corrections) != Some(aim.corrections) {
                self.send(&sample(look.wall, aim.target - look.wall));
            }
        }
    }

    /// A sample that can't be sent is lost: the next one is better.
    fn send(&mut self, sample: &[u8]) {
        let sent = self.socket.send_to_addr(sample, &self.address);
        let state = match &sent {
            Ok(_) => State::Taken,
            Err(error) => State::Refused(error.kind()),
        };
        if self.state == state || self.told.admit(Instant::now()).is_none() {
            return;
        }
        self.state = state;
        let path = self.path.display();
        match sent {
            Ok(_) => log::info!("chronyd takes the network's time at {path}"),
            Err(error) => {
                let mend = if error.kind() == ErrorKind::PermissionDenied {
                    "chronyd makes it for root alone: run this program as root".to_owned()
                } else {
                    format!("does chronyd run, with `refclock SOCK {path}` in its configuration?")
                };
                log::warn!(
                    "chronyd does not take the network's time at {path}: {error}; trying again with \
                     each correction: {mend}"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use tempfile::TempDir;

    use crate::clock::WallClock;
    use crate::clock::{Clock, SteadyClock};
    use crate::discipline::steering::Steering;
    use crate::wire::correction::Correction;

    #[test]
    #[cfg_attr(not(target_pointer_width = "64"), ignore = "another layout")]
    fn the_bytes_are_those_of_the_structure() {
        let wall = DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap();
        let bytes = sample(wall, TimeDelta::microseconds(-1500));
        assert_eq!(bytes.len(), 40);
        let long = |at: usize| i64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((long(0), long(8)), (1_700_000_000, 123_456));
        let offset = f64::from_ne_bytes(bytes[16..24].try_into().unwrap());
        assert!((offset + 0.0015).abs() < 1e-12);
        assert_eq!(bytes[24..36], [0; 12]);
        assert_eq!(&bytes[36..40], &0x534f_434b_i32.to_ne_bytes());
    }

    fn chronyd(path: &Path) -> UnixDatagram {
        let _ = fs::remove_file(path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket
    }

    /// The offset of the next sample, in seconds.
    fn offset(chronyd: &UnixDatagram) -> f64 {
        let mut bytes = [0; 64];
        let length = chronyd.recv(&mut bytes).unwrap();
        assert_eq!(length, sample(WallClock.read(), TimeDelta::zero()).len());
        let at = size_of::<libc::timeval>();
        f64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn each_correction_is_a_sample_and_a_chronyd_that_comes_late_or_again_gets_the_next() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("sock");
        let socket = ChronySocket::new(&path).unwrap();
        let network = NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default());
        let correct = |milliseconds| {
            let correction = Correction {
                offset: TimeDelta::milliseconds(milliseconds),
                error: TimeDelta::microseconds(5),
                ..Correction::default()
            };
            network.correct(network.mark(), correction).unwrap();
        };
        let (stop, stopped) = mpsc::channel();
        let clock = network.clone();
        thread::scope(|scope| {
            scope.spawn(move || socket.run(&clock, &stopped));
            // Nobody is there for the first.
            correct(300);
            let first = chronyd(&path);
            let told = |chronyd: &UnixDatagram, expected: f64| {
                let offset = offset(chronyd);
                assert!((offset - expected).abs() < 0.01, "{offset} for {expected}");
            };
            // It may have come before the first look.
            first.set_read_timeout(Some(PERIOD * 4)).expect("a socket");
            let _ = first.recv(&mut [0; 64]);
            correct(200);
            told(&first, 0.5);
            drop(first);
            let second = chronyd(&path);
            correct(-100);
            told(&second, 0.4);
            second.set_read_timeout(Some(PERIOD * 3)).unwrap();
            let more = second.recv(&mut [0; 64]);
            assert!(more.is_err(), "one for each correction");
            drop(stop);
        });
    }

    #[test]
    fn a_chronyd_that_stands_still_holds_nobody_up() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("sock");
        let _deaf = chronyd(&path);
        let mut socket = ChronySocket::new(&path).unwrap();
        let sample = sample(WallClock.read(), TimeDelta::zero());
        while socket.state != State::Refused(ErrorKind::WouldBlock) {
            socket.send(&sample);
        }
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        let long = PathBuf::from("/".repeat(200));
        assert!(ChronySocket::new(&long).is_err());
    }
}
