//! The files that hold secrets: regular, readable by their owner alone, and replaced whole.

use std::fmt::Display;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::keys::group::GroupKeys;
use crate::keys::node_key::NodeKey;
use crate::regular_file;

/// Where the group's secrets are, if nothing else is said.
pub const GROUP_FILE: &str = "/etc/berkeley/group.key";

/// Where the key of a node is, if nothing else is said.
pub const NODE_FILE: &str = "/etc/berkeley/node.key";

/// The longest file that is read, in bytes: more than the longest of a group.
pub(crate) const LONGEST_FILE: u64 = 1 << 20;

/// What is wrong with a file of keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It can't be read.
    #[error("cannot read the key file {}: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// It can't be written.
    #[error("cannot write the key file {}: {error}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error(
        "others than its owner may use the key file {} (its mode is {mode:03o}): `chmod 600` it, \
         and if somebody may have read it, make new keys",
        path.display()
    )]
    Loose {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to somebody who could exchange it.
    #[error(
        "the key file {} belongs to the user with the number {owner}: it has to be root's, or the \
         user's who runs this program",
        path.display()
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// There is one already.
    #[error(
        "the key file {} exists already, and a new one would lock every machine of its group out: \
         --key-file names another, `key rotate` makes new keys for the same group",
        .0.display()
    )]
    Exists(PathBuf),
    /// There is something else in its place.
    #[error(
        "{} holds something else, which would be overwritten: --key-file names another file",
        .0.display()
    )]
    Other(PathBuf),
    /// It holds something else.
    #[error("the key file {} makes no sense: {why}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What a file was like when it was read: another one is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    modified: SystemTime,
    length: u64,
    /// The inode, and when that was changed: by `chmod`, too.
    inode: (u64, i64, i64),
}

/// Reads a group's file.
///
/// # Errors
/// [`KeyFileError`].
pub fn read_group(path: &Path) -> Result<(GroupKeys, Version), KeyFileError> {
    read(path, GroupKeys::parse)
}

/// Reads the key of a node.
///
/// # Errors
/// [`KeyFileError`].
pub fn read_node(path: &Path) -> Result<NodeKey, KeyFileError> {
    let read = read(path, NodeKey::from_str);
    read.map(|(key, _)| key)
}

fn read<T, E: Display>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<(T, Version), KeyFileError> {
    let cannot = |error| KeyFileError::Read {
        path: path.to_owned(),
        error,
    };
    let file = regular_file::open(path, OpenOptions::new().read(true)).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    check_owner(path, &metadata)?;
    check_mode(path, &metadata)?;
    let mut text = Zeroizing::new(String::new());
    (&file)
        .take(LONGEST_FILE)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    let parsed = parse(&text).map_err(|why| KeyFileError::Text {
        path: path.to_owned(),
        why: why.to_string(),
    })?;
    Ok((parsed, version_of(&metadata)))
}

/// What the file is like now; `None` if it is gone.
#[must_use]
pub fn version(path: &Path) -> Option<Version> {
    fs::symlink_metadata(path).ok().map(|it| version_of(&it))
}

fn version_of(metadata: &fs::Metadata) -> Version {
    #[cfg(unix)]
    let inode = {
        use std::os::unix::fs::MetadataExt;
        (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
    };
    #[cfg(not(unix))]
    let inode = (0, 0, 0);
    Version {
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        length: metadata.len(),
        inode,
    }
}

/// Who owns a file may change its mode and exchange it.
#[cfg(unix)]
fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    let owner = std::os::unix::fs::MetadataExt::uid(metadata);
    if owner == 0 || owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(KeyFileError::Foreign {
        path: path.to_owned(),
        owner,
    })
}

#[cfg(not(unix))]
fn check_owner(_: &Path, _: &fs::Metadata) -> Result<(), KeyFileError> {
    Ok(())
}

/// A file that systemd has put into the folder of a unit's credentials is read through an access
/// list, which looks like a looser mode; the folder is closed to all others.
#[cfg(unix)]
fn check_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let is_credential = credentials.is_some_and(|folder| path.parent() == Some(&folder));
    let others = if is_credential { 0o037 } else { 0o077 };
    if mode & others == 0 {
        return Ok(());
    }
    Err(KeyFileError::Loose {
        path: path.to_owned(),
        mode,
    })
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &fs::Metadata) -> Result<(), KeyFileError> {
    Ok(())
}

/// Makes a file that is not there yet, and the folder that it belongs in.
///
/// # Errors
/// [`KeyFileError::Exists`], [`KeyFileError::Write`].
pub fn create(path: &Path, text: &str) -> Result<(), KeyFileError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(KeyFileError::Exists(path.to_owned()));
    }
    replace(path, text)
}

/// Puts a file in the place of the one that is there, so that there is a whole one at any moment,
/// and makes the folder that it belongs in.
///
/// # Errors
/// [`KeyFileError::Write`].
pub fn replace(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let replaced = make_folder(path).and_then(|()| regular_file::replace_secret(path, text));
    replaced.map_err(|error| KeyFileError::Write {
        path: path.to_owned(),
        error,
    })
}

/// The same, unless the file that is there holds something else: what begins with another word.
///
/// # Errors
/// [`KeyFileError::Other`], [`KeyFileError::Read`], [`KeyFileError::Write`].
pub fn install(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let cannot = |error| KeyFileError::Read {
        path: path.to_owned(),
        error,
    };
    let mut there = Zeroizing::new(Vec::new());
    match regular_file::open(path, OpenOptions::new().read(true)) {
        Ok(file) => drop(
            file.take(LONGEST_FILE)
                .read_to_end(&mut there)
                .map_err(cannot)?,
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(error)),
    }
    let word = text.split(' ').next().unwrap_or_default();
    if there.is_empty() || there.starts_with(format!("{word} ").as_bytes()) {
        replace(path, text)
    } else {
        Err(KeyFileError::Other(path.to_owned()))
    }
}

/// The folder that the file belongs in, closed to others.
fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Ok(());
    };
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::keys::secret::Secret;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_is_its_owners_alone_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/group.key");
        let group = GroupKeys::new(Secret::new([7; 32]));
        create(&path, &group.text()).unwrap();
        let permissions = fs::metadata(&path).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
        assert_eq!(read_group(&path).unwrap().0.text(), group.text());
        for loose in [0o640, 0o604, 0o620, 0o601] {
            mode(&path, loose);
            let refused = read_group(&path).unwrap_err().to_string();
            assert!(refused.contains("`chmod 600` it"), "{refused}");
        }
        mode(&path, 0o400);
        assert!(read_group(&path).is_ok());
        // Only root can give a file away.
        if std::os::unix::fs::chown(&path, Some(4711), None).is_ok() {
            let refused = read_group(&path).unwrap_err().to_string();
            assert!(
                refused.contains("belongs to the user with the number 4711"),
                "{refused}"
            );
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        }
        let exists = create(&path, "x").unwrap_err();
        assert!(matches!(exists, KeyFileError::Exists(_)), "{exists}");
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        let refused = read_group(&link).unwrap_err().to_string();
        assert!(refused.contains("symbolic link"), "{refused}");
        let refused = read_group(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("not a regular file"), "{refused}");
        let refused = read_node(&path).unwrap_err().to_string();
        assert!(refused.contains("key node NAME"), "{refused}");
    }

    #[test]
    fn a_key_is_installed_over_none_but_its_own_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/group.key");
        let (group, other) = ([7; 32], [8; 32]);
        let [group, other] = [group, other].map(|it| GroupKeys::new(Secret::new(it)).text());
        install(&path, &group).unwrap();
        install(&path, &other).unwrap();
        for theirs in [
            "berkeley-key 1 follower db1 1 x\n",
            "-12.5 0.2\n",
            "berkeley-group 1\n",
        ] {
            fs::write(&path, theirs).unwrap();
            let refused = install(&path, &group).unwrap_err();
            assert!(matches!(refused, KeyFileError::Other(_)), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), theirs);
        }
    }

    #[test]
    fn a_file_that_was_replaced_is_another_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("group.key");
        let mut group = GroupKeys::new(Secret::new([7; 32]));
        create(&path, &group.text()).unwrap();
        let (_, before) = read_group(&path).unwrap();
        assert_eq!(version(&path), Some(before));
        group.rotate(Secret::new([8; 32])).unwrap();
        replace(&path, &group.text()).unwrap();
        assert_ne!(version(&path), Some(before));
        assert!(version(&folder.path().join("none")).is_none());
    }
}
