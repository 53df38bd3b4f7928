//! The socket at which a running program says how it is: whoever connects is given one JSON
//! document and the end of the stream.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::command_line::runtime_folder::RuntimeFolder;
use crate::report::answering::{self, write_all};
use crate::report::document::Document;

/// The socket, which is taken away again when this is dropped.
#[derive(Debug)]
pub struct StatusSocket(PathBuf);

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Gives this document to whoever asks for the status of this process, of the program with this
/// name. A program does its work without that, so what is in the way is only logged.
#[must_use]
pub fn open(program: &str, document: &Arc<Document>) -> Option<StatusSocket> {
    let path = match RuntimeFolder::make() {
        Ok(folder) => {
            folder.tidy();
            folder.status_socket(program)
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            log::warn!("`{program} status` will not find this one: {error:#}");
            return None;
        }
    };
    match listen(&path, document) {
        Ok(()) => Some(StatusSocket(path)),
        Err(error) => {
            let path = path.display();
            log::warn!(
                "`{program} status` will not find this one: cannot listen at {path}: {error}"
            );
            None
        }
    }
}

fn listen(path: &Path, document: &Arc<Document>) -> io::Result<()> {
    // A process that had our number before us may have left one.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    // Who may look into the folder may ask.
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    let document = Arc::clone(document);
    let accept = move || Ok(listener.accept()?.0);
    let answer = move |stream: &UnixStream| write_all(stream, &document.bytes());
    answering::serve("status", accept, answer)
}
