//! Who agrees, who deserves a vote, and what the group agrees on.

pub mod absent;
pub mod acquaintances;
pub mod ballot;
pub mod beginning;
pub mod consensus;
pub mod dropped;
pub mod electorate;
pub mod ensemble;
pub mod leading;
pub mod median;
pub mod member;
pub mod names;
pub mod rates;
pub mod reference;
pub mod remembering;
pub mod reputation;
pub mod round;
pub mod settings;
pub mod stands;
pub mod told;
pub mod tree;
pub mod voting;
