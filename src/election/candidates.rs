//! The list of candidates, and which of them we are.

use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::wire::address::Address;
use crate::wire::candidate::{MOST_CANDIDATES, Rank};

/// A greeting names all candidates, and has to fit into a line.
const LONGEST_LIST: usize = 160;

/// The masters that may lead, in the order that all of them were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    list: Vec<Address>,
    own: Rank,
}

impl Candidates {
    /// The list, and our place in it: that of `advertised`, or else of the only address in it
    /// that is this machine's and has the port of `listen`.
    ///
    /// # Errors
    /// A sentence that names the flag to change.
    pub fn new(
        list: Vec<Address>,
        listen: SocketAddr,
        advertised: Option<&Address>,
    ) -> Result<Self, String> {
        let written: usize = list
            .iter()
            .map(|address| address.to_string().len() + 1)
            .sum();
        let ascii = |address: &Address| address.to_string().bytes().all(|b| b.is_ascii_graphic());
        if !(2..=MOST_CANDIDATES).contains(&list.len()) {
            return Err(format!(
                "--candidates names from 2 to {MOST_CANDIDATES} masters, not {}",
                list.len()
            ));
        }
        if written > LONGEST_LIST || !list.iter().all(ascii) {
            return Err(format!(
                "--candidates has to be ASCII, and {LONGEST_LIST} characters at most: addresses \
                 are shorter than names"
            ));
        }
        if (1..list.len()).any(|place| list[..place].contains(&list[place])) {
            return Err("--candidates names one address twice".to_owned());
        }
        let ours = |address: &Address| match advertised {
            Some(advertised) => address == advertised,
            None => is_ours(address, listen),
        };
        let places: Vec<_> = (0..list.len())
            .filter(|place| ours(&list[*place]))
            .collect();
        match (&places[..], advertised) {
            (&[place], _) => Ok(Self {
                list,
                own: Rank(place),
            }),
            (_, Some(advertised)) => Err(format!(
                "--advertise {advertised} is not in the list of --candidates"
            )),
            ([], None) => Err(format!(
                "none of --candidates is where --listen {listen} is (which for IPv6 has to be \
                 [::]:{}): --advertise says which one this master is",
                listen.port()
            )),
            (_, None) => Err(format!(
                "more than one of --candidates may be --listen {listen}: --advertise says which \
                 one this master is"
            )),
        }
    }

    /// All of them, by rank.
    #[must_use]
    pub fn list(&self) -> &[Address] {
        &self.list
    }

    /// Our place in the list.
    #[must_use]
    pub fn own(&self) -> Rank {
        self.own
    }

    /// The others.
    pub fn others(&self) -> impl Iterator<Item = (Rank, &Address)> {
        let ranked = self.list.iter().enumerate();
        let ranked = ranked.map(|(place, address)| (Rank(place), address));
        ranked.filter(|(rank, _)| *rank != self.own)
    }

    /// The machines that the others are on, as far as their names are known.
    #[must_use]
    pub fn hosts(&self) -> Vec<IpAddr> {
        let known = self
            .others()
            .filter_map(|(_, address)| address.look_up().ok());
        known.flatten().map(|address| address.ip()).collect()
    }

    /// The address of a rank, if it is one.
    #[must_use]
    pub fn at(&self, rank: Rank) -> Option<&Address> {
        self.list.get(rank.0)
    }
}

/// Whether who connects to `address` may reach who listens on `listen`.
fn is_ours(address: &Address, listen: SocketAddr) -> bool {
    let Ok(mut addresses) = address.look_up() else {
        return false;
    };
    addresses.any(|address| {
        let mut any_port = address;
        any_port.set_port(0);
        let reaches = listen.ip() == address.ip()
            // Only an address of this machine can be listened on.
            || listen.ip().is_unspecified()
                && (address.is_ipv4() || listen.is_ipv6())
                && TcpListener::bind(any_port).is_ok();
        reaches && address.port() == listen.port()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &str, listen: &str, advertised: Option<&str>) -> Result<Rank, String> {
        let list = list.split(',').map(|address| address.parse().unwrap());
        let advertised: Option<Address> = advertised.map(|address| address.parse().unwrap());
        let listen = listen.parse().unwrap();
        Candidates::new(list.collect(), listen, advertised.as_ref()).map(|found| found.own())
    }

    #[test]
    fn we_are_where_we_listen() {
        let list = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3";
        assert_eq!(candidates(list, "127.0.0.1:2", None), Ok(Rank(1)));
        assert_eq!(candidates(list, "0.0.0.0:3", None), Ok(Rank(2)));
        assert_eq!(candidates("[::1]:1,[::1]:2", "[::]:2", None), Ok(Rank(1)));
        // An address that no machine of ours has (RFC 5737).
        let remote = "198.51.100.1:8080,127.0.0.1:8080,198.51.100.3:8080";
        assert_eq!(candidates(remote, "0.0.0.0:8080", None), Ok(Rank(1)));
    }

    #[test]
    fn or_where_we_are_told() {
        let list = "a,b,c";
        assert_eq!(candidates(list, "0.0.0.0:1", Some("c")), Ok(Rank(2)));
        let missing = candidates(list, "0.0.0.0:1", Some("d")).unwrap_err();
        assert!(
            missing.contains("--advertise d:8080 is not in"),
            "{missing}"
        );
    }

    #[test]
    fn what_is_not_plain_is_asked_for() {
        for (list, listen) in [
            ("198.51.100.1:1,198.51.100.2:1", "0.0.0.0:1"),
            ("127.0.0.1:1,127.0.0.2:1", "0.0.0.0:1"),
            ("[::1]:1,[::1]:2", "0.0.0.0:1"),
        ] {
            let error = candidates(list, listen, None).unwrap_err();
            assert!(error.contains("--advertise says which one"), "{error}");
        }
    }

    #[test]
    fn a_list_has_to_make_sense() {
        let long = format!("{0}:1,{0}:2,{0}:3", "x".repeat(60));
        for (list, part) in [
            ("127.0.0.1:1", "from 2 to 9"),
            ("a,b,c,d,e,f,g,h,i,j", "from 2 to 9"),
            ("a,b,a:8080", "twice"),
            (&long, "160 characters"),
            ("ä,b", "ASCII"),
        ] {
            let error = candidates(list, "127.0.0.1:1", None).unwrap_err();
            assert!(
                error.contains(part) && error.contains("--candidates"),
                "{error}"
            );
        }
    }
}
