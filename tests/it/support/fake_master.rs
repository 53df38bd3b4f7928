//! A master that a test speaks for.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::support::programs::SOON;

/// A master's end of a port.
pub(crate) struct FakeMaster(TcpListener);

/// The master's end of a connection.
pub(crate) struct FakeLink {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
    n: u64,
}

impl FakeMaster {
    pub(crate) fn start() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// A follower that has connected and was greeted with these words.
    pub(crate) fn greet(&self, words: &str) -> FakeLink {
        let (stream, _) = self.0.accept().expect("a follower");
        stream.set_read_timeout(Some(SOON * 6)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let lines = BufReader::new(stream.try_clone().expect("a descriptor"));
        let mut link = FakeLink {
            stream,
            lines,
            n: 0,
        };
        link.line().expect("an opening");
        link.say(&format!("BERKELEY 1 {words}"));
        link
    }
}

impl FakeLink {
    pub(crate) fn say(&mut self, line: &str) {
        // The follower may have gone.
        let _ = self.stream.write_all(format!("{line}\n").as_bytes());
    }

    /// The next line, or `None` at the end of the connection.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    /// Asks for the time: the number of the question, t2 in nanoseconds, and the rate in ppb.
    #[track_caller]
    pub(crate) fn poll(&mut self) -> (u64, i64, i64) {
        self.n += 1;
        self.say(&format!("POLL {}", self.n));
        let line = self.line().expect("a time");
        let words: Vec<_> = line.split(' ').collect();
        let number = |word: &str| word.parse().expect("a number");
        let rate = words.iter().find_map(|word| word.strip_prefix("rate="));
        (self.n, number(words[2]), number(rate.expect("a rate")))
    }
}
