//! What a server does with packets, over real sockets.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use berkeley::internals::clock::SteadyClock;
use berkeley::{NetworkClock, NtpOptions, NtpServer, NtpServerError, Steering};

use crate::support::ntp_client::{Client, question};

/// A server whose clock no group has corrected.
fn server(listen: &str) -> NtpServer {
    let options = NtpOptions {
        listen: listen.parse().expect("an address"),
        ..NtpOptions::default()
    };
    NtpServer::start(clock(), options).expect("a server")
}

fn clock() -> NetworkClock {
    NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default())
}

#[test]
fn both_versions_are_answered_and_extension_fields_ignored() {
    let server = server("127.0.0.1:0");
    let client = Client::of(server.local_addr());
    for version in [3, 4] {
        let answer = client.ask_with(&question(version, &[])).expect("an answer");
        assert_eq!((answer.version, answer.mode), (version, 4));
    }
    let mut field = vec![7; 200];
    field[2..4].copy_from_slice(&200u16.to_be_bytes());
    assert!(client.ask_with(&question(4, &field)).is_some());
    assert_eq!(server.observer().status().counters.malformed, 0);
}

#[test]
fn what_is_no_question_is_not_answered() {
    let server = server("127.0.0.1:0");
    let (client, other) = (
        Client::of(server.local_addr()),
        Client::of(server.local_addr()),
    );
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sent = 0;
    // No more of them than are answered at once.
    for round in 0..50 {
        // A socket has room for some dozens.
        for _ in 0..30 {
            let length = random.usize(..1500);
            let mut bytes = vec![0; length];
            random.fill(&mut bytes);
            if let Some(first) = bytes.first_mut()
                && *first & 7 == 3
            {
                *first ^= 1;
            }
            client.0.send(&bytes).expect("a packet");
            sent += 1;
        }
        for bytes in [
            &question(4, &[])[..47],
            &question(2, &[]),
            &question(5, &[]),
            &question(3, &[0; 20]),
            &question(4, &[0; 20]),
            &question(4, &[0; 1400]),
        ] {
            client.0.send(bytes).expect("a packet");
            sent += 1;
        }
        // All of that was read when the next question is answered.
        println!("round {round}");
        other.ask();
    }
    assert_eq!(client.heard(Duration::from_millis(50)), 0);
    let malformed = server.observer().status().counters.malformed;
    assert!(
        malformed <= sent && malformed > sent / 2,
        "{malformed} of {sent}"
    );
}

#[test]
fn the_address_that_was_asked_answers() {
    let any = server("0.0.0.0:0");
    let port = any.local_addr().port();
    // A client takes no answer from an address that it did not ask.
    for asked in [[127, 0, 0, 1], [127, 0, 0, 9], [127, 3, 2, 1]] {
        let client = Client::of((asked, port).into());
        assert!(client.try_ask().is_some(), "{asked:?}");
    }
    // Whom all hear, nobody asks.
    let client = Client::of(any.local_addr());
    client.0.set_broadcast(true).expect("a socket");
    let all = SocketAddr::from(([127, 255, 255, 255], port));
    let caller = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    caller.set_broadcast(true).expect("a socket");
    caller.send_to(&question(4, &[]), all).expect("a packet");
    let patience = Some(Duration::from_millis(100));
    caller.set_read_timeout(patience).expect("a socket");
    assert!(caller.recv(&mut [0; 48]).is_err(), "an answer to all");
}

#[test]
fn ipv6_and_ipv4_may_share_a_socket() {
    let any = server("[::]:0");
    let port = any.local_addr().port();
    for asked in ["[::1]", "127.0.0.1", "127.0.0.9"] {
        let server: SocketAddr = format!("{asked}:{port}").parse().expect("an address");
        let own = if server.is_ipv6() {
            "[::1]:0"
        } else {
            "127.0.0.1:0"
        };
        let client = Client(UdpSocket::bind(own).expect("a socket"));
        client.0.connect(server).expect("an address");
        let patience = Some(Duration::from_millis(500));
        client.0.set_read_timeout(patience).expect("a socket");
        assert!(client.try_ask().is_some(), "{asked}");
    }
}

#[test]
fn who_drops_a_server_has_its_port_back_at_once() {
    let server = server("127.0.0.1:0");
    let (address, observer) = (server.local_addr(), server.observer());
    let taken = NtpServer::start(
        clock(),
        NtpOptions {
            listen: address,
            ..NtpOptions::default()
        },
    );
    assert!(matches!(taken, Err(NtpServerError::InUse(_))), "{taken:?}");
    let dropped = Instant::now();
    drop(server);
    assert!(dropped.elapsed() < Duration::from_secs(1));
    UdpSocket::bind(address).expect("a port");
    assert_eq!(observer.status().counters.answered, 0);
}

#[test]
fn what_no_client_would_take_is_refused() {
    let start = |stratum, seconds| {
        let options = NtpOptions {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            stratum,
            max_error: chrono::TimeDelta::seconds(seconds),
        };
        NtpServer::start(clock(), options).map(drop)
    };
    for stratum in [0, 1, 16] {
        let refused = start(stratum, 1);
        assert!(matches!(refused, Err(NtpServerError::Stratum(_))));
    }
    for seconds in [-1, 0, 17] {
        let refused = start(10, seconds);
        assert!(matches!(refused, Err(NtpServerError::MaxError(_))));
    }
    start(2, 16).expect("a server");
}
