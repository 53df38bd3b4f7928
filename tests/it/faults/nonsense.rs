//! Peers that say what does not belong there.

use std::net::SocketAddr;

use super::group::{Group, LIMIT};
use super::peer::{OPENING, Peer};

/// Says it instead of the opening, and waits to be sent away.
fn as_opening(master: SocketAddr, said: &[u8]) {
    let mut peer = Peer::connected_to(master);
    peer.send(said);
    peer.last_words();
}

/// Says it instead of an answer, and waits to be told why it has to leave.
fn as_answer(master: SocketAddr, said: &[u8]) {
    let mut peer = Peer::polled_by(master);
    peer.send(said);
    let words = peer.last_words();
    let what = String::from_utf8_lossy(said);
    assert!(words.contains("BYE you sent "), "{what:.80}: {words:?}");
}

/// Says all this to a master, and looks at what its healthy followers notice.
fn said(fault: &str, openings: &[&[u8]], answers: &[&[u8]]) {
    let group = Group::new(3);
    let watch = group.watch();
    for opening in openings {
        as_opening(group.address(), opening);
    }
    for answer in answers {
        as_answer(group.address(), answer);
    }
    watch.rounds(8);
    watch.noticed().row(fault, LIMIT);
}

#[test]
fn garbage() {
    let openings: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"HELLO\n",
        b"\n\n\n",
        b"2024-01-02T03:04:05.678901\n",
        b"2024-13-45 99:99:99.999999\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    let answers: &[&[u8]] = &[
        b"HELLO\n",
        b"\n",
        b" TIME 1 1 1\n",
        b"time 1 1 1\n",
        b"POLL 1\n",
        b"ADJUST 1 1000000000 0\n",
        b"BERKELEY 1\n",
    ];
    said("garbage", openings, answers);
}

#[test]
fn over_long_lines() {
    let megabyte = vec![b'9'; 1 << 20];
    let long = [&b"TIME 1 1 1 "[..], &megabyte].concat();
    let openings: &[&[u8]] = &[&megabyte, &[OPENING, &megabyte].concat()];
    said("over-long lines", openings, &[&long, &vec![b' '; 257]]);
}

#[test]
fn binary_and_truncated_characters() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let nonsense: &[&[u8]] = &[
        &every_byte,
        &[0; 300],
        &[0xff; 300],
        "TIME µ".as_bytes(),
        b"\xe2\x82",
        b"TIME 1 1 \xf0\x9f\x98\n",
        b"TIME 1 1 1\0\n",
    ];
    said("binary, truncated UTF-8", nonsense, nonsense);
}

#[test]
fn numbers_at_and_beyond_every_limit() {
    let group = Group::new(3);
    let watch = group.watch();
    for beyond in [
        "TIME 1 9223372036854775808 9223372036854775808",
        "TIME 1 -9223372036854775809 1",
        "TIME 1 99999999999999999999999999999999999999999999 1",
        "TIME 18446744073709551616 1 1",
        "TIME 18446744073709551615 1 1",
        "TIME -1 1 1",
        "TIME 1 1 1 rate=20000001",
        "TIME 1 1 1 rate=-20000001",
        "TIME 1 1 1 rate=99999999999999999999",
        "TIME 1 -9223372036854775808 9223372036854775807",
        "TIME 1 9223372036854775807 -9223372036854775808",
        "TIME 1 1e3 1e3",
        "TIME 1 0x1 0x1",
        "TIME 1  1 1",
        "TIME 1 1",
        "TIME",
    ] {
        as_answer(group.address(), format!("{beyond}\n").as_bytes());
    }
    // At the limits it is a wrong clock, and is told to correct itself if it can be told.
    for at_the_limit in [
        "9223372036854775807 9223372036854775807 rate=20000000",
        "-9223372036854775808 -9223372036854775808 rate=-20000000",
        "0 0 rate=0",
    ] {
        let mut peer = Peer::polled_by(group.address());
        let mut n = 1;
        peer.send(format!("TIME {n} {at_the_limit}\n").as_bytes());
        while let Some(line) = peer.line() {
            assert!(!line.starts_with("BYE"), "{at_the_limit}: {line}");
            if line.starts_with("ADJUST") {
                break;
            }
            n += 1;
            peer.send(format!("TIME {n} {at_the_limit}\n").as_bytes());
        }
    }
    watch.rounds(8);
    watch
        .noticed()
        .row("numbers at and beyond every limit", LIMIT);
}

#[test]
fn answers_to_questions_not_asked() {
    let answers: &[&[u8]] = &[
        b"TIME 2 1 1\n",
        b"TIME 99 1 1\n",
        b"TIME 1 1 1\nTIME 1 1 1\n",
        &b"TIME 99 1 1\n".repeat(1000),
    ];
    said("answers to questions not asked", &[], answers);
}

#[test]
fn answers_that_left_before_the_question_came() {
    let answers: &[&[u8]] = &[
        b"TIME 1 2000 1000\n",
        b"TIME 1 1795427759000000001 1795427759000000000\n",
        // Longer between the two than the question and the answer took together.
        b"TIME 1 0 3600000000000\n",
    ];
    said("TIME with t3 before t2", &[], answers);
}
