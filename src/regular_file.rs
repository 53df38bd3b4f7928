//! Opens files that somebody else may have put something in the place of: a link to what only we
//! may write, or a pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Opens a regular file, and nothing else: no link is followed, and no pipe or device waited for.
///
/// # Errors
/// When it is something else, or can't be opened.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).map_err(|error| explain(path, error))?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, NOT_REGULAR))
    }
}

const NOT_REGULAR: &str = "it is not a regular file";

/// Says of a link and of a pipe what they are: the operating system's error does not.
fn explain(path: &Path, error: io::Error) -> io::Error {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => io::Error::new(
            ErrorKind::InvalidInput,
            "it is a symbolic link, which is not followed; name the file itself",
        ),
        Ok(there) if !there.is_file() && !there.is_dir() => {
            io::Error::new(ErrorKind::InvalidInput, NOT_REGULAR)
        }
        _ => error,
    }
}

/// Where a file is written before it takes the place of the one at `path`.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    beside.into()
}

/// Writes a file beside the old one and puts it in its place, so that there is a whole one at any
/// moment. What lies beside it, from a program that was killed, is not written to.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    replace_as(path, text, &mut OpenOptions::new())
}

/// The same for a file that nobody but its owner may read.
pub(crate) fn replace_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    options.mode(0o600);
    replace_as(path, text, &mut options)
}

fn replace_as(path: &Path, text: &str, options: &mut OpenOptions) -> io::Result<()> {
    let beside = beside(path);
    let mut file = create(&beside, options)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Whether [`replace`] can do that, as far as can be seen without doing it.
pub(crate) fn can_replace(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let beside = beside(path);
    create(&beside, &mut OpenOptions::new())?;
    fs::remove_file(&beside)
}

/// Creates a file where there was none, or where one was left behind.
fn create(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => options.write(true).create_new(true).open(path),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_is_followed_and_nothing_but_a_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "ours").unwrap();
        symlink(&file, &link).unwrap();
        assert!(open(&file, File::options().read(true)).is_ok());
        let refused = open(&link, File::options().append(true).create(true));
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("symbolic link"), "{said}");
        for path in [Path::new("/dev/null"), Path::new("/dev/full")] {
            let refused = open(path, File::options().append(true).create(true));
            let said = refused.unwrap_err().to_string();
            assert!(said.contains("not a regular file"), "{path:?}: {said}");
        }
    }

    #[test]
    fn what_lies_where_a_temporary_file_belongs_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, path) = (folder.path().join("secret"), folder.path().join("drift"));
        fs::write(&secret, "theirs").unwrap();
        symlink(&secret, beside(&path)).unwrap();
        can_replace(&path).unwrap();
        symlink(&secret, beside(&path)).unwrap();
        replace(&path, "ours").unwrap();
        // Nor is a link at the place itself followed.
        fs::remove_file(&path).unwrap();
        symlink(&secret, &path).unwrap();
        replace(&path, "ours").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "ours");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "theirs");
    }
}
