//! What a clock tells: to whoever reads it, and to whoever asks it by a message.

use chrono::{DateTime, TimeDelta, Utc};

/// The network's time as a node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkTime {
    /// The reading: never earlier than one before it, except after a step.
    pub time: DateTime<Utc>,
    /// The network's time lies within `time` ± `error`. `None` where nobody can tell: before the
    /// first correction, and after the clock was set by hand, was suspended with its machine, or has
    /// refused a correction, until the next one is taken.
    pub error: Option<TimeDelta>,
}

/// What a clock tells whoever asks it by a message, all of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The reading when the message came; never later than `now`.
    pub received: DateTime<Utc>,
    /// The reading now.
    pub now: NetworkTime,
    /// The reading when the clock was corrected last, by what is known now; `None` before the first
    /// correction.
    pub corrected: Option<DateTime<Utc>>,
    /// Which group it is in, see [`Steps::series`](crate::wire::steps::Steps::series); `None`
    /// before it has heard of any.
    pub series: Option<u32>,
}
