//! Peers that a test speaks for.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::programs::{SOON, steady};

/// What a follower opens with that would rather be polled.
pub(crate) const OPENING: &[u8] = b"2024-01-02 03:04:05.678901\n";

/// The client's end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Peer {
    pub(crate) fn connected_to(master: SocketAddr) -> Self {
        let stream = TcpStream::connect(master).expect("the master accepts");
        stream.set_read_timeout(Some(SOON * 2)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let lines = BufReader::new(stream.try_clone().expect("a descriptor"));
        Self { stream, lines }
    }

    /// A peer that has opened and was asked its first question.
    pub(crate) fn polled_by(master: SocketAddr) -> Self {
        let mut peer = Self::connected_to(master);
        peer.send(OPENING);
        while !peer.line().expect("a poll").starts_with("POLL 1") {}
        peer
    }

    /// Whether the other end took it.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next line, or `None` at the end of the connection.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if is_timeout(error.kind()) => panic!("neither a line nor an end came"),
            Err(_) => None,
        }
    }

    /// Waits for the end of the connection, in which the master may have said why.
    pub(crate) fn last_words(mut self) -> String {
        let mut said = Vec::new();
        if let Err(error) = self.lines.read_to_end(&mut said) {
            assert!(!is_timeout(error.kind()), "the master keeps the connection");
        }
        String::from_utf8_lossy(&said).into_owned()
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What a lying clock shows, in nanoseconds since the Unix epoch.
pub(crate) trait Lie: Send + 'static {
    fn show(&mut self, honest: i64) -> i64;

    /// What else it says in each answer, with a space before it.
    fn words(&self) -> String {
        String::new()
    }

    /// The master says what to add.
    fn corrected(&mut self, _nanoseconds: i64) {}
}

/// A clock that is wrong as the function says.
impl<F: FnMut(i64) -> i64 + Send + 'static> Lie for F {
    fn show(&mut self, honest: i64) -> i64 {
        self(honest)
    }
}

/// A follower that answers every poll, and lies. It comes back when it is sent away.
pub(crate) struct Liar {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    pub(crate) fn of(master: SocketAddr, lie: impl Lie) -> Self {
        Self::over(move || TcpStream::connect(master), lie)
    }

    /// One that connects in a way of its own.
    pub(crate) fn over(
        connect: impl Fn() -> std::io::Result<TcpStream> + Send + 'static,
        mut lie: impl Lie,
    ) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let asked_to_stop = Arc::clone(&stopping);
        let run = move || {
            while !asked_to_stop.load(Ordering::SeqCst) {
                // The master may be gone, or have no room.
                let Ok(stream) = connect() else {
                    thread::sleep(Duration::from_millis(50));
                    continue;
                };
                let _ = answer(&stream, &mut lie, &asked_to_stop);
                let _ = stream.shutdown(Shutdown::Both);
            }
        };
        let thread = thread::Builder::new().name("liar".to_owned()).spawn(run);
        Self {
            stopping,
            thread: Some(thread.expect("a thread")),
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(
    mut stream: &TcpStream,
    tale: &mut impl Lie,
    stopping: &AtomicBool,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    stream.write_all(OPENING)?;
    let mut line = String::new();
    let mut lines = BufReader::new(stream);
    while !stopping.load(Ordering::SeqCst) {
        match lines.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if is_timeout(error.kind()) => continue,
            Err(error) => return Err(error),
        }
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["POLL", n, ..] => {
                let honest = steady().timestamp_nanos_opt().unwrap_or(0);
                let shown = tale.show(honest);
                let words = tale.words();
                stream.write_all(format!("TIME {n} {shown} {shown}{words}\n").as_bytes())?;
            }
            ["ADJUST", _, offset, ..] => tale.corrected(offset.parse().unwrap_or(0)),
            ["BYE", ..] => return Ok(()),
            _ => {}
        }
        line.clear();
    }
    Ok(())
}
