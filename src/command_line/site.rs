//! What a running program shows over HTTP: the page, `/status.json` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;

use crate::command_line::values;
use crate::report::document::Document;
use crate::report::http::{self, Content, Site};
use crate::report::metrics::metrics;
use crate::report::status::Status;

/// The page, which asks for the rest.
const PAGE: &str = include_str!("../report/page.html");

/// Of how many clocks Prometheus is told, if nothing else is said.
const METRICS_CLOCKS: usize = 100;

/// The flags on what is to be read over HTTP.
#[derive(Debug, clap::Args)]
pub struct Http {
    /// Show the status over HTTP, to be read only: the page at /, /status.json, and /metrics for
    /// Prometheus [default: off]
    #[arg(long, value_name = "ADDR", value_parser = values::http)]
    pub http: Option<SocketAddr>,

    /// Tell Prometheus of so many clocks at most, those that are farthest off
    #[arg(long, value_name = "N", default_value_t = METRICS_CLOCKS)]
    metrics_clocks: usize,
}

/// Where the status is answered from.
pub type Source = Arc<dyn Fn() -> Status + Send + Sync>;

impl Http {
    /// Serves the status, if that was asked for. What to tell people.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub fn serve(&self, json: &Arc<Document>, source: &Source) -> anyhow::Result<Option<String>> {
        let Some(address) = self.http else {
            return Ok(None);
        };
        let (source, most) = (Arc::clone(source), self.metrics_clocks);
        let metrics = Document::new(move || metrics(&source(), most).into_bytes());
        let json = Arc::clone(json);
        let site = move |path: &str, _: &str| match path {
            "/" => Some(page()),
            "/status.json" => Some(self::json(json.bytes())),
            "/metrics" => Some(Content {
                kind: "text/plain; version=0.0.4; charset=utf-8",
                bytes: metrics.bytes(),
            }),
            _ => None,
        };
        open(address, Arc::new(site)).map(Some)
    }
}

/// Serves a site. What to tell people.
///
/// # Errors
/// When the address can't be listened on.
pub fn open(address: SocketAddr, site: Arc<Site>) -> anyhow::Result<String> {
    let here = http::serve(address, site)
        .with_context(|| format!("cannot listen on {address}; --http takes another address"))?;
    Ok(format!("Showing the status at http://{here}/"))
}

/// The page.
#[must_use]
pub fn page() -> Content {
    Content {
        kind: "text/html; charset=utf-8",
        bytes: PAGE.as_bytes().into(),
    }
}

/// A document that is JSON.
#[must_use]
pub fn json(bytes: Arc<[u8]>) -> Content {
    Content {
        kind: "application/json",
        bytes,
    }
}
