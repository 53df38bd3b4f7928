//! A group's secrets and the keys of its nodes, in a folder of their own.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use berkeley::Credentials;
use berkeley::internals::keys::code::Code;
use berkeley::internals::keys::codes::Codes;
use berkeley::internals::keys::file;
use berkeley::internals::keys::group::GroupKeys;
use berkeley::internals::keys::handshake::Caller;
use berkeley::internals::keys::holder::{Generation, Role};
use berkeley::internals::keys::node_key::NodeKey;
use berkeley::internals::keys::secret::Secret;
use tempfile::TempDir;

use super::programs::{Program, SOON};

pub(crate) struct Keys {
    folder: TempDir,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = Self { folder };
        let secret = Secret::random().expect("random numbers");
        file::create(&keys.group_file(), &GroupKeys::new(secret).text()).expect("a file");
        keys
    }

    pub(crate) fn group_file(&self) -> PathBuf {
        self.folder.path().join("group.key")
    }

    pub(crate) fn group(&self) -> GroupKeys {
        file::read_group(&self.group_file()).expect("a group").0
    }

    /// Changes the secrets, as `berkeley-master key` does.
    pub(crate) fn change(&self, change: impl FnOnce(&mut GroupKeys)) {
        let mut group = self.group();
        change(&mut group);
        file::replace(&self.group_file(), &group.text()).expect("a file");
    }

    pub(crate) fn node(&self, name: &str, generation: Option<Generation>) -> NodeKey {
        let name = name.parse().expect("a name");
        self.group().node(Role::Follower, name, generation)
    }

    /// The file with a follower's key, of the newest generation.
    pub(crate) fn node_file(&self, name: &str) -> PathBuf {
        let path = self
            .folder
            .path()
            .join(format!("{}.key", name.replace('/', "-")));
        let line = self.node(name, None).line();
        file::replace(&path, &format!("{line}\n")).expect("a file");
        path
    }

    /// `berkeley-master` with the group's secrets, on a free port of the loopback.
    pub(crate) fn master(&self, arguments: &[&str]) -> Program {
        let path = self.group_file();
        let keyed = ["--key-file", path.to_str().expect("a name")];
        Program::master(&[&keyed, arguments].concat())
    }

    /// `berkeley-follower` with a key.
    pub(crate) fn follower(&self, name: &str, master: SocketAddr) -> Program {
        let path = self.node_file(name);
        Program::follower(master, &["--key-file", path.to_str().expect("a name")])
    }
}

/// The keys of all groups, where all tests are to run with keys: `BERKELEY_TEST_KEYS=1`.
pub(crate) fn of_all() -> Option<&'static Keys> {
    static KEYS: LazyLock<Option<Keys>> = LazyLock::new(|| {
        let keyed = std::env::var_os("BERKELEY_TEST_KEYS").is_some();
        keyed.then(Keys::new)
    });
    KEYS.as_ref()
}

/// A master's flags for that, unless it has others on keys.
pub(crate) fn master_flags(others: &[&str]) -> Vec<OsString> {
    let keys = of_all().filter(|_| !others.contains(&"--key-file"));
    keys.map_or_else(Vec::new, |keys| {
        vec!["--key-file".into(), keys.group_file().into()]
    })
}

/// A follower's flags for that: a key of a name of its own.
pub(crate) fn follower_flags(others: &[&str]) -> Vec<OsString> {
    let keys = of_all().filter(|_| !others.contains(&"--key-file") && !others.contains(&"--wire"));
    keys.map_or_else(Vec::new, |keys| {
        let named = others.iter().position(|flag| *flag == "--name");
        let name = named.map_or_else(next_name, |place| others[place + 1].to_owned());
        vec!["--key-file".into(), keys.node_file(&name).into()]
    })
}

/// The same for a follower in this process.
pub(crate) fn credentials() -> Option<Credentials> {
    of_all().map(|keys| Credentials::Node(keys.node_file(&next_name())))
}

fn next_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("node{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs one of the programs to its end; what it printed on stdout, or else on stderr.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("input");
    fs::write(&file, input).expect("a file");
    let output = Command::new(program)
        .args(arguments)
        .stdin(fs::File::open(&file).expect("a file"))
        .output()
        .expect("it starts");
    let [out, error] = [output.stdout, output.stderr].map(|text| {
        let text = String::from_utf8(text).expect("UTF-8");
        text.trim_end().to_owned()
    });
    if output.status.success() {
        Ok(out)
    } else {
        Err(error)
    }
}

/// A peer that has a key and says what the test wants.
pub(crate) struct KeyedPeer {
    reader: BufReader<TcpStream>,
    codes: Codes,
}

/// A peer that has opened with its key, and was not answered yet.
pub(crate) struct Calling {
    reader: BufReader<TcpStream>,
    caller: Caller,
}

impl Calling {
    /// Opens with this key, whatever it is good for.
    pub(crate) fn open(stream: TcpStream, key: &NodeKey) -> Self {
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        let caller = Caller::new(key, Code::random().expect("random numbers"));
        let mut reader = BufReader::new(stream);
        let opening = format!("{}\n", caller.opening());
        reader
            .get_mut()
            .write_all(opening.as_bytes())
            .expect("it reads");
        Self { reader, caller }
    }

    /// Takes the answer and goes on, if both ends have proven the key.
    pub(crate) fn prove(mut self) -> Result<KeyedPeer, String> {
        let answer = read(&mut self.reader);
        let proven = self.caller.prove(&answer);
        let (proof, codes) = proven.map_err(|error| error.to_string())?;
        let proof = format!("{proof}\n");
        let mut reader = self.reader;
        reader
            .get_mut()
            .write_all(proof.as_bytes())
            .expect("it reads");
        Ok(KeyedPeer { reader, codes })
    }
}

impl KeyedPeer {
    /// Opens with this key, whatever it is good for, and goes on once both ends have proven it.
    pub(crate) fn join(server: SocketAddr, key: &NodeKey) -> Result<Self, String> {
        let stream = TcpStream::connect(server).expect("it listens");
        Calling::open(stream, key).prove()
    }

    pub(crate) fn say(&mut self, line: &str) {
        let mut line = format!("{line}\n");
        self.codes.seal(&mut line);
        let _ = self.reader.get_mut().write_all(line.as_bytes());
    }

    /// The next line, which has to have its code.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        let line = read(&mut self.reader);
        self.codes
            .open(&line)
            .unwrap_or_else(|_| panic!("{line:?} has no code"))
            .to_owned()
    }

    /// Waits until the server has ended the connection.
    pub(crate) fn hears_the_end(&mut self) {
        while !read(&mut self.reader).is_empty() {}
    }

    /// The next line that begins so.
    #[track_caller]
    pub(crate) fn hear_of(&mut self, begin: &str) -> String {
        loop {
            let line = self.hear();
            if line.starts_with(begin) {
                return line;
            }
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let _ = reader.read_line(&mut line);
    line.trim_end().to_owned()
}

/// Starts a thread of a test's.
pub(crate) fn start<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let thread = thread::Builder::new().name("test".to_owned());
    thread.spawn(run).expect("a thread")
}
