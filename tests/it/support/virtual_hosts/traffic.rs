//! Traffic in bursts to one host: UDP packets of 1,400 bytes at 30 Mbit/s, on and off.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

/// Tells a program to send, in the network's namespace, and for how many seconds.
pub(crate) const SECONDS: &str = "BERKELEY_TRAFFIC_SECONDS";

/// Where to: the second host, where nobody listens.
const TO: &str = "10.0.0.2:9";

const PACKET: usize = 1400;
const BITS_PER_SECOND: f64 = 30e6;

/// How long a burst, and a pause, lasts in the mean, in seconds.
const MEAN: f64 = 0.3;

/// Sends, if this program was told to. Whether it was.
pub(crate) fn send_if_told() -> bool {
    let Some(seconds) = std::env::var(SECONDS).ok() else {
        return false;
    };
    let seconds: f64 = seconds.parse().expect("a number");
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let began = Instant::now();
    let mut random = fastrand::Rng::with_seed(1);
    while began.elapsed().as_secs_f64() < seconds {
        let burst = Instant::now();
        let mut lasts = || -(1.0 - random.f64()).ln() * MEAN;
        let (length, pause) = (lasts(), lasts());
        let mut sent = 0.0;
        while burst.elapsed().as_secs_f64() < length {
            while sent < burst.elapsed().as_secs_f64() * BITS_PER_SECOND {
                // A host that says that nobody listens is no reason to stop.
                let _ = socket.send_to(&[0; PACKET], TO);
                sent += PACKET as f64 * 8.0;
            }
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_secs_f64(pause));
    }
    true
}
