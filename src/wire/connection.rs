//! A socket with a deadline for every whole message, not for every system call.

use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::wire::arrival::Receiver;
use crate::wire::line::LONGEST_LINE;

/// A message that has begun must be whole within this time, in either direction; so must the
/// first message of a connection.
pub(crate) const MESSAGE_DEADLINE: Duration = Duration::from_secs(10);

/// What waiting for bytes came to.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// These came.
    Bytes(&'a [u8]),
    /// The time is up and nothing came.
    Nothing,
    /// The peer has ended the connection.
    End,
}

/// One end of a connection, used by one thread.
pub(crate) struct Connection<'a> {
    stream: &'a TcpStream,
    /// On the heap: on the stack of its thread it would make each of ten thousand connections
    /// touch one more page of memory.
    buffer: Box<[u8; LONGEST_LINE]>,
    /// Where in the buffer the bytes are that have come and were not taken yet.
    unread: Range<usize>,
    /// The read time-out in force: setting the same one again would cost a system call between
    /// a question and its answer.
    wait: Cell<Option<Duration>>,
    receiver: Receiver,
    arrived: Option<DateTime<Utc>>,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(stream: &'a TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(MESSAGE_DEADLINE))?;
        Ok(Self {
            stream,
            buffer: Box::new([0; LONGEST_LINE]),
            unread: 0..0,
            wait: Cell::new(None),
            receiver: Receiver::new(stream),
            arrived: None,
        })
    }

    /// Waits for bytes, but no longer than `wait`, and takes all of them.
    pub(crate) fn read(&mut self, wait: Duration) -> io::Result<Incoming<'_>> {
        match self.fill(wait)? {
            Incoming::Bytes(_) => {}
            Incoming::Nothing => return Ok(Incoming::Nothing),
            Incoming::End => return Ok(Incoming::End),
        }
        let all = std::mem::take(&mut self.unread);
        Ok(Incoming::Bytes(&self.buffer[all]))
    }

    /// The bytes that have come and were not consumed yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.unread.clone()]
    }

    /// What the machine's wall clock showed when the kernel received the bytes that were shown
    /// last, if it tells: a thread that had to wait for a processor sees them later.
    pub(crate) fn arrived(&self) -> Option<DateTime<Utc>> {
        self.arrived
    }

    /// Takes the first `count` of the bytes that [`Connection::fill`] has shown.
    pub(crate) fn consume(&mut self, count: usize) {
        self.unread.start = (self.unread.start + count).min(self.unread.end);
    }

    /// Waits for bytes, but no longer than `wait`, and takes none of them: they are shown again
    /// until they are consumed.
    pub(crate) fn fill(&mut self, wait: Duration) -> io::Result<Incoming<'_>> {
        if !self.unread.is_empty() {
            return Ok(Incoming::Bytes(self.unread()));
        }
        // The operating system takes a time-out of zero for none at all.
        let wait = wait.max(Duration::from_millis(1));
        if self.wait.get() != Some(wait) {
            self.stream.set_read_timeout(Some(wait))?;
            self.wait.set(Some(wait));
        }
        let began = Instant::now();
        loop {
            match self.receiver.receive(self.stream, &mut *self.buffer) {
                Ok((0, _)) => return Ok(Incoming::End),
                Ok((length, arrived)) => {
                    self.arrived = arrived;
                    self.unread = 0..length;
                    return Ok(Incoming::Bytes(&self.buffer[..length]));
                }
                // A process that was stopped (Ctrl-Z) and goes on is interrupted in its wait.
                Err(error) if error.kind() == ErrorKind::Interrupted && began.elapsed() < wait => {}
                Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {
                    return Ok(Incoming::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends the whole of `message`. It may wait for so long until the peer takes the first bytes of
    /// it, and again until it has taken the last: [`MESSAGE_DEADLINE`].
    pub(crate) fn write(&mut self, message: &[u8]) -> io::Result<()> {
        // Nothing comes before the first write: messages say when they leave.
        let mut rest = write_some(self.stream, message)?;
        if rest.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + MESSAGE_DEADLINE;
        while !rest.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(reads_nothing());
            }
            self.stream.set_write_timeout(Some(left))?;
            rest = write_some(self.stream, rest)?;
        }
        self.stream.set_write_timeout(Some(MESSAGE_DEADLINE))
    }
}

/// Sends as much of it as the peer takes at once, within the write time-out; what is left.
fn write_some<'m>(mut stream: &TcpStream, message: &'m [u8]) -> io::Result<&'m [u8]> {
    match stream.write(message) {
        Ok(0) if !message.is_empty() => Err(ErrorKind::WriteZero.into()),
        Ok(length) => Ok(&message[length..]),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(message),
        Err(error) if is_timeout(&error) => Err(reads_nothing()),
        Err(error) => Err(error),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn reads_nothing() -> io::Error {
    io::Error::new(
        ErrorKind::TimedOut,
        format!(
            "it does not read within {} s what it is sent",
            MESSAGE_DEADLINE.as_secs()
        ),
    )
}
