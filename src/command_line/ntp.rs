//! The flags on the group's time for those who speak NTP.

use std::net::SocketAddr;

use chrono::TimeDelta;

use crate::command_line::values;
use crate::discipline::network_clock::NetworkClock;
use crate::ntp::answer::NtpOptions;
use crate::ntp::server::{NtpObserver, NtpServer, NtpServerError};
use crate::report::status::NtpStatus;

/// The flags on the group's time for those who speak NTP.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_field_names, reason = "they are the names of the flags")]
pub struct Ntp {
    /// Serve the group's time to clients of NTP; without ADDR at 0.0.0.0:123, which needs
    /// the right to take that port [default: off]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = "0.0.0.0:123", value_parser = values::listen)]
    serve_ntp: Option<SocketAddr>,

    /// The stratum that clients are told: they prefer a source of a lower one
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u8).range(2..=15), requires = "serve_ntp")]
    ntp_stratum: u8,

    /// Tell clients not to take the time while it may be wrong by more
    #[arg(long, value_name = "DURATION", default_value = "1s", allow_hyphen_values = true, value_parser = values::ntp_error, requires = "serve_ntp")]
    ntp_max_error: TimeDelta,
}

impl Ntp {
    /// Whether the time is served to clients of NTP.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.serve_ntp.is_some()
    }

    /// Serves the time of this clock, if that was asked for.
    ///
    /// # Errors
    /// When the address can't be had.
    pub fn serve(&self, clock: NetworkClock) -> Result<Served, NtpServerError> {
        let start = |listen| {
            let options = NtpOptions {
                listen,
                stratum: self.ntp_stratum,
                max_error: self.ntp_max_error,
            };
            NtpServer::start(clock, options)
        };
        self.serve_ntp.map(start).transpose().map(Served)
    }
}

/// The server, if there is one. Dropping it stops it.
#[derive(Debug)]
#[must_use = "a server that is dropped has stopped"]
pub struct Served(Option<NtpServer>);

impl Served {
    /// What to tell people.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let address = self.0.as_ref().map(NtpServer::local_addr);
        address.map(|address| format!("Serving NTP at {address}"))
    }

    /// What asks for its status, from any thread.
    pub fn status(&self) -> impl Fn() -> Option<NtpStatus> + Send + Sync + 'static {
        let observer = self.0.as_ref().map(NtpServer::observer);
        move || observer.as_ref().map(NtpObserver::status)
    }
}
