//! The relay itself: a fault that it does not make would be survived by everybody.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::group::wait_for;
use crate::support::programs::SOON;
use crate::support::relay::{BOTH, Callers, Link, Relay, Toward};

const MOMENT: Duration = Duration::from_millis(150);

/// What comes within the time; `None` if nothing does, and nothing at the end.
fn heard(mut stream: &TcpStream, within: Duration) -> Option<Vec<u8>> {
    stream.set_read_timeout(Some(within)).expect("a socket");
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

fn say(mut stream: &TcpStream, what: &[u8]) {
    stream.write_all(what).expect("it is taken");
}

/// A server, a relay to it, and both ends of a connection through it.
fn connected() -> (TcpListener, Relay, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let relay = Relay::to(listener.local_addr().expect("a socket"));
    let client = TcpStream::connect(relay.address()).expect("the relay");
    let (server, _) = listener.accept().expect("the relay calls");
    wait_for("the relay's connection", || relay.connections() == 1);
    (listener, relay, client, server)
}

#[test]
fn silence_one_way_holds_that_way_back_until_it_is_healed() {
    let (_listener, relay, client, server) = connected();
    relay.silence(&[Toward::Server]);
    say(&client, b"lost?");
    say(&server, b"heard");
    assert_eq!(heard(&client, SOON).as_deref(), Some(&b"heard"[..]));
    assert_eq!(heard(&server, MOMENT), None);
    relay.heal();
    assert_eq!(heard(&server, SOON).as_deref(), Some(&b"lost?"[..]));
}

#[test]
fn whoever_calls_into_silence_hangs_and_is_served_when_it_is_healed() {
    let (listener, relay, _client, server) = connected();
    for _ in 0..3 {
        relay.silence(&BOTH);
        for _ in 0..2 {
            let called = TcpStream::connect_timeout(&relay.address(), MOMENT);
            assert!(called.is_err(), "nobody answers");
        }
        relay.heal();
        let client = TcpStream::connect(relay.address()).expect("it is healed");
        say(&client, b"again");
        // None of the relay's own calls gets through.
        let (server, _) = listener.accept().expect("the relay calls");
        assert_eq!(heard(&server, SOON).as_deref(), Some(&b"again"[..]));
    }
    assert_eq!(relay.connections(), 4);
    relay.callers(Callers::Reset);
    let reset = TcpStream::connect(relay.address()).expect("it is accepted");
    assert!(matches!(heard(&reset, SOON).as_deref(), None | Some([])));
    assert_eq!(heard(&server, MOMENT), None, "the first goes on");
}

#[test]
fn a_cut_ends_both_ways_and_a_half_close_one() {
    let (_listener, relay, client, server) = connected();
    relay.half_close(Toward::Server);
    assert_eq!(heard(&server, SOON).as_deref(), Some(&b""[..]));
    say(&server, b"still here");
    assert_eq!(heard(&client, SOON).as_deref(), Some(&b"still here"[..]));
    relay.cut();
    assert_eq!(heard(&client, SOON).as_deref(), Some(&b""[..]));
}

#[test]
fn a_delay_and_a_drip_take_their_time() {
    let (_listener, relay, client, server) = connected();
    relay.set(Toward::Server, Link::delayed(MOMENT));
    let began = Instant::now();
    say(&client, b"late");
    assert_eq!(heard(&server, SOON).as_deref(), Some(&b"late"[..]));
    assert!(began.elapsed() >= MOMENT);
    relay.set(
        Toward::Server,
        Link {
            drip: Some(MOMENT),
            ..Link::CLEAR
        },
    );
    say(&client, b"ab");
    assert_eq!(heard(&server, SOON).as_deref(), Some(&b"a"[..]));
    assert_eq!(heard(&server, SOON).as_deref(), Some(&b"b"[..]));
}
