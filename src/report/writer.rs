//! A file that grows by lines, written by a thread of its own: a disk that hangs holds up nothing but
//! its lines.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use crate::rate_limit::{Limit, Throttle};
use crate::regular_file;

/// How long the start waits for the file: a disk answers sooner. Whoever does not may still do so
/// later, and is written to from then on.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the end waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(200);

/// So many bytes may wait to be written, a few rounds of ten thousand clocks; lines beyond that are
/// dropped.
const MOST_WAITING: usize = 8 << 20;

/// Why there can be no record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file can't be opened, read or written.
    #[error("cannot write --record {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The file holds something else.
    #[error(
        "--record {} holds something else, or a record with other columns: move it away, or name \
         another file",
        path.display()
    )]
    OtherColumns {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gives no thread to write with.
    #[error("cannot write --record {}: no thread: {error}", path.display())]
    Thread {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

/// Where to tell whether something worked.
type Answer = SyncSender<Result<(), RecordError>>;

enum Job {
    /// Make the file ready for lines under this header.
    Begin(Header, Answer),
    Append(String),
}

/// The first line of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// The columns that there are.
    pub(crate) columns: &'static str,
    /// Those that there were in the first release: a file with these, or some of the later ones, is
    /// continued as it is.
    pub(crate) first: &'static str,
}

/// The writing thread's other end, which never waits for longer than it says.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    /// `None` at the end.
    jobs: Option<Sender<Job>>,
    /// How many bytes have not been written yet.
    waiting: Arc<AtomicUsize>,
    /// Whether the file could be opened at once.
    opened: bool,
    dropped: Dropped,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

/// The lines that were dropped since the last one that was not.
#[derive(Debug)]
struct Dropped {
    lines: usize,
    warnings: Throttle,
}

impl Writer {
    /// Opens the file, or makes it. What is in it stays as it is until [`Writer::begin`]: it may be
    /// the record of a program that is running, and that this one can't run beside.
    pub(crate) fn open(path: &Path) -> Result<Self, RecordError> {
        let path = path.to_owned();
        let (jobs, queue) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let (answer, opened) = mpsc::sync_channel(1);
        let waiting = Arc::<AtomicUsize>::default();
        let thread = WritingThread {
            path: path.clone(),
            waiting: Arc::clone(&waiting),
            lost: Dropped::none(),
            columns: usize::MAX,
            _alive: alive,
        };
        thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || thread.run(&answer, &queue))
            .map_err(|error| RecordError::Thread {
                path: path.clone(),
                error,
            })?;
        let opened = wait(&opened)?;
        if !opened {
            log::warn!(
                "--record {}: it can't be opened yet, because the disk does not answer; going on",
                path.display()
            );
        }
        Ok(Self {
            path,
            jobs: Some(jobs),
            waiting,
            opened,
            dropped: Dropped::none(),
            ended,
        })
    }

    /// Makes the file ready for lines under `header`: an empty one gets it, and one that begins
    /// with it is continued after its last whole line. One of an older release lacks the last
    /// columns; lines are cut to those that it has.
    pub(crate) fn begin(&mut self, header: Header) -> Result<(), RecordError> {
        let (answer, begun) = mpsc::sync_channel(1);
        if let Some(jobs) = &self.jobs {
            // Should the thread have ended, it has said why.
            let _ = jobs.send(Job::Begin(header, answer));
        }
        if self.opened {
            wait(&begun)?;
        }
        Ok(())
    }

    /// Writes whole lines, when their turn comes.
    pub(crate) fn append(&mut self, lines: String) {
        if self.waiting.load(Ordering::Relaxed) + lines.len() > MOST_WAITING {
            let why = "it takes lines more slowly than they come";
            self.dropped.add(&lines, &self.path, why);
            return;
        }
        self.dropped.over(&self.path);
        self.waiting.fetch_add(lines.len(), Ordering::Relaxed);
        if let Some(jobs) = &self.jobs {
            // Should the thread have ended, it has said why.
            let _ = jobs.send(Job::Append(lines));
        }
    }
}

impl Drop for Writer {
    /// Lets the last lines be written, if that does not take long.
    fn drop(&mut self) {
        self.jobs = None;
        let late = self.ended.recv_timeout(LAST_LINES) == Err(RecvTimeoutError::Timeout);
        let waiting = self.waiting.load(Ordering::Relaxed);
        if late && waiting > 0 {
            log::warn!(
                "--record {}: the last {waiting} bytes were not written in time",
                self.path.display()
            );
        }
    }
}

impl Dropped {
    fn none() -> Self {
        Self {
            lines: 0,
            warnings: Throttle::new(Limit::LASTING),
        }
    }

    fn add(&mut self, lines: &str, path: &Path, why: &str) {
        self.lines += lines.lines().count();
        if self.warnings.admit(Instant::now()).is_some() {
            log::warn!(
                "--record {}: {why}; going on without the lines that don't fit, {} so far",
                path.display(),
                self.lines
            );
        }
    }

    fn over(&mut self, path: &Path) {
        if self.lines > 0 {
            log::info!(
                "--record {}: it is written again, without {} lines",
                path.display(),
                self.lines
            );
            *self = Self::none();
        }
    }
}

/// Waits for what a file does. False if it is still doing it.
fn wait(answer: &Receiver<Result<(), RecordError>>) -> Result<bool, RecordError> {
    match answer.recv_timeout(PATIENCE) {
        Ok(done) => done.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// What the writing thread knows.
struct WritingThread {
    path: PathBuf,
    waiting: Arc<AtomicUsize>,
    lost: Dropped,
    /// So many columns of each line are written.
    columns: usize,
    _alive: Sender<()>,
}

impl WritingThread {
    fn run(mut self, opened: &Answer, queue: &Receiver<Job>) {
        // To append, so that a line that did not fit leaves no hole behind.
        let mut options = File::options();
        let file = regular_file::open(&self.path, options.create(true).read(true).append(true));
        let mut file = match file {
            Ok(file) => {
                tell(opened, Ok(()));
                file
            }
            Err(error) => return tell(opened, Err(self.cannot_write(error))),
        };
        for job in queue {
            match job {
                Job::Begin(header, begun) => match self.begin(&mut file, header) {
                    Ok(()) => tell(&begun, Ok(())),
                    Err(error) => return tell(&begun, Err(error)),
                },
                Job::Append(lines) => {
                    match append(&mut file, &cut(&lines, self.columns)) {
                        Ok(()) => self.lost.over(&self.path),
                        Err(error) => self.lost.add(&lines, &self.path, &error.to_string()),
                    }
                    self.waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                }
            }
        }
    }

    fn cannot_write(&self, error: io::Error) -> RecordError {
        RecordError::Write {
            path: self.path.clone(),
            error,
        }
    }

    fn begin(&mut self, file: &mut File, header: Header) -> Result<(), RecordError> {
        match begin(file, header) {
            Ok(Begun::Whole) => Ok(()),
            Ok(Begun::Older(columns)) => {
                let left_out: Vec<_> = header.columns.split(',').skip(columns).collect();
                log::warn!(
                    "--record {}: it is of an older release, and goes on without {}; move it away \
                     for those",
                    self.path.display(),
                    left_out.join(", ")
                );
                self.columns = columns;
                Ok(())
            }
            Ok(Begun::Mended) => {
                log::warn!(
                    "--record {}: its last line was torn, and is cut off",
                    self.path.display()
                );
                Ok(())
            }
            Ok(Begun::Refused) => Err(RecordError::OtherColumns {
                path: self.path.clone(),
            }),
            Err(error) => Err(self.cannot_write(error)),
        }
    }
}

/// Answers, or logs what nobody waits for any more.
fn tell(answer: &Answer, done: Result<(), RecordError>) {
    if let Err(mpsc::SendError(Err(error))) = answer.send(done) {
        log::warn!("no record: {error}");
    }
}

/// How a file was found.
enum Begun {
    Whole,
    Mended,
    /// It has only the first so many columns.
    Older(usize),
    Refused,
}

fn begin(file: &mut File, Header { columns, first }: Header) -> io::Result<Begun> {
    let header = format!("{columns}\n").into_bytes();
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(header.len() as u64).read_to_end(&mut start)?;
    if start == header {
        let (whole, length) = whole_lines(file)?;
        if whole == length {
            return Ok(Begun::Whole);
        }
        file.set_len(whole)?;
        return Ok(Begun::Mended);
    }
    if !header.starts_with(&start) {
        let line = start.split(|byte| *byte == b'\n').next();
        let line = line.and_then(|line| str::from_utf8(line).ok());
        let older = line.filter(|line| {
            let more = columns.strip_prefix(line);
            line.starts_with(first) && more.is_some_and(|more| more.starts_with(','))
        });
        let Some(older) = older else {
            return Ok(Begun::Refused);
        };
        let (whole, _) = whole_lines(file)?;
        file.set_len(whole)?;
        return Ok(Begun::Older(older.split(',').count()));
    }
    // It is empty, or all that it holds is a part of the header.
    file.set_len(0)?;
    file.write_all(&header)?;
    Ok(Begun::Whole)
}

/// How much of a file is whole lines, and how long it is, in bytes.
fn whole_lines(file: &mut File) -> io::Result<(u64, u64)> {
    let mut part = [0; 4096];
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    while end > 0 {
        let begin = end.saturating_sub(part.len() as u64);
        let part = &mut part[..(end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(part)?;
        if let Some(newline) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok((begin + newline as u64 + 1, length));
        }
        end = begin;
    }
    Ok((0, length))
}

/// The first so many columns of each line.
fn cut(lines: &str, columns: usize) -> Cow<'_, str> {
    if columns == usize::MAX {
        return Cow::Borrowed(lines);
    }
    let cut = lines.lines().map(|line| {
        let end = line.match_indices(',').nth(columns - 1);
        format!("{}\n", end.map_or(line, |(end, _)| &line[..end]))
    });
    Cow::Owned(cut.collect())
}

/// Writes all of the lines or, if they don't fit, none.
fn append(file: &mut File, lines: &str) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = file.write_all(lines.as_bytes());
    if written.is_err() {
        // What did fit may be half a line.
        let _ = file.set_len(before);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEADER: Header = Header {
        columns: "a,b",
        first: "a,b",
    };

    /// What a file with `before` in it holds after a run that writes the line `1,2`.
    fn after_a_run(before: Option<&str>) -> Result<String, RecordError> {
        after_lines(before, HEADER, "1,2\n")
    }

    /// The same after a run that writes these lines under this header.
    fn after_lines(
        before: Option<&str>,
        header: Header,
        lines: &str,
    ) -> Result<String, RecordError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.csv");
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
        let mut writer = Writer::open(&path)?;
        let begun = writer.begin(header);
        if begun.is_ok() {
            writer.append(lines.to_owned());
        }
        drop(writer);
        let after = fs::read_to_string(&path).unwrap();
        match begun {
            Ok(()) => Ok(after),
            Err(error) => {
                assert_eq!(before, Some(&*after), "it was refused and changed");
                Err(error)
            }
        }
    }

    #[test]
    fn a_restart_goes_on_after_the_last_whole_line() {
        let long = format!("a,b\n{}", "8,9\n".repeat(5000));
        for (before, after) in [
            (None, "a,b\n"),
            (Some(""), "a,b\n"),
            (Some("a,b\n"), "a,b\n"),
            (Some("a,b\n8,9\n"), "a,b\n8,9\n"),
            // A crash, or a disk that was full.
            (Some("a,"), "a,b\n"),
            (Some("a,b"), "a,b\n"),
            (Some("a,b\n8,9\n7"), "a,b\n8,9\n"),
            (Some("a,b\n8,9\n\0\0\0"), "a,b\n8,9\n"),
            (Some(&format!("{long}7,{}", "6".repeat(9000))), &long),
        ] {
            let expected = format!("{after}1,2\n");
            assert!(after_a_run(before).unwrap() == expected, "{before:?}");
        }
    }

    #[test]
    fn a_record_of_an_older_release_goes_on_with_its_columns() {
        let header = Header {
            columns: "a,b,c,d",
            first: "a,b",
        };
        let after = |before| after_lines(Some(before), header, "1,2,3,4\n5,6,,\n");
        assert_eq!(after("a,b,c,d\n").unwrap(), "a,b,c,d\n1,2,3,4\n5,6,,\n");
        assert_eq!(after("a,b,c\n").unwrap(), "a,b,c\n1,2,3\n5,6,\n");
        assert_eq!(after("a,b\n8,9\n7").unwrap(), "a,b\n8,9\n1,2\n5,6\n");
        for other in ["a\n", "a,b,cc\n", "a,b,c,d,e\n", "a,bb\n"] {
            after(other).unwrap_err();
        }
    }

    #[test]
    fn a_file_with_something_else_in_it_is_refused_and_left_alone() {
        for before in ["a,b,c\n1,2,3\n", "a\n", "\n", "an older record", "a,c"] {
            let error = after_a_run(Some(before)).unwrap_err();
            assert!(
                matches!(error, RecordError::OtherColumns { .. }),
                "{before:?}"
            );
            let said = error.to_string();
            assert!(said.starts_with("--record "), "{said}");
            assert!(said.contains("record.csv holds"), "{said}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_at_the_start() {
        let missing = Path::new("/no/such/folder/x.csv");
        let said = Writer::open(missing).unwrap_err().to_string();
        assert!(
            said.starts_with("cannot write --record /no/such/folder/x.csv: "),
            "{said}"
        );
    }

    #[test]
    fn lines_that_nobody_takes_are_dropped_and_counted() {
        // Nobody writes what is sent here.
        let (jobs, queue) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let mut writer = Writer {
            path: PathBuf::from("record.csv"),
            jobs: Some(jobs),
            waiting: Arc::default(),
            opened: false,
            dropped: Dropped::none(),
            ended,
        };
        let lines = "1,2\n".repeat(1 << 18);
        for _ in 0..10 {
            writer.append(lines.clone());
        }
        assert_eq!(queue.try_iter().count(), 8);
        assert_eq!(writer.dropped.lines, 2 << 18);
        writer.waiting.store(0, Ordering::Relaxed);
        writer.append(lines);
        assert_eq!(writer.dropped.lines, 0, "they are written again");
        let began = Instant::now();
        drop(writer);
        assert!(began.elapsed() >= LAST_LINES, "it may still be written");
        drop(alive);
    }
}
