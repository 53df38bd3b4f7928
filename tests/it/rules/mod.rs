//! What bounds those who reach the port of a group without a key. Each test prints the figure that
//! it holds to its limit.

mod beliefs;
mod load;
mod rates;
mod restart;
mod standing;
mod trust;
mod uncertain;
mod votes;
