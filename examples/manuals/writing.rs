//! Man pages and completions, from the command lines themselves: a new flag is in all of them.

use std::fs;
use std::io;
use std::path::Path;

use berkeley::internals::command_line::{follower_arguments, master_arguments};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

/// The command lines of the two programs.
pub(crate) fn commands() -> [Command; 2] {
    [
        master_arguments::Arguments::command(),
        follower_arguments::Arguments::command(),
    ]
}

/// Writes the man pages into `folder/man`, one for each program and subcommand, and the completions
/// into `folder/bash`, `folder/zsh` and `folder/fish`.
///
/// # Errors
/// When a folder or a file can't be written.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let man = folder.join("man");
    fs::create_dir_all(&man)?;
    for command in commands() {
        let mut built = command.clone();
        built.build();
        write_pages(&built, &man)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let completions = folder.join(shell.to_string());
            fs::create_dir_all(&completions)?;
            let program = command.get_name().to_owned();
            clap_complete::generate_to(shell, &mut command.clone(), program, completions)?;
        }
    }
    Ok(())
}

/// Writes the page of a command that is built, and those of its subcommands.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands() {
        write_pages(subcommand, folder)?;
    }
    let source = format!("Berkeley {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source);
    man.manual("Berkeley").generate_to(folder)?;
    Ok(())
}
