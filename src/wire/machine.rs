//! What counts as one machine where connections are counted.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Where connections come from that are taken for one machine's: an IPv4 address, or an IPv6
/// network of 64 bits, of which one machine can take as many addresses as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Machine(IpAddr);

/// The bits of an IPv6 address that tell the network.
const NETWORK: u128 = !0 << 64;

impl Machine {
    /// The machine with this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into(),
        })
    }

    /// The machine at the other end of a connection from `peer` to `here`; `None` if it is this
    /// one.
    #[must_use]
    pub fn at_other_end(peer: SocketAddr, here: SocketAddr) -> Option<Self> {
        let (peer, here) = (peer.ip().to_canonical(), here.ip().to_canonical());
        (!peer.is_loopback() && peer != here).then(|| Self::of(peer))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(out, "{address}"),
            IpAddr::V6(network) => write!(out, "{network}/64"),
        }
    }
}

impl FromStr for Machine {
    type Err = AddrParseError;

    /// Reads what [`Display`](fmt::Display) has written.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.strip_suffix("/64").unwrap_or(text);
        address.parse().map(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(address: &str) -> String {
        Machine::of(address.parse().unwrap()).to_string()
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_machine() {
        assert_eq!(machine("2001:db8:1:2::7"), "2001:db8:1:2::/64");
        assert_eq!(machine("2001:db8:1:2:ffff::9"), "2001:db8:1:2::/64");
        assert_ne!(machine("2001:db8:1:3::7"), "2001:db8:1:2::/64");
        assert_eq!(machine("10.0.0.7"), "10.0.0.7");
        assert_eq!(machine("::ffff:10.0.0.7"), "10.0.0.7");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for address in ["10.0.0.7", "2001:db8:1:2::7"] {
            let machine = Machine::of(address.parse().unwrap());
            assert_eq!(machine.to_string().parse(), Ok(machine));
        }
        assert!("db1".parse::<Machine>().is_err());
    }

    #[test]
    fn this_machine_is_no_other() {
        let other = |peer: &str, here: &str| {
            let (peer, here) = (peer.parse().unwrap(), here.parse().unwrap());
            Machine::at_other_end(peer, here).map(|machine| machine.to_string())
        };
        assert_eq!(other("127.0.0.1:9", "127.0.0.1:8080"), None);
        assert_eq!(other("127.0.0.9:9", "127.0.0.1:8080"), None);
        assert_eq!(other("[::1]:9", "[::1]:8080"), None);
        assert_eq!(other("10.0.0.1:9", "[::ffff:10.0.0.1]:8080"), None);
        let address = Some("10.0.0.2".to_owned());
        assert_eq!(other("10.0.0.2:9", "10.0.0.1:8080"), address);
        assert_eq!(other("[::ffff:10.0.0.2]:9", "10.0.0.1:8080"), address);
    }
}
