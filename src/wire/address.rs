//! Where a machine is: addresses as people write them, and as they are shown.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// The port of the Python programs, and ours.
pub const DEFAULT_PORT: u16 = 8080;

/// Where a master is: `host`, `host:port`, `address` or `[address]:port`.
///
/// A link-local address needs the network interface that leads there, as its zone:
/// `fe80::1%eth0`, `[fe80::1%eth0]:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing stands where the host belongs, or something with a space in it.
    #[error("a host name or address is missing, or has a space in it")]
    Host,
    /// It is a URL.
    #[error("an address is HOST or HOST:PORT, with no {0}:// before it and no / after it")]
    Url(String),
    /// Something else than `:PORT` follows a `]`, or there is none.
    #[error("after [ come an IPv6 address, ] and perhaps :PORT")]
    Brackets,
    /// More than one colon makes an IPv6 address, and this is none.
    #[error("more than one : makes an IPv6 address, and {0:?} is none")]
    Ipv6(String),
    /// A zone where none belongs.
    #[error("only a link-local IPv6 address has a zone, for example fe80::1%eth0")]
    Zone,
    /// The system knows no network interface of that name.
    #[error("this machine has no network interface {0:?}")]
    Interface(String),
    /// Not a port that can be connected to.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// Not an IP address and a port, where both are needed.
    #[error("an IP address of this machine and a port belong here, for example 0.0.0.0:8080")]
    SocketAddress,
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

    /// Whether who connects to this is certain to reach who listens on `listen` on the same machine: it
    /// is the same address, or the machine's own on any machine. No name is looked up, so not to be
    /// certain does not mean that it is another one.
    #[must_use]
    pub fn is_surely(&self, listen: SocketAddr) -> bool {
        let host = match self.host.as_str() {
            "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
            host => host.parse::<IpAddr>(),
        };
        let reaches = |host: IpAddr| {
            let own = host.is_loopback() || host.is_unspecified();
            let heard = listen.ip().is_unspecified() && (host.is_ipv4() || listen.is_ipv6());
            host == listen.ip() || own && heard
        };
        self.port == listen.port() && host.is_ok_and(reaches)
    }

    /// The socket addresses that the name stands for, by whatever the machine asks for names.
    ///
    /// # Errors
    /// When the name is not known, or nobody can be asked.
    pub fn look_up(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        // This knows zones, too, by their names and by their numbers.
        (self.host.as_str(), self.port).to_socket_addrs()
    }

    /// Connects to the first of these that answers, each of which has until `deadline`.
    ///
    /// # Errors
    /// When the name is not known, or nobody answers: what the last one came to.
    pub(crate) fn connect(&self, deadline: Duration) -> io::Result<TcpStream> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.look_up()? {
            let connected = if lacks_zone(address) {
                Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is link-local: the network interface is to be named too, as in fe80::1%eth0",
                ))
            } else {
                TcpStream::connect_timeout(&address, deadline)
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

fn lacks_zone(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0)
}

/// Reads an IP address and a port, with a zone or without: `0.0.0.0:8080`, `[fe80::1%eth0]:0`. No
/// name is looked up but that of a network interface.
///
/// # Errors
/// [`AddressError::SocketAddress`], [`AddressError::Zone`], [`AddressError::Interface`].
pub fn socket_address(text: &str) -> Result<SocketAddr, AddressError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.split_once("]:"));
    let (host, port) = bracketed.ok_or(AddressError::SocketAddress)?;
    let port: u16 = port.parse().map_err(|_| AddressError::SocketAddress)?;
    let (_, zone) = ipv6(host).map_err(|error| match error {
        AddressError::Zone => error,
        _ => AddressError::SocketAddress,
    })?;
    let unknown = || AddressError::Interface(zone.unwrap_or_default().to_owned());
    let mut found = (host, port).to_socket_addrs().map_err(|_| unknown())?;
    found.next().ok_or_else(unknown)
}

/// The address as it is shown: who comes over IPv4 to a socket of both families has an IPv4
/// address, not `[::ffff:192.0.2.1]`.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, address.port())),
        // Kept whole, with its zone.
        IpAddr::V6(_) => address,
    }
}

/// Reads an IPv6 address, and its zone if it has one.
fn ipv6(text: &str) -> Result<(Ipv6Addr, Option<&str>), AddressError> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let address: Ipv6Addr = address
        .parse()
        .map_err(|_| AddressError::Ipv6(text.to_owned()))?;
    match zone {
        Some(zone) if !address.is_unicast_link_local() || !is_zone(zone) => Err(AddressError::Zone),
        zone => Ok((address, zone)),
    }
}

/// Whether an interface may be called so: an address is one word of a line, and one item of a
/// list.
fn is_zone(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b',' | b'[' | b']');
    !text.is_empty() && text.bytes().all(fits)
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Self::new(host, address.port())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(AddressError::Url(scheme.to_owned()));
        }
        let (host, port) = split(text)?;
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(AddressError::Host);
        }
        if host.contains(':') {
            ipv6(host)?;
        } else if host.contains('%') {
            return Err(AddressError::Zone);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(AddressError::Port(port.to_owned())),
            },
        };
        Ok(Self::new(host, port))
    }
}

/// The host, and the port if there is one.
fn split(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(AddressError::Brackets)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AddressError::Brackets),
        };
    }
    Ok(match text.split_once(':') {
        // An IPv6 address without brackets has no room for a port.
        Some((_, rest)) if rest.contains(':') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    })
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
            ("fe80::1%eth0", "[fe80::1%eth0]:8080"),
            ("[fe80::1%3]:90", "[fe80::1%3]:90"),
            ("fe80::1%br-lan.7", "[fe80::1%br-lan.7]:8080"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), read);
        }
    }

    #[test]
    fn an_address_is_ones_own_only_where_it_can_be_no_other() {
        let any = "0.0.0.0:8080";
        for (text, listen, own) in [
            ("10.0.0.1", "10.0.0.1:8080", true),
            ("10.0.0.1:90", "10.0.0.1:8080", false),
            ("127.0.0.1", any, true),
            ("localhost", any, true),
            ("0.0.0.0", any, true),
            ("::1", "[::]:8080", true),
            ("127.0.0.1", "[::]:8080", true),
            ("::1", any, false),
            ("127.0.0.1", "10.0.0.1:8080", false),
            ("10.0.0.1", any, false),
            ("master", any, false),
        ] {
            let address: Address = text.parse().unwrap();
            let listen = socket_address(listen).unwrap();
            assert_eq!(address.is_surely(listen), own, "{text}, {listen}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "", ":80", "a:", "a:0", "a:65536", "a:b", "[::1", "[::1]80", "a b", "[]:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?} was accepted");
        }
        for text in [
            "fe80::1%",
            "[fe80::1%]:80",
            "::1%lo",
            "2001:db8::1%eth0",
            "10.0.0.1%eth0",
            "master%eth0",
            "fe80::1%eth0%1",
            "fe80::1%a,b",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Zone), "{text:?}");
        }
        let url = "http://10.0.0.1:8080/".parse::<Address>().unwrap_err();
        assert!(url.to_string().contains("no http://"), "{url}");
    }

    #[test]
    fn a_zone_survives_the_way_from_a_socket_and_back() {
        let socket: SocketAddr = "[fe80::1%3]:80".parse().unwrap();
        let address = Address::from(socket);
        assert_eq!(address.to_string(), "[fe80::1%3]:80");
        assert_eq!(address.to_string().parse(), Ok(address.clone()));
        assert_eq!(address.look_up().unwrap().collect::<Vec<_>>(), [socket]);
    }

    #[test]
    fn a_link_local_address_without_a_zone_is_asked_for_it() {
        let address = Address::new("fe80::1", 80);
        let error = address.connect(Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("fe80::1%eth0"), "{error}");
    }

    #[test]
    fn sockets_with_and_without_a_zone() {
        for text in ["0.0.0.0:0", "[::]:8080", "[fe80::1%3]:80"] {
            assert_eq!(socket_address(text).unwrap().to_string(), text);
        }
        for (text, error) in [
            ("localhost:80", AddressError::SocketAddress),
            ("0.0.0.0", AddressError::SocketAddress),
            ("[fe80::1%3]", AddressError::SocketAddress),
            ("[10.0.0.1]:80", AddressError::SocketAddress),
            ("[::1%3x]:80", AddressError::Zone),
            (
                "[fe80::1%no-such]:80",
                AddressError::Interface("no-such".to_owned()),
            ),
        ] {
            assert_eq!(socket_address(text), Err(error), "{text:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_interface_is_known_by_its_name() {
        let index = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
        let expected = format!("[fe80::1%{}]:80", index.trim());
        let found = socket_address("[fe80::1%lo]:80").unwrap();
        assert_eq!(found.to_string(), expected);
        let address: Address = "fe80::1%lo".parse().unwrap();
        assert_eq!(address.look_up().unwrap().next().unwrap().ip(), found.ip());
    }

    #[test]
    fn an_ipv4_address_is_shown_as_one() {
        for (address, shown) in [
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("[fe80::1%3]:80", "[fe80::1%3]:80"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(canonical(address).to_string(), shown);
        }
    }
}
