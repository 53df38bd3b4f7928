//! Programs of others that follow an NTP server, each on a host of its own.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Host, Network};

/// A program that follows NTP servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NtpClient {
    Chronyd,
    Ntpsec,
    Busybox,
    Openntpd,
    Timesyncd,
}

/// Users that such programs become, who need not be known here.
const USERS: &str = "\
    root:x:0:0::/root:/bin/sh\n\
    ntpd:x:901:901::/run/openntpd:/bin/false\n\
    systemd-timesync:x:902:902::/:/bin/false\n";
const GROUPS: &str = "root:x:0:\nntpd:x:901:\nsystemd-timesync:x:902:\n";

impl NtpClient {
    /// Where packages are unpacked, if nothing else is said.
    pub(crate) const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/ntp-clients");

    pub(crate) const ALL: [Self; 5] = [
        Self::Chronyd,
        Self::Ntpsec,
        Self::Busybox,
        Self::Openntpd,
        Self::Timesyncd,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chronyd => "chronyd",
            Self::Ntpsec => "ntpsec",
            Self::Busybox => "busybox ntpd",
            Self::Openntpd => "OpenNTPD",
            Self::Timesyncd => "systemd-timesyncd",
        }
    }

    /// The program: as it is installed, or as its package was unpacked, or built, in a folder of
    /// this name.
    pub(crate) fn program(self, packages: &Path) -> PathBuf {
        match self {
            Self::Chronyd => "chronyd".into(),
            // Debian's has no ntpd.
            Self::Busybox => packages.join("busybox/busybox"),
            Self::Ntpsec => packages.join("ntpsec/usr/sbin/ntpd"),
            Self::Openntpd => packages.join("openntpd/usr/sbin/ntpd"),
            Self::Timesyncd => packages.join("systemd-timesyncd/lib/systemd/systemd-timesyncd"),
        }
    }

    /// Whether it is there.
    pub(crate) fn is_there(self, packages: &Path) -> bool {
        self == Self::Chronyd || self.program(packages).exists()
    }

    /// Starts it on a host, to follow these servers.
    pub(crate) fn start(self, host: &Host, network: &Network, packages: &Path, servers: &[&str]) {
        let program = self.program(packages);
        let program = program.display();
        let each = |line: &str| -> String {
            let lines = servers.iter().map(|server| line.replace('*', server));
            lines.collect()
        };
        let file = |name: &str, text: &str| {
            let path = PathBuf::from(network.folder())
                .join(format!("{name}-{}", servers.concat().replace(' ', "-")));
            fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let (users, groups) = (file("passwd", USERS), file("group", GROUPS));
        match self {
            Self::Chronyd => {
                let lines = "makestep 1 3\ncmdport 0\nbindcmdaddress /\npidfile /run/chronyd.pid\n";
                let servers = each("server * iburst minpoll 4 maxpoll 4\n");
                let file = file("chrony.conf", &format!("{servers}{lines}"));
                host.run(&format!("{program} -n -U -u root -f {file} &"));
            }
            Self::Ntpsec => {
                let file = file("ntp.conf", &each("server * iburst minpoll 4 maxpoll 4\n"));
                host.run(&format!("{program} -n -g -c {file} &"));
            }
            Self::Busybox => host.run(&format!("{program} ntpd -n{} &", each(" -p *"))),
            Self::Openntpd => {
                let file = file("ntpd.conf", &each("server *\n"));
                host.run(&format!("mount --bind {users} /etc/passwd"));
                host.run(&format!("mount --bind {groups} /etc/group"));
                host.run("mount -t tmpfs tmpfs /var/lib");
                host.run("mkdir -p /run/openntpd /var/lib/openntpd/run /var/lib/openntpd/db");
                host.run(&format!("{program} -d -s -f {file} &"));
            }
            Self::Timesyncd => {
                let time = format!(
                    "[Time]\nNTP={}\nPollIntervalMinSec=16\nPollIntervalMaxSec=32\n",
                    servers.join(" ")
                );
                let file = file("timesyncd.conf", &time);
                host.run(&format!("mount --bind {users} /etc/passwd"));
                host.run(&format!("mount --bind {groups} /etc/group"));
                host.run("mkdir -p /run/systemd/timesyncd.conf.d /run/systemd/netif/links");
                host.run(&format!(
                    "cp {file} /run/systemd/timesyncd.conf.d/servers.conf"
                ));
                let libraries = packages.join("libsystemd-shared/usr/lib/x86_64-linux-gnu/systemd");
                host.run(&format!(
                    "LD_LIBRARY_PATH={} SYSTEMD_LOG_TARGET=console {program} &",
                    libraries.display()
                ));
            }
        }
    }
}
