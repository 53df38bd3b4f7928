//! The one test program: a folder or a file for each subject, and the helpers once, in `support`.
//!
//! Tests run in the order of their names. What keeps both processors busy, the simulations, comes
//! late in the alphabet, after the tests that compare clocks.

mod addresses;
mod candidates;
mod chronyd;
mod clockbound;
mod command_line;
mod escaping;
mod faults;
mod features;
mod first_round;
mod follower;
mod install;
mod keys;
mod line_protocol;
mod machine_clock;
mod names;
mod network_time;
mod ntp;
mod orders;
mod partition;
mod permission;
mod python_programs;
mod readme;
mod records;
mod rules;
mod simulation;
mod skew;
mod status;
mod structure;
mod support;
mod suspend;
mod system_clock;
mod systemd_units;
mod timestamp_wire;
mod tree;
