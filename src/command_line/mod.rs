//! What the two programs have in common: arguments, subcommands, the log, signals, the sockets at
//! which they are asked and told, and what systemd hears of them.

pub mod arguments;
pub mod asking;
pub mod control_socket;
mod files;
pub mod follower_arguments;
pub mod keys;
pub mod local_clients;
pub mod logging;
pub mod master_arguments;
pub mod ntp;
pub mod orders;
pub mod program;
pub mod questions;
pub mod remembering;
pub mod replay;
pub mod runtime_folder;
pub mod service;
pub mod signals;
pub mod site;
pub mod status_socket;
pub mod telling;
pub mod tree;
pub mod values;
