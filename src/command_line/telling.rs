//! How a running master is told what to do.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::command_line::{asking, runtime_folder};
use crate::report::answering::left;
use crate::report::status::MASTER;

/// How long a master may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// No answer is longer than this.
const LONGEST: u64 = 4096;

/// Begins the answer of a master that has done what it was told.
pub const DONE: &str = "ok: ";

/// Begins the answer of one that has not.
pub const REFUSED: &str = "error: ";

/// Tells the master at this socket, or the one that runs on this machine, and prints its answer.
///
/// # Errors
/// When there is none, when it is not sure which, or when it does not do it.
pub fn tell(socket: Option<PathBuf>, line: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let (path, stream) = match socket {
        Some(path) => {
            let stream = connect(&path, deadline)?;
            (path, stream)
        }
        None => the_one_that_runs(deadline)?,
    };
    let hint = runtime_folder::control_hint(&path);
    let answer = ask(&stream, line, deadline);
    let answer = answer.with_context(|| format!("no answer came from {}{hint}", path.display()))?;
    if let Some(done) = answer.strip_prefix(DONE) {
        println!("{done}");
        return Ok(());
    }
    match answer.strip_prefix(REFUSED) {
        Some(why) => bail!("{why}"),
        None => bail!("what answers at {} is no master{hint}", path.display()),
    }
}

fn connect(path: &Path, deadline: Instant) -> anyhow::Result<UnixStream> {
    let at = path.display();
    asking::connect(path, deadline).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
            anyhow::anyhow!("nobody answers at {at}: the master has ended")
        }
        ErrorKind::PermissionDenied => anyhow::anyhow!(
            "this user may not tell the master at {at} anything: only root may, and the user who \
             runs it"
        ),
        _ => anyhow::Error::new(error).context(format!("cannot reach {at}")),
    })
}

/// The only master that runs on this machine and listens to this user.
fn the_one_that_runs(deadline: Instant) -> anyhow::Result<(PathBuf, UnixStream)> {
    let (mut found, mut failed) = (Vec::new(), None);
    for path in runtime_folder::control_sockets(MASTER) {
        match connect(&path, deadline) {
            Ok(stream) => found.push((path, stream)),
            Err(error) => failed = Some(error),
        }
    }
    if found.len() > 1 {
        let paths: Vec<_> = found
            .iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        bail!(
            "several masters run on this machine; name the one to tell: --socket {}",
            paths.join(" or --socket ")
        );
    }
    match (found.pop(), failed) {
        (Some(found), _) => Ok(found),
        (None, Some(error)) => Err(error),
        (None, None) => bail!(
            "no {MASTER} runs on this machine that this user may tell anything; --socket names the \
             control socket of one"
        ),
    }
}

fn ask(mut stream: &UnixStream, line: &str, deadline: Instant) -> io::Result<String> {
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(line.as_bytes())?;
    stream.write_all(b"\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.set_read_timeout(Some(left(deadline)?))?;
    stream.take(LONGEST).read_to_string(&mut answer)?;
    if answer.ends_with('\n') {
        answer.pop();
        Ok(answer)
    } else {
        Err(ErrorKind::UnexpectedEof.into())
    }
}
