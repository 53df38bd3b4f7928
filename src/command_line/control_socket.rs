//! The socket at which a running master is told what to do: a line in, a line out. Only root may
//! write to it, and the user who runs the master.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::command_line::orders;
use crate::command_line::runtime_folder::RuntimeFolder;
use crate::command_line::telling::{DONE, REFUSED};
use crate::master::operator::Operator;
use crate::master::order::Done;
use crate::report::answering::{self, DEADLINE, Stream, left, write_all};
use crate::report::status::MASTER;

/// No order is longer than this, its newline included.
const LONGEST: usize = 512;

/// The socket, which is taken away again when this is dropped.
#[derive(Debug)]
pub struct ControlSocket(PathBuf);

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Lets an operator tell this process what to do. A master does its work without that, so what is
/// in the way is only logged.
#[must_use]
pub fn open(operator: Operator) -> Option<ControlSocket> {
    // What is wrong with the folder is said where the status socket is opened.
    let path = RuntimeFolder::make().ok()?.control_socket(MASTER);
    match listen(&path, operator) {
        Ok(()) => Some(ControlSocket(path)),
        Err(error) => {
            let path = path.display();
            log::warn!("nobody can tell this master anything: cannot listen at {path}: {error}");
            None
        }
    }
}

fn listen(path: &Path, operator: Operator) -> io::Result<()> {
    // A process that had our number before us may have left one.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let accept = move || Ok(listener.accept()?.0);
    let answer = move |stream: &UnixStream| {
        let answer = match obey(stream, &operator)? {
            Ok(done) => format!("{DONE}{done}\n"),
            Err(why) => format!("{REFUSED}{why}\n"),
        };
        write_all(stream, answer.as_bytes())
    };
    answering::serve("control", accept, answer)
}

/// Does what a line says, or says why not.
fn obey(stream: &UnixStream, operator: &Operator) -> io::Result<Result<Done, String>> {
    let line = match read_line(stream) {
        Ok(line) => line,
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            let why = "an order is one line of printable characters";
            return Ok(Err(why.to_owned()));
        }
        Err(error) => return Err(error),
    };
    // Whoever was let in before the file's mode was set is sent away here.
    let told = teller(stream).and_then(|who| {
        let order = orders::parse(&line)?;
        let done = operator.tell(&order, &who);
        done.map_err(|error| error.to_string())
    });
    Ok(told)
}

/// A whole line of printable ASCII.
fn read_line(stream: &UnixStream) -> io::Result<String> {
    let deadline = Instant::now() + DEADLINE;
    let (mut line, mut buffer) = (Vec::new(), [0; LONGEST]);
    loop {
        stream.patience(left(deadline)?)?;
        let came = stream.take(&mut buffer)?;
        line.extend_from_slice(&buffer[..came]);
        let end = line.iter().position(|byte| *byte == b'\n');
        if let Some(end) = end.or((came == 0).then_some(line.len())) {
            line.truncate(end);
            let printable = line.iter().all(|byte| matches!(byte, b' '..=b'~'));
            let text = String::from_utf8(line).ok().filter(|_| printable);
            return text.ok_or_else(|| ErrorKind::InvalidData.into());
        }
        if line.len() >= LONGEST {
            return Err(ErrorKind::InvalidData.into());
        }
    }
}

/// Who is at the other end: the name of a user, or why it is not to be listened to.
#[cfg(target_os = "linux")]
fn teller(stream: &UnixStream) -> Result<String, String> {
    let peer = rustix::net::sockopt::socket_peercred(stream);
    let user = peer
        .map_err(|error| format!("nobody knows who you are: {error}"))?
        .uid;
    if user.is_root() || user == rustix::process::geteuid() {
        Ok(name_of(user.as_raw()))
    } else {
        Err("only root may tell this master anything, and the user who runs it".to_owned())
    }
}

/// The file's mode says who may be.
#[cfg(not(target_os = "linux"))]
fn teller(_: &UnixStream) -> Result<String, String> {
    Ok("an operator".to_owned())
}

/// A user's name, if the machine itself knows one.
#[cfg(target_os = "linux")]
fn name_of(user: u32) -> String {
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then_some(name)
    });
    let plain = |name: &&str| {
        name.bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"_-.".contains(&it))
    };
    let name = name.filter(plain).map(str::to_owned);
    name.unwrap_or_else(|| format!("uid {user}"))
}
