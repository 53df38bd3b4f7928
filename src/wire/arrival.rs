//! Receives bytes, and when the kernel received them.
//!
//! A thread that waits for bytes may get a processor late, by milliseconds on a busy machine. What
//! the kernel notes of a packet does not depend on that.

#[cfg(target_os = "linux")]
mod kernel {
    use std::io::{self, IoSliceMut};
    use std::net::TcpStream;
    use std::os::fd::AsRawFd;

    use chrono::{DateTime, Utc};
    use nix::sys::socket::sockopt::ReceiveTimestampns;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
    use nix::sys::time::TimeSpec;

    /// Asks the kernel for the moment at which it received what is read.
    pub(crate) struct Receiver {
        /// Where the kernel writes that.
        told: Vec<u8>,
    }

    impl Receiver {
        pub(crate) fn new(stream: &TcpStream) -> Self {
            // A kernel that can't tell is read from as any other.
            let _ = setsockopt(stream, ReceiveTimestampns, &true);
            Self {
                told: nix::cmsg_space!(TimeSpec),
            }
        }

        /// Reads as `stream` does: how many bytes, and what the wall clock showed when the last
        /// of them came, if the kernel tells.
        pub(crate) fn receive(
            &mut self,
            stream: &TcpStream,
            bytes: &mut [u8],
        ) -> io::Result<(usize, Option<DateTime<Utc>>)> {
            let mut bytes = [IoSliceMut::new(bytes)];
            let flags = MsgFlags::empty();
            let received =
                recvmsg::<()>(stream.as_raw_fd(), &mut bytes, Some(&mut self.told), flags)?;
            let mut told = received.cmsgs().into_iter().flatten();
            let arrived = told.find_map(|told| match told {
                ControlMessageOwned::ScmTimestampns(at) => {
                    DateTime::from_timestamp(at.tv_sec(), u32::try_from(at.tv_nsec()).ok()?)
                }
                _ => None,
            });
            Ok((received.bytes, arrived))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io::{self, Read};
    use std::net::TcpStream;

    use chrono::{DateTime, Utc};

    /// Other kernels are not asked.
    pub(crate) struct Receiver;

    impl Receiver {
        pub(crate) fn new(_: &TcpStream) -> Self {
            Self
        }

        pub(crate) fn receive(
            &mut self,
            mut stream: &TcpStream,
            bytes: &mut [u8],
        ) -> io::Result<(usize, Option<DateTime<Utc>>)> {
            Ok((stream.read(bytes)?, None))
        }
    }
}

pub(crate) use kernel::Receiver;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn a_reader_that_is_late_knows_when_the_bytes_came() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        sender.set_nodelay(true).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let mut receiver = Receiver::new(&stream);
        // When it was sent, between these, and when it came; read late, and ever later.
        let mut hand_over = |late| {
            let before = Instant::now();
            sender.write_all(b"now").unwrap();
            let after = Instant::now();
            thread::sleep(late);
            let mut bytes = [0; 3];
            let (length, arrived) = receiver.receive(&stream, &mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"now");
            (before, after, arrived)
        };
        // The kernel begins to note arrivals shortly after it was first asked to.
        let known = (0..200).find_map(|_| {
            let first = hand_over(Duration::from_millis(5));
            let second = hand_over(Duration::from_millis(30));
            Some((first, second, (second.2? - first.2?).to_std().unwrap()))
        });
        let (first, second, apart) = known.expect("two moments of arrival");
        let grain = Duration::from_micros(5);
        let (least, most) = (second.0 - first.1, second.1 - first.0);
        assert!(
            apart + grain > least && apart < most + grain,
            "{apart:?}, sent {least:?} apart"
        );
    }
}
