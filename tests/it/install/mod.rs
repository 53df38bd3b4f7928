//! What an installation consists of: man pages, completions, the Debian package, and what systemd
//! is told.

mod manuals;

#[path = "../../../examples/manuals/writing.rs"]
mod writing;
