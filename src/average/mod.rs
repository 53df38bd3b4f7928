//! Who agrees, who deserves a vote, and what the group agrees on.

pub mod consensus;
pub mod electorate;
pub mod ensemble;
pub mod names;
pub mod rates;
pub mod reputation;
pub mod round;
