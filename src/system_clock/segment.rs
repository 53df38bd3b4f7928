//! The segment of memory in which ClockBound's clients read how wrong the system's clock may be: 80
//! bytes of a file that they map, version 2 of its protocol (docs/PROTOCOL.md of aws/clock-bound).
//!
//! It is guarded by a sequence lock: its generation is odd while it is written, and who reads an odd
//! one, or two different ones before and after, has read nothing. We write to the file, which is the
//! memory that others map: that is why it has to be on a tmpfs. So nothing said of a clock before a
//! reboot is found after it, and no slow disk holds up who steers the clock.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::clock::coarse;
use crate::regular_file;
use crate::span::nanoseconds;
use crate::system_clock::bound::{Bound, Status};

/// `AMZNCB`, and the version of the protocol.
const MAGIC: [u32; 2] = [0x414d_5a4e, 0x4342_0200];

const VERSION: u16 = 2;

/// How long the segment is, and its header, in bytes.
const SIZE: usize = 80;
const HEADER: usize = 16;

/// Where the generation is.
const GENERATION: u64 = 14;

/// Where the number of disruptions is.
const DISRUPTIONS: usize = 56;

/// For how long what is said holds, in nanoseconds: nobody can tell for longer how an oscillator
/// goes on. ClockBound's own daemon says the same.
const VALID: i64 = 1_000_000_000_000;

/// A larger growth is taken for a mistake, in ppb.
const LARGEST_GROWTH_PPB: f64 = 999_999_999.0;

/// ClockBound's clients can't be told.
#[derive(Debug, thiserror::Error)]
#[error("cannot write --clockbound {}: {why}", path.display())]
pub struct SegmentError {
    path: PathBuf,
    #[source]
    why: Why,
}

/// Why not.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("{0}; it has to be in a folder that exists and may be written to")]
    Io(#[from] io::Error),
    #[error(
        "it has to be in memory, on a tmpfs as /run is, so that nothing is found there after a \
         reboot; clients look for /run/clockbound/shm0 if they are told nothing else"
    )]
    NotInMemory,
    #[error(
        "there is a file that is no segment of version {VERSION} of ClockBound's protocol; name \
         another, or remove it"
    )]
    Foreign,
    #[error("another program writes it; stop that, or name another file")]
    Taken,
    #[error(
        "others than the user that runs this program may write to it, and tell clients what they \
         like; remove it, or name another, in a folder that nobody else may write to"
    )]
    NotOurs,
}

/// A segment that we write.
#[derive(Debug)]
pub struct Segment {
    file: File,
    /// What is locked, so that one program writes it: not the file itself, for whoever may read a
    /// file may lock it.
    _lock: File,
    generation: u16,
    disruptions: u64,
}

impl Segment {
    /// Opens the segment, or makes it, with a word that nothing is known. What was said in one that
    /// exists stays until there is something to say.
    ///
    /// # Errors
    /// When the file can't be written, is not on a tmpfs, is something else, another program writes
    /// it, or another user may.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        open(path).map_err(|why| SegmentError {
            path: path.to_owned(),
            why,
        })
    }

    /// How often the clock was disrupted, by the last word.
    #[must_use]
    pub fn disruptions(&self) -> u64 {
        self.disruptions
    }

    /// Says how wrong the clock may be, and how often it has been disrupted.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn say(&mut self, bound: &Bound, disruptions: u64) -> io::Result<()> {
        let (next, writes) = writes(self.generation, body(bound, disruptions));
        for (at, bytes) in writes {
            self.file.write_all_at(&bytes, at)?;
        }
        self.generation = next;
        self.disruptions = disruptions;
        Ok(())
    }
}

/// The generation after this one, and what is written where, one after the other, to get there.
fn writes(generation: u16, body: Vec<u8>) -> (u16, [(u64, Vec<u8>); 3]) {
    // An even number has no carry: if its two bytes are seen one after the other, what is seen is
    // one of both numbers. After an odd one, what is written is whole. A program that was killed may
    // have left an odd one.
    let odd = generation | 1;
    // 0 is a segment in which nothing was said yet.
    let even = odd.checked_add(1).unwrap_or(2);
    let writes = [
        (GENERATION, odd.to_ne_bytes().to_vec()),
        (HEADER as u64, body),
        (GENERATION, even.to_ne_bytes().to_vec()),
    ];
    (even, writes)
}

fn open(path: &Path) -> Result<Segment, Why> {
    if !is_in_memory(path)? {
        return Err(Why::NotInMemory);
    }
    let mut options = File::options();
    options.read(true).write(true).create(true);
    let lock = ours(&beside(path), options.clone().mode(0o600))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Why::Taken),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let mut file = ours(path, options.mode(0o644))?;
    let mut found = Vec::new();
    (&mut file).take(SIZE as u64 + 1).read_to_end(&mut found)?;
    if found.iter().all(|byte| *byte == 0) && found.len() <= SIZE {
        // Clients of any user read it, whatever the umask says.
        file.set_permissions(Permissions::from_mode(0o644))?;
        let bound = Bound::unknown(coarse(), Status::Unknown);
        // The header last: it says that the rest is there.
        file.write_all_at(&body(&bound, 0), HEADER as u64)?;
        file.write_all_at(&header(2), 0)?;
        return Ok(Segment {
            file,
            _lock: lock,
            generation: 2,
            disruptions: 0,
        });
    }
    let (generation, disruptions) = understand(&found).ok_or(Why::Foreign)?;
    Ok(Segment {
        file,
        _lock: lock,
        generation,
        disruptions,
    })
}

/// Opens a regular file to which nobody may write but the user that runs this program.
fn ours(path: &Path, options: &mut OpenOptions) -> Result<File, Why> {
    let file = regular_file::open(path, options)?;
    let found = file.metadata()?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    is_ours.then_some(file).ok_or(Why::NotOurs)
}

/// What is locked for a segment.
fn beside(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}

/// The generation and the number of disruptions of a segment of ours.
fn understand(found: &[u8]) -> Option<(u16, u64)> {
    let generation = found.get(GENERATION as usize..HEADER)?.try_into().ok()?;
    let generation = u16::from_ne_bytes(generation);
    let disruptions = found.get(DISRUPTIONS..DISRUPTIONS + 8)?.try_into().ok()?;
    let is_ours = found.len() == SIZE && found.starts_with(&header(generation));
    is_ours.then(|| (generation, u64::from_ne_bytes(disruptions)))
}

/// What comes before what is said.
fn header(generation: u16) -> Vec<u8> {
    [
        &MAGIC[0].to_ne_bytes()[..],
        &MAGIC[1].to_ne_bytes(),
        &(SIZE as u32).to_ne_bytes(),
        &VERSION.to_ne_bytes(),
        &generation.to_ne_bytes(),
    ]
    .concat()
}

/// What is said.
fn body(bound: &Bound, disruptions: u64) -> Vec<u8> {
    let void_after = bound.as_of.saturating_add(VALID);
    // Clients cut off parts of a nanosecond.
    let error = nanoseconds(bound.error).saturating_add(1);
    let growth_ppb = (bound.growth_ppm * 1e3).ceil().min(LARGEST_GROWTH_PPB);
    [
        &timespec(bound.as_of)[..],
        &timespec(void_after),
        &error.to_ne_bytes(),
        &disruptions.to_ne_bytes(),
        &(growth_ppb as u32).to_ne_bytes(),
        &(bound.status as i32).to_ne_bytes(),
        // No disruption marker of a hypervisor is to be compared with ours.
        &[0; 8],
    ]
    .concat()
}

/// Seconds and nanoseconds, as clients want them.
fn timespec(nanoseconds: i64) -> Vec<u8> {
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    let rest = nanoseconds.rem_euclid(1_000_000_000);
    [seconds.to_ne_bytes(), rest.to_ne_bytes()].concat()
}

/// Whether a file there is in memory, and nowhere else.
#[cfg(target_os = "linux")]
fn is_in_memory(path: &Path) -> io::Result<bool> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let found = rustix::fs::statfs(folder.unwrap_or(Path::new(".")))?;
    Ok(found.f_type == libc::TMPFS_MAGIC)
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_path: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::chown;

    use chrono::TimeDelta;
    use tempfile::TempDir;

    /// A folder in memory.
    fn folder() -> TempDir {
        TempDir::new_in("/dev/shm").unwrap()
    }

    fn word() -> Bound {
        Bound {
            as_of: 5_000_000_007,
            error: TimeDelta::microseconds(40),
            growth_ppm: 4.5,
            status: Status::FreeRunning,
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let folder = folder();
        let path = folder.path().join("shm0");
        let mut segment = Segment::open(&path).unwrap();
        segment.say(&word(), 3).unwrap();
        let said = fs::read(&path).unwrap();
        let number = |at: usize| i64::from_ne_bytes(said[at..at + 8].try_into().unwrap());
        let short = |at: usize| u32::from_ne_bytes(said[at..at + 4].try_into().unwrap());
        assert_eq!(said.len(), 80);
        assert_eq!(
            (short(0), short(4), short(8)),
            (0x414d_5a4e, 0x4342_0200, 80)
        );
        assert_eq!(
            said[12..16],
            [2u16.to_ne_bytes(), 4u16.to_ne_bytes()].concat()
        );
        assert_eq!((number(16), number(24)), (5, 7));
        assert_eq!((number(32), number(40)), (1005, 7));
        assert_eq!((number(48), number(56)), (40_001, 3));
        assert_eq!((short(64), short(68)), (4500, 2));
        assert_eq!(said[72..], [0; 8]);
    }

    #[test]
    fn what_was_said_stays_over_a_restart_and_the_generation_goes_on() {
        let folder = folder();
        let path = folder.path().join("shm0");
        let mut segment = Segment::open(&path).unwrap();
        segment.generation = u16::MAX - 3;
        segment.say(&word(), 3).unwrap();
        let said = fs::read(&path).unwrap();
        let taken = Segment::open(&path).unwrap_err().to_string();
        assert!(taken.contains("another program"), "{taken}");
        drop(segment);
        let mut segment = Segment::open(&path).unwrap();
        assert_eq!(segment.disruptions(), 3);
        assert_eq!(fs::read(&path).unwrap(), said);
        segment.say(&word(), 3).unwrap();
        assert_eq!(segment.generation, 2, "never 0");
        drop(segment);
        // Killed while it was written.
        let killed = File::options().write(true).open(&path).unwrap();
        killed
            .write_all_at(&7u16.to_ne_bytes(), GENERATION)
            .unwrap();
        drop(killed);
        let mut segment = Segment::open(&path).unwrap();
        segment.say(&word(), 3).unwrap();
        assert_eq!(segment.generation, 8);
    }

    #[test]
    fn the_generation_is_odd_while_it_is_written() {
        let order = |generation| {
            let (next, writes) = writes(generation, vec![1; SIZE - HEADER]);
            let [first, body, last] = writes;
            assert_eq!((first.0, body.0, last.0), (GENERATION, 16, GENERATION));
            let number = |bytes: Vec<u8>| u16::from_ne_bytes(bytes.try_into().unwrap());
            assert_eq!(number(last.1), next);
            (number(first.1), next)
        };
        assert_eq!(order(2), (3, 4));
        assert_eq!(order(7), (7, 8));
        assert_eq!(order(u16::MAX - 1), (u16::MAX, 2));
    }

    #[test]
    fn no_other_file_is_written_to() {
        let folder = folder();
        let path = folder.path().join("theirs");
        for theirs in [b"12345\n".to_vec(), [header(2), vec![0; 100]].concat()] {
            fs::write(&path, &theirs).unwrap();
            let refused = Segment::open(&path).unwrap_err().to_string();
            assert!(refused.contains("no segment of version 2"), "{refused}");
            assert_eq!(fs::read(&path).unwrap(), theirs);
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let refused = Segment::open(&link).unwrap_err().to_string();
        assert!(refused.contains("symbolic link"), "{refused}");
        let nowhere = Segment::open(&folder.path().join("no/shm0")).unwrap_err();
        assert!(
            nowhere.to_string().contains("folder that exists"),
            "{nowhere}"
        );
    }

    #[test]
    fn no_file_is_written_to_that_others_may_write_to() {
        let folder = folder();
        let path = folder.path().join("shm0");
        let refused = || Segment::open(&path).unwrap_err().to_string();
        for place in [path.clone(), beside(&path)] {
            drop(Segment::open(&path).unwrap());
            let allow = |mode| fs::set_permissions(&place, Permissions::from_mode(mode)).unwrap();
            allow(0o666);
            assert!(refused().contains("others than the user"), "{}", refused());
            allow(0o644);
            // Only root can give a file away.
            if chown(&place, Some(12345), None).is_ok() {
                assert!(refused().contains("others than the user"), "{}", refused());
                fs::remove_file(&place).unwrap();
            }
        }
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let refused = Segment::open(&pipe).unwrap_err().to_string();
        assert!(refused.contains("not a regular file"), "{refused}");
    }

    #[test]
    fn who_may_only_read_it_keeps_nobody_from_writing() {
        let folder = folder();
        let path = folder.path().join("shm0");
        drop(Segment::open(&path).unwrap());
        let reader = File::open(&path).unwrap();
        reader.lock().unwrap();
        drop(Segment::open(&path).unwrap());
        let mode = fs::metadata(beside(&path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else may lock what we lock");
    }

    #[test]
    fn a_file_that_a_reboot_leaves_is_refused_and_everybody_may_read_what_is_made() {
        // The sources are on a disk.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/shm0");
        let refused = Segment::open(&path).unwrap_err().to_string();
        assert!(refused.contains("tmpfs"), "{refused}");
        assert!(!path.exists());
        let folder = folder();
        let path = folder.path().join("shm0");
        drop(Segment::open(&path).unwrap());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
}
