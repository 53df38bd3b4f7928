//! A network for virtual hosts, in namespaces that end with the test, however it ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::Host;

/// Three kernels are enough for one machine: networks are waited for, not shared.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What suspend.c is compiled to.
const SUSPEND: &str = "suspend.so";

/// What counter.c is compiled to.
const COUNTER: &str = "counter";

/// Makes a bridge with a port for each host, and then waits for the end of its input.
const PLUG: &str = "
    ip link add switch type bridge && ip link set switch up &&
    for host in $(seq $0); do
        ip link add host$host type veth peer name port$host &&
        ip link set host$host up && ip link set port$host up master switch || exit
    done &&
    echo plugged && read -r _";

/// A switch, with cables for some hosts.
///
/// It is a shell, the first process of a process namespace that the hosts live in too: when it
/// ends, the kernel ends them all. And it ends when its input does, that is, with the test.
pub(crate) struct Network {
    shell: Child,
    /// Where the hosts' kernels leave their process ids, and [`SUSPEND`] is.
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Network {
    /// Boots hosts with the addresses 10.0.0.1 and up, and waits until they run.
    pub(crate) fn boot<const HOSTS: usize>() -> (Self, [Host; HOSTS]) {
        let turn = ONE_AT_A_TIME.lock();
        let mut shell = Command::new("unshare")
            .args(["--net", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", PLUG, &HOSTS.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let mut plugged = String::new();
        BufReader::new(shell.stdout.take().expect("a pipe"))
            .read_line(&mut plugged)
            .expect("a line");
        assert_eq!(plugged, "plugged\n", "it takes root to make a network");
        let folder = TempDir::new().expect("a folder");
        compile(
            &["-shared", "-fPIC"],
            "suspend.c",
            &folder.path().join(SUSPEND),
        );
        let network = Self {
            shell,
            folder,
            _turn: turn.unwrap_or_else(PoisonError::into_inner),
        };
        let hosts = std::array::from_fn(|index| Host::start(&network, index + 1));
        hosts.iter().for_each(Host::is_ready);
        (network, hosts)
    }

    /// A command that runs in this network, and not longer than it exists.
    pub(crate) fn command(&self, program: &str) -> Command {
        let namespaces = format!("/proc/{}/ns", self.shell.id());
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={namespaces}/net"))
            .arg(format!("--pid={namespaces}/pid_for_children"))
            .arg(program);
        command
    }

    /// Sends a host's kernel a signal.
    pub(super) fn signal(&self, host: usize, signal: &str) {
        let file = self.folder.path().join(format!("{host}/pid"));
        let kernel = std::fs::read_to_string(file).expect("the kernel's process id");
        let sent = self
            .command("kill")
            .args(["-s", signal, kernel.trim()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill fails");
    }

    /// What is to be loaded before a kernel, so that it can be suspended.
    pub(super) fn suspend(&self) -> PathBuf {
        self.folder.path().join(SUSPEND)
    }

    /// The program that reads the processor's counter and the system's clock, here and on the
    /// hosts.
    pub(crate) fn counter(&self) -> PathBuf {
        let program = self.folder.path().join(COUNTER);
        compile(&["-O2"], "counter.c", &program);
        program
    }

    pub(crate) fn folder(&self) -> &str {
        self.folder.path().to_str().expect("a name")
    }
}

fn compile(flags: &[&str], source: &str, program: &Path) {
    let sources = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/support/virtual_hosts/"
    );
    let mut command = Command::new("cc");
    command.args(flags).arg("-o").arg(program);
    let compiled = command.arg(format!("{sources}{source}")).status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc fails");
}

impl Drop for Network {
    fn drop(&mut self) {
        // It returns when the last process of the namespace is gone.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
