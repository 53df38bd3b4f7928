//! What a machine is called, in tables, records and logs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name, in characters.
pub const LONGEST_NAME: usize = 64;

/// A machine's name: from 1 to [`LONGEST_NAME`] printable ASCII characters, of which none is a
/// space, a comma or a quotation mark, so that a name is one word of a line and one field of a
/// record; nor a `#`, which sets apart machines of one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name is 1 to {LONGEST_NAME} printable ASCII characters without spaces, commas, quotation \
     marks and #"
)]
pub struct NotAName;

impl NodeName {
    /// The nearest name to what the operating system calls the machine: characters that no name
    /// may have become `-`, and what is too long is cut off. `None` if nothing is left.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let allowed = |character: char| if allows(character) { character } else { '-' };
        let name: String = host.chars().map(allowed).take(LONGEST_NAME).collect();
        name.parse().ok()
    }

    /// What the operating system calls this machine, if it tells; as near as a name can be to it.
    #[must_use]
    pub fn of_this_machine() -> Option<Self> {
        #[cfg(target_os = "linux")]
        return Self::of_host(&rustix::system::uname().nodename().to_string_lossy());
        // std can't ask, and a machine without a name is known by its address.
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn allows(character: char) -> bool {
    character.is_ascii_graphic() && !matches!(character, ',' | '"' | '\'' | '#')
}

impl FromStr for NodeName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(allows);
        fits.then(|| Self(Arc::from(text))).ok_or(NotAName)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_and_one_field() {
        for text in ["db1", "10.0.0.1", "a/b", &"x".repeat(64)] {
            assert_eq!(text.parse::<NodeName>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "a b",
            "a,b",
            "a#2",
            "a\"b",
            "a\nb",
            "ä",
            "\u{1b}[2J",
            &"x".repeat(65),
        ] {
            assert_eq!(text.parse::<NodeName>(), Err(NotAName), "{text:?}");
        }
    }

    #[test]
    fn any_host_has_a_name_that_is_near() {
        let name = |host: &str| NodeName::of_host(host).map(|name| name.to_string());
        assert_eq!(name("db1").as_deref(), Some("db1"));
        assert_eq!(name("my host,\u{7}").as_deref(), Some("my-host--"));
        assert_eq!(name(&"x".repeat(99)).map(|name| name.len()), Some(64));
        assert_eq!(name(""), None);
    }
}
