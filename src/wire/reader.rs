//! Whole messages out of a connection, each of which has a deadline: a peer that begins one and
//! does not end it holds nobody up.

use std::io;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::wire::connection::{Connection, Incoming, MESSAGE_DEADLINE};
use crate::wire::line::{LineDecoder, Malformed};
use crate::wire::timestamp::{Decoder, FRACTION_WAIT, NotATimestamp, Received};

/// What waiting for a whole message came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard<Message> {
    /// This one came.
    Message(Message),
    /// The time is up, and no message is whole.
    Nothing,
    /// The peer has ended the connection.
    End,
}

/// Why no further message can be read from a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError<E> {
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error("it began a message and did not end it within {} s", MESSAGE_DEADLINE.as_secs())]
    Unfinished,
    #[error("{0}")]
    Malformed(E),
}

/// By when the message has to be whole that has begun, if one has.
#[derive(Debug, Default)]
struct MessageDeadline(Option<Instant>);

impl MessageDeadline {
    /// Notes that a message is unfinished, or that none is.
    fn note(&mut self, unfinished: bool, now: Instant) {
        if unfinished {
            self.0.get_or_insert(now + MESSAGE_DEADLINE);
        } else {
            self.0 = None;
        }
    }

    /// How long to wait for the next bytes, at most for `patience`; `None` when it is too late.
    fn wait(&self, patience: Duration, now: Instant) -> Option<Duration> {
        let Some(deadline) = self.0 else {
            return Some(patience);
        };
        let left = deadline.checked_duration_since(now)?;
        (!left.is_zero()).then(|| left.min(patience))
    }
}

/// The time for which one call waits.
struct Patience {
    whole: Duration,
    began: Option<Instant>,
}

impl Patience {
    fn new(whole: Duration) -> Self {
        Self { whole, began: None }
    }

    /// What is left of it; all of it when this is asked for the first time, so that the same time
    /// is waited for call after call, see [`Connection`].
    fn left(&mut self, now: Instant) -> Duration {
        let began = *self.began.get_or_insert(now);
        self.whole.saturating_sub(now.duration_since(began))
    }
}

/// Reads lines.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    decoder: LineDecoder,
    deadline: MessageDeadline,
}

impl LineReader {
    /// By when the line has to be whole that has begun, if one has.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline.0
    }

    /// Waits for a whole line, but no longer than `patience`. What comes after the line stays in
    /// the connection. `stamp` notes the moment at which bytes come, before they are looked at: a
    /// line is returned with that of its last ones. It is told when the kernel received them, if
    /// that is known, by the wall clock.
    pub(crate) fn next<Stamp>(
        &mut self,
        connection: &mut Connection,
        patience: Duration,
        stamp: impl Fn(Option<DateTime<Utc>>) -> Stamp,
    ) -> Result<Heard<(&str, Stamp)>, ReadError<Malformed>> {
        let mut patience = Patience::new(patience);
        loop {
            let now = Instant::now();
            let left = patience.left(now);
            let wait = self.deadline.wait(left, now);
            let wait = wait.ok_or(ReadError::Unfinished)?;
            if let Incoming::End = connection.fill(wait)? {
                return Ok(Heard::End);
            }
            let came = stamp(connection.arrived());
            let taken = self.take(connection.unread());
            let (taken, whole) = taken.map_err(ReadError::Malformed)?;
            connection.consume(taken);
            let now = Instant::now();
            self.deadline.note(self.decoder.is_in_line(), now);
            if whole {
                return Ok(Heard::Message((self.decoder.line(), came)));
            }
            if patience.left(now).is_zero() {
                return Ok(Heard::Nothing);
            }
        }
    }

    /// Takes bytes up to the end of a line: how many, and whether it has come.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        for (place, &byte) in bytes.iter().enumerate() {
            if self.decoder.push(byte)?.is_some() {
                return Ok((place + 1, true));
            }
        }
        Ok((bytes.len(), false))
    }
}

/// Reads timestamps.
#[derive(Debug)]
pub(crate) struct TimestampReader<Stamp> {
    decoder: Decoder<Stamp>,
    deadline: MessageDeadline,
    /// When bytes came last.
    came: Instant,
}

impl<Stamp: Clone> TimestampReader<Stamp> {
    pub(crate) fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            deadline: MessageDeadline::default(),
            came: Instant::now(),
        }
    }

    /// Waits for a whole timestamp, but no longer than `patience`. `stamp` notes the moment at
    /// which bytes come: a timestamp is returned with that of its first one.
    pub(crate) fn next(
        &mut self,
        connection: &mut Connection,
        patience: Duration,
        stamp: impl Fn(Option<DateTime<Utc>>) -> Stamp,
    ) -> Result<Heard<Received<Stamp>>, ReadError<NotATimestamp>> {
        let mut patience = Patience::new(patience);
        loop {
            let now = Instant::now();
            let mut wait = patience.left(now);
            if self.decoder.may_be_complete() {
                let fraction = FRACTION_WAIT.saturating_sub(now.duration_since(self.came));
                wait = wait.min(fraction);
            }
            let wait = self.deadline.wait(wait, now);
            match connection.fill(wait.ok_or(ReadError::Unfinished)?)? {
                Incoming::Bytes(_) => {
                    let came = stamp(connection.arrived());
                    let (taken, received) = take(&mut self.decoder, connection.unread(), &came)?;
                    connection.consume(taken);
                    self.came = Instant::now();
                    if received.is_some() {
                        self.deadline = MessageDeadline::default();
                    }
                    let unfinished = self.decoder.began().is_some();
                    self.deadline.note(unfinished, self.came);
                    if let Some(received) = received {
                        return Ok(Heard::Message(received));
                    }
                }
                Incoming::Nothing => {
                    let waited = self.came.elapsed() >= FRACTION_WAIT;
                    if waited && self.decoder.may_be_complete() {
                        self.deadline = MessageDeadline::default();
                        let flushed = self.decoder.flush().map_err(ReadError::Malformed)?;
                        return Ok(flushed.map_or(Heard::Nothing, Heard::Message));
                    }
                }
                Incoming::End => return Ok(Heard::End),
            }
            if patience.left(Instant::now()).is_zero() {
                return Ok(Heard::Nothing);
            }
        }
    }

    /// Whether a newline has followed a timestamp, see [`Decoder::newline_seen`].
    pub(crate) fn newline_seen(&self) -> bool {
        self.decoder.newline_seen()
    }
}

/// Takes bytes up to the end of a timestamp, with the newline after it if that has come along: how
/// many, and the timestamp.
fn take<Stamp: Clone>(
    decoder: &mut Decoder<Stamp>,
    bytes: &[u8],
    stamp: &Stamp,
) -> Result<(usize, Option<Received<Stamp>>), ReadError<NotATimestamp>> {
    let mut push = |byte| {
        let pushed = decoder.push(byte, stamp.clone());
        pushed.map_err(ReadError::Malformed)
    };
    for (place, &byte) in bytes.iter().enumerate() {
        let Some(received) = push(byte)? else {
            continue;
        };
        let mut taken = place + 1;
        if byte != b'\n' && bytes.get(taken) == Some(&b'\n') {
            push(b'\n')?;
            taken += 1;
        }
        return Ok((taken, Some(received)));
    }
    Ok((bytes.len(), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::thread;

    /// Longer than a busy machine pauses.
    const LONG: Duration = Duration::from_secs(20);

    /// Less than anybody waits for.
    const SHORT: Duration = Duration::from_millis(20);

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        theirs.set_nodelay(true).unwrap();
        (listener.accept().unwrap().0, theirs)
    }

    fn line(heard: Heard<(&str, ())>) -> String {
        match heard {
            Heard::Message((line, ())) => line.to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_come_one_by_one_however_they_were_cut() {
        let (ours, mut theirs) = connection();
        let mut connection = Connection::new(&ours).unwrap();
        let mut reader = LineReader::default();
        theirs.write_all(b"POLL 1\nPOLL 2\n\nPO").unwrap();
        for expected in ["POLL 1", "POLL 2", ""] {
            assert_eq!(
                line(reader.next(&mut connection, LONG, |_| ()).unwrap()),
                expected
            );
        }
        let nothing = reader.next(&mut connection, SHORT, |_| ()).unwrap();
        assert_eq!(nothing, Heard::Nothing);
        theirs.write_all(b"LL 3\n").unwrap();
        drop(theirs);
        assert_eq!(
            line(reader.next(&mut connection, LONG, |_| ()).unwrap()),
            "POLL 3"
        );
        let end = reader.next(&mut connection, LONG, |_| ()).unwrap();
        assert_eq!(end, Heard::End);
    }

    #[test]
    fn a_drip_of_bytes_is_no_line() {
        let (ours, mut theirs) = connection();
        let mut connection = Connection::new(&ours).unwrap();
        let mut reader = LineReader::default();
        thread::scope(|scope| {
            let (done, until) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                let pause = || until.recv_timeout(SHORT / 10);
                while pause() == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    theirs.write_all(b"x").unwrap();
                }
            });
            let began = Instant::now();
            let heard = reader.next(&mut connection, SHORT, |_| ()).unwrap();
            assert_eq!(heard, Heard::Nothing, "not whole in time");
            assert!(began.elapsed() < LONG);
            drop(done);
        });
    }

    #[test]
    fn a_message_has_a_deadline_from_its_beginning() {
        let mut deadline = MessageDeadline::default();
        let began = Instant::now();
        let day = Duration::from_hours(24);
        assert_eq!(deadline.wait(day, began), Some(day));
        deadline.note(true, began);
        let later = began + MESSAGE_DEADLINE / 2;
        // What comes in between makes it no longer.
        deadline.note(true, later);
        assert_eq!(deadline.wait(day, later), Some(MESSAGE_DEADLINE / 2));
        assert_eq!(deadline.wait(SHORT, later), Some(SHORT));
        assert_eq!(deadline.wait(day, began + MESSAGE_DEADLINE), None);
        deadline.note(false, later);
        assert_eq!(deadline.wait(day, later), Some(day));
    }

    #[test]
    fn timestamps_come_one_by_one_with_the_newline_that_came_along() {
        let (ours, mut theirs) = connection();
        let mut connection = Connection::new(&ours).unwrap();
        let mut reader = TimestampReader::new();
        let long = "2024-01-02 03:04:05.500000";
        let short = "2024-01-02 03:04:06";
        theirs
            .write_all(format!("{long}{short}{long}\n{short}").as_bytes())
            .unwrap();
        for (newline, text) in [(false, long), (false, short), (true, long), (true, short)] {
            let heard = reader.next(&mut connection, LONG, |_| ()).unwrap();
            let Heard::Message(received) = heard else {
                panic!("{heard:?} where {text} was to come");
            };
            assert_eq!(
                crate::wire::timestamp::parse(text.as_bytes()),
                Ok(received.time)
            );
            assert_eq!(reader.newline_seen(), newline, "{text}");
        }
    }

    #[test]
    fn a_fraction_is_waited_for_however_often_one_looks() {
        let (ours, mut theirs) = connection();
        let mut connection = Connection::new(&ours).unwrap();
        let mut reader = TimestampReader::new();
        theirs.write_all(b"2024-01-02 03:04:05").unwrap();
        let began = Instant::now();
        let brief = Duration::from_millis(1);
        while reader.next(&mut connection, brief, |_| ()).unwrap() == Heard::Nothing {}
        assert!(began.elapsed() >= FRACTION_WAIT, "{:?}", began.elapsed());
    }
}
