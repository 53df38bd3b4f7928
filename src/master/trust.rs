//! Whom a master believes: those who prove that they hold a key of its group, or everybody.

use std::sync::Arc;
use std::time::Duration;

use crate::keys::auth::Auth;
use crate::keys::group::GroupKeys;
use crate::keys::ring::KeyRing;
use crate::report::status::KeysStatus;
use crate::wire::connection::MESSAGE_DEADLINE;
use crate::wire::name::NodeName;

/// Who has a key proves it within this time.
pub(crate) const PROOF_DEADLINE: Duration = Duration::from_secs(3);

/// Whom a master believes.
#[derive(Debug)]
pub(crate) enum Trust {
    /// Everybody: it has no key.
    Everybody,
    /// Those who hold a key of its group.
    Keyed {
        ring: Arc<KeyRing>,
        /// What becomes of followers without a key.
        auth: Auth,
        /// Whether clients of the timestamp wire, which can have none, are told the time.
        serve_timestamps: bool,
        /// Whose word is taken, by name, for how many clocks they stand.
        weights: Vec<NodeName>,
    },
}

/// What becomes of somebody without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// There are no keys here.
    Member,
    /// It is served, and named in the log.
    Observed,
    /// It is served, named in the log, and its vote is doubted.
    Doubted,
    /// It is told the time, and counts for nothing.
    Told,
    /// It is turned away.
    Refused,
}

impl Trust {
    /// The secrets of the group, if it has any.
    pub(crate) fn group(&self) -> Option<Arc<GroupKeys>> {
        match self {
            Self::Everybody => None,
            Self::Keyed { ring, .. } => Some(ring.group()),
        }
    }

    /// Whether a member that has proven this name may stand for as many clocks as it says.
    pub(crate) fn weighs(&self, proven: &NodeName) -> bool {
        match self {
            Self::Everybody => false,
            Self::Keyed { weights, .. } => weights.contains(proven),
        }
    }

    /// What is asked of followers, where there are keys.
    pub(crate) fn keys(&self) -> Option<KeysStatus> {
        let Self::Keyed { ring, auth, .. } = self else {
            return None;
        };
        Some(KeysStatus {
            auth: auth.to_string(),
            generations: ring.group().generations().collect(),
        })
    }

    /// By when a connection has to have shown what it speaks.
    pub(crate) fn opening_deadline(&self) -> Duration {
        match self {
            Self::Everybody => MESSAGE_DEADLINE,
            Self::Keyed { .. } => PROOF_DEADLINE,
        }
    }

    /// What becomes of a follower that speaks lines and has no key.
    pub(crate) fn follower(&self) -> Stranger {
        match self {
            Self::Everybody => Stranger::Member,
            Self::Keyed { auth, .. } => match auth {
                Auth::Observe => Stranger::Observed,
                Auth::Prefer => Stranger::Doubted,
                Auth::Require => Stranger::Refused,
            },
        }
    }

    /// What becomes of a client of the timestamp wire.
    pub(crate) fn client(&self) -> Stranger {
        match self {
            Self::Keyed {
                auth: Auth::Require,
                serve_timestamps: true,
                ..
            } => Stranger::Told,
            _ => self.follower(),
        }
    }
}
