//! The list of candidates, and which of them we are.

use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::wire::address::Address;
use crate::wire::candidate::{MOST_CANDIDATES, Rank};
use crate::wire::limits::longest_line;
use crate::wire::line::LONGEST_LINE;

/// The masters that may lead, in the order that all of them were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    list: Vec<Address>,
    own: Rank,
}

/// Why a list of candidates can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CandidatesError {
    /// Too few, or too many.
    #[error("--candidates names from 2 to {MOST_CANDIDATES} masters, not {0}")]
    Count(usize),
    /// An address that can't be told in a line.
    #[error("--candidates: {0} is not written in ASCII, without commas and spaces")]
    NotPlain(Address),
    /// A greeting that names all of them, and the leader once more, would be too long a line.
    #[error(
        "--candidates is too long: a line that names them all could have {0} characters, and may \
         have {LONGEST_LINE}; short names or IP addresses are shorter"
    )]
    TooLong(usize),
    /// The same address twice.
    #[error("--candidates names {0} twice")]
    Twice(Address),
    /// We are not where we are said to be.
    #[error("--advertise {0} is not in the list of --candidates")]
    NotListed(Address),
    /// None of them is us.
    #[error(
        "none of --candidates is where --listen {0} is (which for IPv6 has to be [::]:{port}): \
         --advertise says which one this master is", port = .0.port()
    )]
    Nowhere(SocketAddr),
    /// More than one may be us.
    #[error(
        "more than one of --candidates may be --listen {0}: --advertise says which one this \
         master is"
    )]
    Ambiguous(SocketAddr),
}

impl Candidates {
    /// The list, and our place in it: that of `advertised`, or else of the only address in it
    /// that is this machine's and has the port of `listen`.
    ///
    /// # Errors
    /// [`CandidatesError`] says what to change.
    pub fn new(
        list: Vec<Address>,
        listen: SocketAddr,
        advertised: Option<&Address>,
    ) -> Result<Self, CandidatesError> {
        check(&list)?;
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
            (_, Some(advertised)) => Err(CandidatesError::NotListed(advertised.clone())),
            ([], None) => Err(CandidatesError::Nowhere(listen)),
            (_, None) => Err(CandidatesError::Ambiguous(listen)),
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

/// Whether all that is sent of this list can be told and understood.
fn check(list: &[Address]) -> Result<(), CandidatesError> {
    if !(2..=MOST_CANDIDATES).contains(&list.len()) {
        return Err(CandidatesError::Count(list.len()));
    }
    let plain = |address: &&Address| {
        let text = address.to_string();
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',');
        plain && text.parse().as_ref() == Ok(*address)
    };
    if let Some(other) = list.iter().find(|address| !plain(address)) {
        return Err(CandidatesError::NotPlain(other.clone()));
    }
    let longest = longest_line(list);
    if longest > LONGEST_LINE {
        return Err(CandidatesError::TooLong(longest));
    }
    for (place, address) in list.iter().enumerate() {
        if list[..place].contains(address) {
            return Err(CandidatesError::Twice(address.clone()));
        }
    }
    Ok(())
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
        Candidates::new(list.collect(), listen, advertised.as_ref())
            .map(|found| found.own())
            .map_err(|error| error.to_string())
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
    fn what_fits_into_a_line_is_taken() {
        // Three addresses that machines make themselves, and seven that are given.
        let ours = "[fd12:3456:789a:1:21b:21ff:fe3c:4d5e]:8080";
        let list = format!("{ours},{0}5f,{0}60", "fd12:3456:789a:1:21b:21ff:fe3c:4d");
        assert_eq!(candidates(&list, "[::1]:8080", Some(ours)), Ok(Rank(0)));
        let list = [1, 2, 3, 4, 5, 6, 7].map(|last| format!("192.168.100.10{last}"));
        let found = candidates(&list.join(","), "0.0.0.0:8080", Some(&list[6]));
        assert_eq!(found, Ok(Rank(6)));
    }

    #[test]
    fn an_address_that_would_read_as_two_is_refused() {
        let list = vec![Address::new("a,b", 1), Address::new("c", 1)];
        let refused = Candidates::new(list.clone(), "0.0.0.0:1".parse().unwrap(), Some(&list[1]));
        assert_eq!(refused, Err(CandidatesError::NotPlain(list[0].clone())));
    }

    #[test]
    fn a_list_has_to_make_sense() {
        // 47 characters each: 72 for what stands between them, and one of them once more.
        let long = format!("{0}:1,{0}:2,{0}:3", "x".repeat(45));
        for (list, part) in [
            ("127.0.0.1:1", "from 2 to 9"),
            ("a,b,c,d,e,f,g,h,i,j", "from 2 to 9"),
            ("a,b,a:8080", "twice"),
            (&long, "could have 262 characters, and may have 256"),
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
