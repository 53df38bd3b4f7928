//! The status over HTTP, to be read only: a thread for each connection, each of which is asked one
//! thing, within the limits of [`answering`].

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::report::answering::{self, DEADLINE, Stream, left, write_all};

/// A request is no longer than this.
const LONGEST_REQUEST: usize = 8 * 1024;

/// Nor has it more header fields.
const MOST_FIELDS: usize = 64;

/// The page needs nothing from elsewhere and may not ask for it.
const FIELDS: &str = "Cache-Control: no-store\r\n\
    Connection: close\r\n\
    Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\n\
    Referrer-Policy: no-referrer\r\n\
    X-Content-Type-Options: nosniff\r\n";

/// Something to be read.
#[derive(Debug, Clone)]
pub struct Content {
    /// What it is, for `Content-Type`.
    pub kind: &'static str,
    /// It.
    pub bytes: Arc<[u8]>,
}

/// What there is at a path, asked for with a query (what follows `?`, or nothing).
pub type Site = dyn Fn(&str, &str) -> Option<Content> + Send + Sync;

/// Gives what `site` has to whoever asks at this address. Where, if the port was 0.
///
/// # Errors
/// When the address can't be listened on.
pub fn serve(address: SocketAddr, site: Arc<Site>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let here = listener.local_addr()?;
    let accept = move || Ok(listener.accept()?.0);
    let answer = move |stream: &TcpStream| answer(stream, &*site);
    answering::serve("http", accept, answer)?;
    Ok(here)
}

/// A request, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// Whether only the header of the answer is wanted.
    head: bool,
    path: String,
    query: String,
}

/// Why a request is not served: the status line's number and reason.
type Refusal = &'static str;

fn answer(stream: &TcpStream, site: &Site) -> io::Result<()> {
    let request = match read(stream) {
        Ok(request) => request,
        Err(error) if error.kind() == ErrorKind::TimedOut => Err("408 Request Timeout"),
        Err(error) => return Err(error),
    };
    let found = request.and_then(|request| {
        let found = site(&request.path, &request.query).ok_or("404 Not Found")?;
        Ok((request.head, found))
    });
    match found {
        Ok((true, content)) => write_all(stream, header("200 OK", &content).as_bytes()),
        Ok((false, content)) => {
            write_all(stream, header("200 OK", &content).as_bytes())?;
            write_all(stream, &content.bytes)
        }
        Err(refusal) => {
            let content = Content {
                kind: "text/plain; charset=utf-8",
                bytes: format!("{refusal}\n").into_bytes().into(),
            };
            write_all(stream, header(refusal, &content).as_bytes())?;
            write_all(stream, &content.bytes)
        }
    }
}

fn header(status: &str, content: &Content) -> String {
    let (kind, length) = (content.kind, content.bytes.len());
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}{FIELDS}\r\n"
    )
}

/// Reads a request, which has to be whole within [`DEADLINE`], however slowly it comes.
fn read(stream: &TcpStream) -> io::Result<Result<Request, Refusal>> {
    let deadline = Instant::now() + DEADLINE;
    let mut buffer = vec![0; LONGEST_REQUEST];
    let mut length = 0;
    loop {
        if let Some(request) = parse(&buffer[..length]) {
            return Ok(request);
        }
        if length == buffer.len() {
            return Ok(Err("431 Request Header Fields Too Large"));
        }
        stream.patience(left(deadline)?)?;
        match stream.take(&mut buffer[length..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(came) => length += came,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}

/// A request, if it is whole or can't become one.
fn parse(bytes: &[u8]) -> Option<Result<Request, Refusal>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => Some(understand(&request)),
        Err(_) => Some(Err("400 Bad Request")),
    }
}

fn understand(request: &httparse::Request) -> Result<Request, Refusal> {
    let head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err("405 Method Not Allowed"),
    };
    let target = request.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Request {
        head,
        path: path.to_owned(),
        query: query.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let get = |path: &str, query: &str| {
            Some(Ok(Request {
                head: false,
                path: path.to_owned(),
                query: query.to_owned(),
            }))
        };
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), get("/", ""));
        assert_eq!(parse(b"GET /a?b=c HTTP/1.0\r\n\r\n"), get("/a", "b=c"));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        for (sent, refusal) in [
            (&b"POST / HTTP/1.1\r\n\r\n"[..], "405 Method Not Allowed"),
            (b"\x16\x03\x01\x02\x00", "400 Bad Request"),
            (b"GET /\r\n\r\n", "400 Bad Request"),
        ] {
            assert_eq!(parse(sent), Some(Err(refusal)));
        }
    }
}
