//! What a master tells of the groups above its own.

use serde::{Deserialize, Serialize};

/// What a master tells of the groups above its own, and what its group is to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TreeStatus {
    /// The masters of the group above, as they were named; none where there is no group above.
    pub parents: Vec<String>,
    /// The one that is followed; `None` while there is none.
    pub parent: Option<String>,
    /// The numbers of the groups from the top to this one.
    pub path: Vec<String>,
    /// For how many clocks this group stands.
    pub clocks: u32,
    /// The median of their distances from the group's time.
    pub deviation_ns: i64,
    /// How far the group was moved from above in the last round.
    pub shift_ns: Option<i64>,
    /// How wrong the group's time may be against the one above.
    pub error_ns: Option<i64>,
}
