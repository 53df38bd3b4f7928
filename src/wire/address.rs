//! Where a master is.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// The port of the Python programs, and ours.
pub const DEFAULT_PORT: u16 = 8080;

/// Where a master is: `host`, `host:port`, `address` or `[address]:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// A host name or address, and a port.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// The socket addresses that the name stands for, by whatever the machine asks for names.
    ///
    /// # Errors
    /// When the name is not known, or nobody can be asked.
    pub fn look_up(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        (self.host.as_str(), self.port).to_socket_addrs()
    }

    /// Connects to the first of these that answers, each of which has until `deadline`.
    ///
    /// # Errors
    /// When the name is not known, or nobody answers: what the last one came to.
    pub(crate) fn connect(&self, deadline: Duration) -> io::Result<TcpStream> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.look_up()? {
            match TcpStream::connect_timeout(&address, deadline) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
            let (host, rest) = bracketed.split_once(']').ok_or("there is no ]")?;
            match rest {
                "" => (host, None),
                _ => (
                    host,
                    Some(rest.strip_prefix(':').ok_or("only :PORT may follow ]")?),
                ),
            }
        } else if text.matches(':').count() > 1 {
            // An IPv6 address without brackets has no room for a port.
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("more than one : makes an IPv6 address, and this is none".to_owned());
        }
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err("a host name or address is missing".to_owned());
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(format!("{port:?} is not a port from 1 to 65535")),
            },
        };
        Ok(Self::new(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_a_port() {
        for (text, read) in [
            ("master", "master:8080"),
            ("master:90", "master:90"),
            ("10.0.0.1", "10.0.0.1:8080"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[::1]:8080"),
            ("[fe80::1]:90", "[fe80::1]:90"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), read);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "", ":80", "a:", "a:0", "a:65536", "a:b", "[::1", "[::1]80", "a b", "[]:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?} was accepted");
        }
    }
}
