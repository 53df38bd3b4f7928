//! The folder in which every running program has its sockets, and how others find them.
//!
//! A program makes the folder that suits its user; whoever asks looks into each that may be meant.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;
use std::slice;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::report::status::{FOLLOWER, MASTER};

/// The folder of programs that root runs.
const SYSTEM: &str = "/run/berkeley";

/// Ends the name of a socket that gives the status.
const STATUS: &str = ".sock";

/// Ends the name of a socket that takes orders.
const CONTROL: &str = ".control";

/// Why there is no folder for a program's sockets.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It can't be made, or not looked at.
    #[error("cannot make the runtime folder {0}; RUNTIME_DIRECTORY names another")]
    Make(PathBuf, #[source] io::Error),
    /// Others could put sockets of their own there.
    #[error(
        "the runtime folder {0} is not a folder that belongs to this user alone; remove it, or \
         name another in RUNTIME_DIRECTORY"
    )]
    Shared(PathBuf),
}

/// What the place of the folder depends on.
#[derive(Debug, Clone, Default)]
struct Surroundings {
    /// `RUNTIME_DIRECTORY`: systemd's, where a unit has one.
    given: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: the folder of a user who has logged in.
    session: Option<PathBuf>,
    temporary: PathBuf,
    user: u32,
}

impl Surroundings {
    fn of_this_process() -> Self {
        let folder = |variable| {
            let value = std::env::var_os(variable).filter(|value| !value.is_empty());
            value.map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let user = rustix::process::geteuid().as_raw();
        // After `su` it may name another user's.
        let is_ours = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.uid() == user);
        Self {
            given: folder("RUNTIME_DIRECTORY"),
            session: folder("XDG_RUNTIME_DIR").filter(is_ours),
            temporary: std::env::temp_dir(),
            user,
        }
    }

    /// A folder of this user's under the temporary one.
    fn private(&self) -> PathBuf {
        self.temporary.join(format!("berkeley-{}", self.user))
    }

    /// The folder of a program that starts here.
    fn own(&self) -> PathBuf {
        match (&self.given, &self.session) {
            (Some(given), _) => given.clone(),
            (None, _) if self.user == 0 => PathBuf::from(SYSTEM),
            (None, Some(session)) => session.join("berkeley"),
            (None, None) => self.private(),
        }
    }

    /// Where the programs of this machine may be, the likeliest first. A folder that is named is
    /// the only one.
    fn all(&self) -> Vec<PathBuf> {
        if let Some(given) = &self.given {
            return vec![given.clone()];
        }
        // Where the session's folder is while nobody says so: for cron, and after `su`.
        let usual = PathBuf::from(format!("/run/user/{}", self.user));
        let session = self.session.clone().unwrap_or(usual);
        vec![
            PathBuf::from(SYSTEM),
            session.join("berkeley"),
            self.private(),
        ]
    }
}

/// The folder in which this process has its sockets.
#[derive(Debug, Clone)]
pub struct RuntimeFolder(PathBuf);

impl RuntimeFolder {
    /// Makes the folder, unless it is there already: `RUNTIME_DIRECTORY`, as systemd names it,
    /// or `/run/berkeley` for root, or `$XDG_RUNTIME_DIR/berkeley`, or a private one under the
    /// temporary folder.
    ///
    /// # Errors
    /// When it can't be made, or when others than its owner may write to it.
    pub fn make() -> Result<Self, FolderError> {
        let surroundings = Surroundings::of_this_process();
        Self::make_at(surroundings.own(), surroundings.user)
    }

    fn make_at(path: PathBuf, user: u32) -> Result<Self, FolderError> {
        // Others may look into root's folder, where each socket says who may use it.
        let mode = if path == Path::new(SYSTEM) {
            0o755
        } else {
            0o700
        };
        match DirBuilder::new().mode(mode).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(FolderError::Make(path, error));
            }
            _ => {}
        }
        // Not through a link: under the temporary folder anybody can leave one.
        let found = fs::symlink_metadata(&path);
        let found = found.map_err(|error| FolderError::Make(path.clone(), error))?;
        let is_ours = found.uid() == user || user == 0;
        if !found.is_dir() || !is_ours || found.mode() & 0o022 != 0 {
            return Err(FolderError::Shared(path));
        }
        Ok(Self(path))
    }

    /// Where this process, of the program with this name, gives its status.
    #[must_use]
    pub fn status_socket(&self, program: &str) -> PathBuf {
        self.socket(program, STATUS)
    }

    /// Where this process takes orders.
    #[must_use]
    pub fn control_socket(&self, program: &str) -> PathBuf {
        self.socket(program, CONTROL)
    }

    /// Takes away the sockets of processes that are no more: those that were killed.
    pub fn tidy(&self) {
        for program in [MASTER, FOLLOWER] {
            for end in [STATUS, CONTROL] {
                for (number, path) in numbered(slice::from_ref(&self.0), program, end) {
                    let process = i32::try_from(number).ok().and_then(Pid::from_raw);
                    let gone = process.is_none_or(|process| {
                        rustix::process::test_kill_process(process) == Err(Errno::SRCH)
                    });
                    if gone && let Err(error) = fs::remove_file(&path) {
                        log::debug!("cannot remove {}: {error}", path.display());
                    }
                }
            }
        }
    }

    fn socket(&self, program: &str, end: &str) -> PathBuf {
        self.0.join(format!("{program}-{}{end}", process::id()))
    }
}

/// The status sockets of all processes of this program on this machine, in the order of their
/// numbers, some of which may have ended without taking theirs away.
#[must_use]
pub fn status_sockets(program: &str) -> Vec<PathBuf> {
    sockets(&Surroundings::of_this_process().all(), program, STATUS)
}

/// The same of the sockets that take orders.
#[must_use]
pub fn control_sockets(program: &str) -> Vec<PathBuf> {
    sockets(&Surroundings::of_this_process().all(), program, CONTROL)
}

/// What to say where a socket does not give the status: it may be the one that takes orders.
#[must_use]
pub fn hint(socket: &Path) -> String {
    let status = the_other(socket, CONTROL, STATUS);
    status.map_or_else(String::new, |status| {
        format!(" (this socket takes orders; the status is at {status})")
    })
}

/// What to say where a socket takes no orders: it may be the one that gives the status.
#[must_use]
pub fn control_hint(socket: &Path) -> String {
    let control = the_other(socket, STATUS, CONTROL);
    control.map_or_else(String::new, |control| {
        format!(" (this socket gives the status; orders go to {control})")
    })
}

/// The socket of the same program that ends with `other`, if this one ends with `end`.
fn the_other(socket: &Path, end: &str, other: &str) -> Option<String> {
    let name = socket.to_string_lossy();
    Some(format!("{}{other}", name.strip_suffix(end)?))
}

/// The folders in which programs of this machine may have their sockets.
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    Surroundings::of_this_process().all()
}

fn sockets(folders: &[PathBuf], program: &str, end: &str) -> Vec<PathBuf> {
    let found = numbered(folders, program, end).into_iter();
    found.map(|(_, path)| path).collect()
}

/// The same, with the processes' numbers.
fn numbered(folders: &[PathBuf], program: &str, end: &str) -> Vec<(u32, PathBuf)> {
    let number = |path: &PathBuf| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_prefix(program)?.strip_prefix('-')?;
        name.strip_suffix(end)?.parse().ok()
    };
    let entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let paths = entries
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<_> = paths
        .filter_map(|path| Some((number(&path)?, path)))
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn surroundings() -> Surroundings {
        Surroundings {
            given: None,
            session: Some(PathBuf::from("/run/user/1000")),
            temporary: PathBuf::from("/tmp"),
            user: 1000,
        }
    }

    #[test]
    fn each_user_has_a_folder() {
        let user = surroundings();
        assert_eq!(user.own(), Path::new("/run/user/1000/berkeley"));
        let daemon = Surroundings {
            session: None,
            ..user.clone()
        };
        assert_eq!(daemon.own(), Path::new("/tmp/berkeley-1000"));
        let root = Surroundings {
            user: 0,
            ..user.clone()
        };
        assert_eq!(root.own(), Path::new("/run/berkeley"));
        let unit = Surroundings {
            given: Some(PathBuf::from("/run/elsewhere")),
            ..root
        };
        assert_eq!(unit.own(), Path::new("/run/elsewhere"));
        let cron = Surroundings {
            session: None,
            ..user.clone()
        };
        assert!(cron.all().contains(&user.own()), "of one who has logged in");
        for asking in [user, daemon, unit] {
            assert!(asking.all().contains(&asking.own()));
        }
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let user = rustix::process::geteuid().as_raw();
        let path = temporary.path().join("berkeley");
        let folder = RuntimeFolder::make_at(path.clone(), user).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        RuntimeFolder::make_at(path.clone(), user).expect("the same again");
        assert_eq!(
            folder.status_socket("berkeley-master"),
            path.join(format!("berkeley-master-{}.sock", process::id()))
        );

        let link = temporary.path().join("link");
        symlink(&path, &link).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        for path in [path, link, temporary.path().join("no/such/folder")] {
            RuntimeFolder::make_at(path, user).expect_err("a folder that is not ours");
        }
    }

    #[test]
    fn what_a_killed_program_has_left_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let user = rustix::process::geteuid().as_raw();
        let made = RuntimeFolder::make_at(folder.path().to_owned(), user).unwrap();
        let own = made.status_socket(MASTER);
        // No process has this number: it is above the largest that Linux gives.
        let dead = folder.path().join("berkeley-master-4194305.control");
        let strange = folder.path().join("berkeley-master-notes.sock");
        for path in [&own, &dead, &strange] {
            fs::write(path, "").unwrap();
        }
        made.tidy();
        assert!(own.exists() && strange.exists() && !dead.exists());
    }

    #[test]
    fn the_sockets_of_a_program_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "berkeley-master-12.sock",
            "berkeley-master-7.sock",
            "berkeley-master-7.control",
            "berkeley-follower-8.sock",
            "berkeley-master-x.sock",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let folders = [folder.path().to_owned(), PathBuf::from("/no/such/folder")];
        let names = |program, end| -> Vec<String> {
            let found = sockets(&folders, program, end).into_iter();
            let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            found.map(name).collect()
        };
        assert_eq!(
            names("berkeley-master", STATUS),
            ["berkeley-master-7.sock", "berkeley-master-12.sock"]
        );
        assert_eq!(
            names("berkeley-master", CONTROL),
            ["berkeley-master-7.control"]
        );
    }
}
