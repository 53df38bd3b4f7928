//! Writes the man pages of both programs, and their completions for bash, zsh and fish:
//! `cargo run --example manuals -- target/manuals`.

use std::path::PathBuf;

use anyhow::Context;

mod writing;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from("target/manuals"));
    writing::write(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    println!("Man pages and completions are in {}", folder.display());
    Ok(())
}
