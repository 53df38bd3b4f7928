//! How a running program is asked for its status.

use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::command_line::runtime_folder;
use crate::report::answering::left;
use crate::report::status::{FOLLOWER, FollowerStatus, MASTER, MasterStatus, Status, VERSION};

/// How long a running program may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How soon to try again where others are in the way.
const RETRY: Duration = Duration::from_millis(20);

/// No status is longer than this.
const LONGEST: u64 = 256 << 20;

/// What every status says, whatever its version.
#[derive(Debug, Deserialize)]
pub struct Header {
    version: u32,
    program: String,
}

/// A program that has left its socket behind, or none.
#[derive(Debug, thiserror::Error)]
#[error("nobody answers at {}: the program has ended", .0.display())]
pub struct Ended(PathBuf);

/// Where the programs with this name are that run on this machine.
///
/// # Errors
/// When there is none.
pub fn find(program: &str) -> anyhow::Result<Vec<PathBuf>> {
    let found = runtime_folder::status_sockets(program);
    if found.is_empty() {
        let folders = runtime_folder::folders();
        let folders: Vec<_> = folders
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        bail!(
            "no {program} runs on this machine that this user may ask (looked into {}); \
             --socket names the socket of one",
            folders.join(", ")
        );
    }
    Ok(found)
}

/// Asks the program at this socket, which has so long to answer: the document, as it is.
///
/// # Errors
/// When nobody is there, or it does not answer in time.
pub fn ask(socket: &Path, patience: Duration) -> anyhow::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let asked = connect(socket, deadline).and_then(|stream| read(&stream, deadline));
    let at = socket.display();
    let document = asked.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
            anyhow::Error::new(Ended(socket.to_owned()))
        }
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("this user may not ask at {at}; ask as the user who runs the program")
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => anyhow::anyhow!(
            "no answer came from {at} in {}: the program hangs, or too many ask{}",
            humantime::format_duration(Duration::from_millis(patience.as_millis() as u64)),
            runtime_folder::hint(socket)
        ),
        _ => anyhow::Error::new(error).context(format!("cannot ask at {at}")),
    })?;
    if document.is_empty() {
        let hint = runtime_folder::hint(socket);
        bail!("no answer came from {at}: too many ask; try again{hint}");
    }
    Ok(document)
}

/// Connects to a socket, for which others may queue.
///
/// # Errors
/// The operating system's; and when it takes too long.
pub fn connect(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A socket whose queue is full would hold us for as long as it stays so.
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    while let Err(error) = socket.connect(&address) {
        if error.kind() != ErrorKind::WouldBlock {
            return Err(error);
        }
        thread::sleep(RETRY.min(left(deadline)?));
    }
    socket.set_nonblocking(false)?;
    Ok(OwnedFd::from(socket).into())
}

fn read(stream: &UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let (mut document, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let mut stream = stream.take(LONGEST);
    loop {
        stream.get_ref().set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(document),
            Ok(came) => document.extend_from_slice(&buffer[..came]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // It had to make room for another: there is no answer.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads a document, which came from this socket.
///
/// # Errors
/// When it is none, or of another version.
pub fn parse(document: &[u8], socket: &Path) -> anyhow::Result<Status> {
    let header = check(document, socket)?;
    let whole = if header.program == MASTER {
        serde_json::from_slice::<MasterStatus>(document)
            .map(|status| Status::Master(Box::new(status)))
    } else {
        serde_json::from_slice::<FollowerStatus>(document)
            .map(|status| Status::Follower(Box::new(status)))
    };
    whole.with_context(|| {
        format!(
            "the answer from {} is not whole; ask again",
            socket.display()
        )
    })
}

/// Whether a document, which came from this socket, is one that we know.
///
/// # Errors
/// When it is none, or of another version.
pub fn check(document: &[u8], socket: &Path) -> anyhow::Result<Header> {
    let at = || {
        format!(
            "what answers at {} is no Berkeley program",
            socket.display()
        )
    };
    let header: Header = serde_json::from_slice(document).with_context(at)?;
    if header.version != VERSION {
        bail!(
            "the program at {} tells version {} of its status, and this one knows version {VERSION} \
             only: ask with the release that runs, or restart it with this one",
            socket.display(),
            header.version
        );
    }
    if ![MASTER, FOLLOWER].contains(&header.program.as_str()) {
        bail!(at());
    }
    Ok(header)
}

/// Asks the program at this socket, and reads what it says.
///
/// # Errors
/// Those of [`ask`] and [`parse`].
pub fn status(socket: &Path, patience: Duration) -> anyhow::Result<Status> {
    parse(&ask(socket, patience)?, socket)
}
