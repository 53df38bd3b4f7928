//! Connections of those who ask, local or over a network: a thread for each, a limit on how many
//! there are, and a deadline for each whole answer. No round waits for any of them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// So many are answered at a time. One more takes the place of the one that came first: who reads
/// is done within milliseconds, so that is one who does not.
pub const PLACES: usize = 16;

/// Threads of those who had to leave may still be busy with their last words; so many are there
/// at most, and whoever comes then is turned away.
const THREADS: usize = 2 * PLACES;

/// How long one may take to say what it asks for, and as long again to take the answer.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait when the process has no descriptor or thread left.
const PAUSE: Duration = Duration::from_millis(100);

/// A page of JSON is made on it, not kept on it.
const STACK: usize = 256 * 1024;

/// A connection of either kind.
pub trait Stream: Send + Sync + Sized + 'static {
    /// Ends it, whatever its thread is waiting for.
    fn hang_up(&self);
    /// Sets how long the next read or write may take, which is not 0.
    ///
    /// # Errors
    /// The operating system's.
    fn patience(&self, patience: Duration) -> io::Result<()>;
    /// Reads what has come.
    ///
    /// # Errors
    /// The operating system's.
    fn take(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// The operating system's.
    fn give(&self, bytes: &[u8]) -> io::Result<usize>;
}

macro_rules! stream {
    ($kind:ty) => {
        impl Stream for $kind {
            fn hang_up(&self) {
                let _ = self.shutdown(Shutdown::Both);
            }

            fn patience(&self, patience: Duration) -> io::Result<()> {
                self.set_read_timeout(Some(patience))?;
                self.set_write_timeout(Some(patience))
            }

            fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
                (&mut &*self).read(buffer)
            }

            fn give(&self, bytes: &[u8]) -> io::Result<usize> {
                (&mut &*self).write(bytes)
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

/// What is left until `deadline`.
///
/// # Errors
/// When nothing is.
pub fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// Writes all of it within [`DEADLINE`].
///
/// # Errors
/// When the reader is too slow, or gone.
pub fn write_all(stream: &impl Stream, mut bytes: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while !bytes.is_empty() {
        stream.patience(left(deadline)?)?;
        match stream.give(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Those who are answered now, the one that came first at the front.
struct Places<S>(Mutex<VecDeque<Place<S>>>);

struct Place<S> {
    stream: Arc<S>,
    /// Whether it had to leave, and its thread has still to notice.
    leaves: bool,
}

impl<S: Stream> Places<S> {
    /// Takes one in, for whom another may have to leave; `None` if there is no room even so.
    fn enter(&self, stream: S) -> Option<Arc<S>> {
        let mut places = lock(&self.0);
        if places.len() >= THREADS {
            return None;
        }
        let stay = places.iter().filter(|place| !place.leaves).count();
        if stay >= PLACES
            && let Some(first) = places.iter_mut().find(|place| !place.leaves)
        {
            first.leaves = true;
            first.stream.hang_up();
        }
        let stream = Arc::new(stream);
        places.push_back(Place {
            stream: Arc::clone(&stream),
            leaves: false,
        });
        Some(stream)
    }

    fn leave(&self, stream: &Arc<S>) {
        lock(&self.0).retain(|place| !Arc::ptr_eq(&place.stream, stream));
    }
}

/// One who is answered. However that ends, its place is free again.
struct Guest<S: Stream>(Arc<S>, Arc<Places<S>>);

impl<S: Stream> Drop for Guest<S> {
    fn drop(&mut self) {
        self.0.hang_up();
        self.1.leave(&self.0);
    }
}

/// Answers all who come, in threads of this name, until the process ends.
///
/// # Errors
/// When there is no thread to begin with.
pub fn serve<S: Stream>(
    name: &'static str,
    accept: impl Fn() -> io::Result<S> + Send + 'static,
    answer: impl Fn(&S) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<()> {
    let places = Arc::new(Places(Mutex::default()));
    let answer = Arc::new(answer);
    let run = move || {
        loop {
            let stream = match accept() {
                Ok(stream) => stream,
                Err(error) => {
                    log::debug!("{name}: a connection was not accepted: {error}");
                    thread::sleep(PAUSE);
                    continue;
                }
            };
            let Some(stream) = places.enter(stream) else {
                continue;
            };
            let (here, all, answer) = (
                Arc::clone(&stream),
                Arc::clone(&places),
                Arc::clone(&answer),
            );
            let asked = move || {
                let here = Guest(here, all);
                if let Err(error) = answer(&here.0) {
                    log::debug!("{name}: an answer was not given: {error}");
                }
            };
            let thread = thread::Builder::new().name(name.to_owned());
            if thread.stack_size(STACK).spawn(asked).is_err() {
                places.leave(&stream);
                thread::sleep(PAUSE);
            }
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn an_answer_that_fails_badly_takes_no_place() {
        let (callers, called) = mpsc::channel::<UnixStream>();
        let called = Mutex::new(called);
        let accept = move || {
            let next = lock(&called).recv();
            next.map_err(|_| {
                thread::sleep(Duration::from_secs(9));
                ErrorKind::NotConnected.into()
            })
        };
        let answer = |stream: &UnixStream| {
            let mut word = [0];
            Stream::take(stream, &mut word)?;
            assert_eq!(word, *b"x", "this thread is to panic");
            write_all(stream, b"well")
        };
        serve("test", accept, answer).unwrap();
        let ask = |word: &[u8]| {
            let (mut here, there) = UnixStream::pair().unwrap();
            callers.send(there).unwrap();
            here.write_all(word).unwrap();
            let mut said = String::new();
            here.read_to_string(&mut said).unwrap();
            said
        };
        for _ in 0..3 * THREADS {
            assert_eq!(ask(b"y"), "");
        }
        assert_eq!(ask(b"x"), "well");
    }
}
