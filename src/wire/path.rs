//! The groups above a group: how a master knows that it is not below itself.

use std::fmt;
use std::str::FromStr;

/// A group has this many others above it at most.
pub const DEEPEST: usize = 16;

/// A number that a master draws at its start, for the group that it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}", self.0)
    }
}

/// From the group at the top to the one whose master tells this: [`DEEPEST`] and itself at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<GroupId>);

impl Path {
    /// A group that has none above it.
    #[must_use]
    pub fn of(group: GroupId) -> Self {
        Self(vec![group])
    }

    /// A group below the one whose path this is. `None` if it would be too deep.
    #[must_use]
    pub fn and(&self, group: GroupId) -> Option<Self> {
        let below = || self.0.iter().copied().chain([group]).collect();
        (self.0.len() <= DEEPEST).then(|| Self(below()))
    }

    /// The groups, from the top.
    #[must_use]
    pub fn groups(&self) -> &[GroupId] {
        &self.0
    }

    /// The path of a group that is in a loop, as its parent tells: once round, from the group below it
    /// to itself.
    #[must_use]
    pub fn round_to(&self, group: GroupId) -> Self {
        let below = self.loop_of(group).unwrap_or(&self.0);
        let below = below.iter().copied().filter(|it| *it != group);
        Self(below.chain([group]).collect())
    }

    /// If `group` is on the path, so that this is a loop: its groups.
    #[must_use]
    pub fn loop_of(&self, group: GroupId) -> Option<&[GroupId]> {
        let place = self.0.iter().rposition(|it| *it == group)?;
        Some(&self.0[place..])
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, group) in self.0.iter().enumerate() {
            write!(out, "{}{group}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// What is no [`Path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not up to 17 numbers of 8 hexadecimal digits")]
pub struct NotAPath;

impl FromStr for Path {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        let group = |text: &str| {
            let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = digits.then(|| u32::from_str_radix(text, 16).ok()).flatten();
            number.map(GroupId).ok_or(NotAPath)
        };
        // No more are looked at than there can be.
        let groups = text.split(',').take(DEEPEST + 2).map(group);
        let groups: Vec<_> = groups.collect::<Result<_, _>>()?;
        if groups.len() > DEEPEST + 1 {
            return Err(NotAPath);
        }
        Ok(Self(groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_reads_back_and_ends_somewhere() {
        let mut deep = Path::of(GroupId(u32::MAX));
        while let Some(deeper) = deep.and(GroupId(7)) {
            deep = deeper;
        }
        assert_eq!(deep.groups().len(), DEEPEST + 1);
        assert_eq!(path(&deep.to_string()), deep);
        assert_eq!(path("0000000a,ffffffff").to_string(), "0000000a,ffffffff");
        for text in [
            "",
            ",",
            "a",
            "0000000g",
            "+000000a",
            "0000000a,",
            &format!("{deep},00000007"),
        ] {
            assert_eq!(text.parse::<Path>(), Err(NotAPath), "{text:?}");
        }
    }

    #[test]
    fn a_loop_is_what_lies_below_oneself() {
        let seen = path("00000001,00000002,00000003");
        let groups = |seen: &Path, of| seen.loop_of(GroupId(of)).map(<[_]>::to_vec);
        assert_eq!(groups(&seen, 2), Some(vec![GroupId(2), GroupId(3)]));
        assert_eq!(groups(&seen, 4), None);
    }
}
