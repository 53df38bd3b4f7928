//! Who agrees, who deserves a vote, and what the group agrees on.

pub mod acquaintances;
pub mod consensus;
pub mod electorate;
pub mod ensemble;
pub mod member;
pub mod names;
pub mod rates;
pub mod reputation;
pub mod round;
pub mod settings;
