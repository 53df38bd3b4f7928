//! A socket that tells when a packet came and which of our addresses it was sent to, and that
//! answers from there: a client that asked one address takes no answer from another.

use std::io;
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use socket2::SockRef;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use other as system;

/// A packet that has come.
pub(crate) struct Received {
    /// How many bytes it has, those that did not fit not counted.
    pub(crate) length: usize,
    pub(crate) from: SocketAddr,
    /// What the wall clock showed then.
    pub(crate) arrived: DateTime<Utc>,
    to: system::To,
}

/// A socket for questions.
pub(crate) struct Socket {
    socket: Arc<UdpSocket>,
    told: system::Told,
}

/// Wakes who waits for a packet, for good.
#[derive(Debug, Clone)]
pub(crate) struct Waker(Arc<UdpSocket>);

impl Waker {
    pub(crate) fn wake(&self) {
        // A socket without a connection says that it has none, and wakes all the same.
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

impl Socket {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        let told = system::ask(&socket)?;
        Ok(Self {
            socket: Arc::new(socket),
            told,
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.socket))
    }

    /// Waits for a packet. `None` if one has come that was sent to more machines than this one, or
    /// if it was woken.
    pub(crate) fn receive(&mut self, bytes: &mut [u8]) -> io::Result<Option<Received>> {
        system::receive(&self.socket, &mut self.told, bytes)
    }

    /// Answers a packet, or does not, if it would have to wait for that: an answer that is late is
    /// wrong.
    pub(crate) fn answer(&self, received: &Received, bytes: &[u8]) -> io::Result<()> {
        system::answer(&self.socket, received, bytes)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, IoSlice, IoSliceMut};
    use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
    use std::os::fd::AsRawFd;

    use chrono::DateTime;
    use libc::{in_addr, in_pktinfo, in6_pktinfo};
    use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, ReceiveTimestampns};
    use nix::sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
        setsockopt,
    };
    use nix::sys::time::TimeSpec;

    use crate::clock::{Clock, WallClock};
    use crate::ntp::socket::Received;

    /// Where the kernel writes what it tells of a packet.
    pub(super) type Told = Vec<u8>;

    /// Which of our addresses a packet was sent to.
    pub(super) enum To {
        V4(in_pktinfo),
        V6(in6_pktinfo),
        Unknown,
    }

    pub(super) fn ask(socket: &UdpSocket) -> io::Result<Told> {
        // A kernel that can't tell when is read from as any other.
        let _ = setsockopt(socket, ReceiveTimestampns, &true);
        if socket.local_addr()?.is_ipv4() {
            setsockopt(socket, Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
        }
        Ok(nix::cmsg_space!(TimeSpec, in_pktinfo, in6_pktinfo))
    }

    pub(super) fn receive(
        socket: &UdpSocket,
        told: &mut Told,
        bytes: &mut [u8],
    ) -> io::Result<Option<Received>> {
        let mut bytes = [IoSliceMut::new(bytes)];
        let flags = MsgFlags::empty();
        let packet = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut bytes, Some(told), flags)?;
        let now = WallClock.read();
        let Some(from) = packet.address.as_ref().and_then(address) else {
            return Ok(None);
        };
        let mut received = Received {
            length: packet.bytes,
            from,
            arrived: now,
            to: To::Unknown,
        };
        for told in packet.cmsgs().into_iter().flatten() {
            match told {
                ControlMessageOwned::ScmTimestampns(at) => {
                    let nanoseconds = u32::try_from(at.tv_nsec()).unwrap_or_default();
                    let at = DateTime::from_timestamp(at.tv_sec(), nanoseconds);
                    received.arrived = at.unwrap_or(now);
                }
                ControlMessageOwned::Ipv4PacketInfo(to) => {
                    if to.ipi_addr.s_addr != to.ipi_spec_dst.s_addr {
                        return Ok(None);
                    }
                    received.to = To::V4(to);
                }
                ControlMessageOwned::Ipv6PacketInfo(to) => {
                    if Ipv6Addr::from(to.ipi6_addr.s6_addr).is_multicast() {
                        return Ok(None);
                    }
                    received.to = To::V6(to);
                }
                _ => {}
            }
        }
        Ok(Some(received))
    }

    fn address(of: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = of.as_sockaddr_in().map(|of| SocketAddr::V4((*of).into()));
        v4.or_else(|| of.as_sockaddr_in6().map(|of| SocketAddr::V6((*of).into())))
    }

    pub(super) fn answer(socket: &UdpSocket, to: &Received, bytes: &[u8]) -> io::Result<()> {
        let (v4, v6);
        // Not the way by which it came, which need not lead back.
        let from = match to.to {
            To::V4(to) => {
                v4 = in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_addr: in_addr { s_addr: 0 },
                    ..to
                };
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            To::V6(to) => {
                v6 = in6_pktinfo {
                    ipi6_ifindex: 0,
                    ..to
                };
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
            To::Unknown => None,
        };
        let client = SockaddrStorage::from(to.from);
        sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(bytes)],
            from.as_slice(),
            MsgFlags::MSG_DONTWAIT,
            Some(&client),
        )?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io::{self, ErrorKind};
    use std::net::UdpSocket;
    use std::time::Duration;

    use crate::clock::{Clock, WallClock};
    use crate::ntp::socket::Received;

    /// Other kernels are not asked when a packet came and where to.
    pub(super) type Told = ();
    pub(super) type To = ();

    /// Nor do they all wake who waits.
    const PATIENCE: Duration = Duration::from_millis(200);

    pub(super) fn ask(socket: &UdpSocket) -> io::Result<Told> {
        socket.set_read_timeout(Some(PATIENCE))
    }

    pub(super) fn receive(
        socket: &UdpSocket,
        (): &mut Told,
        bytes: &mut [u8],
    ) -> io::Result<Option<Received>> {
        match socket.recv_from(bytes) {
            Ok((length, from)) => Ok(Some(Received {
                length,
                from,
                arrived: WallClock.read(),
                to: (),
            })),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn answer(socket: &UdpSocket, to: &Received, bytes: &[u8]) -> io::Result<()> {
        socket.send_to(bytes, to.from).map(drop)
    }
}
