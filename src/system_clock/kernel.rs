//! The kernel's clock: what it is asked and told.

use std::io;
use std::path::PathBuf;

use chrono::TimeDelta;
use clock_steering::unix::{Error as KernelError, UnixClock};
use clock_steering::{Clock, TimeOffset};
#[cfg(target_os = "linux")]
use rtime_clock::adjtime::{Timex, adjtimex};

use crate::span;
use crate::system_clock::speed::Speed;

/// The clock that is steered.
pub(crate) const KERNEL: UnixClock = UnixClock::CLOCK_REALTIME;

/// Why the system's clock can't be steered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program may not set clocks.
    #[error(
        "--steer system needs the capability CAP_SYS_TIME: give it to the program with \
         `setcap cap_sys_time+ep PROGRAM`, or run it by its systemd unit"
    )]
    NoPermission,
    /// The kernel refused something else.
    #[error("the kernel lets its clock not be steered: {0}")]
    Kernel(KernelError),
    /// The kernel refused to tell or to set the tick.
    #[error("the kernel lets the tick of its clock not be set: {0}")]
    Tick(io::Error),
    /// Only Linux has a clock that can be steered so, and one beside it that nobody steers.
    #[error("--steer system is for Linux only: leave it out, and read the network's time instead")]
    OtherSystem,
    /// The operating system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// There can be no such socket.
    #[error("no socket can be at --chrony-socket {}: {error}", path.display())]
    ChronySocket {
        /// Where it was to be.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl From<KernelError> for Error {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::NoPermission => Self::NoPermission,
            error => Self::Kernel(error),
        }
    }
}

/// What the kernel says of its clock.
#[cfg(target_os = "linux")]
fn told() -> Result<libc::timex, Error> {
    let mut told = Timex::new();
    adjtimex(&mut told).map_err(Error::Tick)?;
    Ok(told.0)
}

/// The kernel's tick, in µs.
#[cfg(target_os = "linux")]
pub(crate) fn tick() -> Result<i32, Error> {
    Ok(told()?.tick as i32)
}

/// Whether the kernel takes its clock for synchronized.
#[cfg(target_os = "linux")]
pub(crate) fn is_synchronized() -> Result<bool, Error> {
    Ok(told()?.status & libc::STA_UNSYNC == 0)
}

/// Sets the kernel's tick, in µs.
#[cfg(target_os = "linux")]
pub(crate) fn set_tick(tick: i32) -> Result<(), Error> {
    let mut timex = Timex::new();
    timex.0.modes = libc::ADJ_TICK;
    timex.0.tick = tick.into();
    adjtimex(&mut timex).map_err(Error::Tick)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn tick() -> Result<i32, Error> {
    Err(Error::OtherSystem)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_synchronized() -> Result<bool, Error> {
    Err(Error::OtherSystem)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn set_tick(_tick: i32) -> Result<(), Error> {
    Err(Error::OtherSystem)
}

/// The kernel's tick and frequency.
pub(crate) fn speed() -> Result<Speed, Error> {
    Ok(Speed::of_its_own(tick()?, KERNEL.get_frequency()?))
}

/// A span as the kernel wants it: whole seconds, and nanoseconds that are not negative.
pub(crate) fn offset(span: TimeDelta) -> TimeOffset {
    let nanoseconds = span::nanoseconds(span);
    TimeOffset {
        seconds: nanoseconds.div_euclid(1_000_000_000),
        nanos: nanoseconds.rem_euclid(1_000_000_000) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_spans_without_a_negative_part() {
        let told = |span| (offset(span).seconds, offset(span).nanos);
        assert_eq!(told(TimeDelta::milliseconds(1500)), (1, 500_000_000));
        assert_eq!(told(TimeDelta::milliseconds(-1500)), (-2, 500_000_000));
        assert_eq!(told(TimeDelta::nanoseconds(-1)), (-1, 999_999_999));
    }
}
