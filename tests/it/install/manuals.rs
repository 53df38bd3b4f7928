//! Man pages, completions and `docs/operation.md` know every flag, and the first two are understood
//! by those who read them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{said, writing};

fn written() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    writing::write(folder.path()).expect("man pages and completions");
    folder
}

fn program(name: &str) -> &'static str {
    match name {
        "berkeley-master" => env!("CARGO_BIN_EXE_berkeley-master"),
        "berkeley-follower" => env!("CARGO_BIN_EXE_berkeley-follower"),
        other => panic!("{other} is no program of ours"),
    }
}

/// The long flags that a program names when it is asked for help, and its subcommands.
fn help(words: &[&str]) -> (BTreeSet<String>, Vec<String>) {
    let output = Command::new(program(words[0]))
        .args(&words[1..])
        .arg("--help")
        .output()
        .expect("it starts");
    let said = String::from_utf8(output.stdout).expect("text");
    let flags = said.lines().filter_map(|line| {
        let line = line.trim_start();
        let long = line.split_once(", ").filter(|(short, _)| short.len() == 2);
        let line = long.map_or(line, |(_, long)| long);
        let flag = line.strip_prefix("--")?;
        Some(flag.split([' ', '=', '[']).next()?.to_owned())
    });
    let commands = said.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let commands = commands.filter_map(|line| Some(line.split_whitespace().next()?.to_owned()));
    (flags.collect(), commands.collect())
}

/// Checks the page and the completions of a command, and of its subcommands. How many it has seen.
fn check(folder: &Path, words: &[&str]) -> usize {
    let (flags, commands) = help(words);
    assert!(flags.contains("help"), "{words:?}: {flags:?}");
    let read = |path: String| {
        let text = fs::read_to_string(folder.join(&path));
        text.unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let program = words[0];
    let page = read(format!("man/{}.1", words.join("-"))).replace(r"\-", "-");
    let (options, bash) = (
        page.split_once("\n.SH OPTIONS").expect("options").1,
        read(format!("bash/{program}.bash")),
    );
    let zsh = read(format!("zsh/_{program}"));
    let fish = read(format!("fish/{program}.fish"));
    for flag in &flags {
        let long = format!("--{flag}");
        assert!(
            options.contains(&format!(r"\fB{long}\fR")),
            "{words:?}: {long} has no entry in {page}"
        );
        assert!(bash.contains(&long), "{words:?}: {long} in bash");
        assert!(zsh.contains(&long), "{words:?}: {long} in zsh");
        assert!(
            fish.contains(&format!(" -l {flag} ")),
            "{words:?}: {long} in fish"
        );
    }
    let below = commands.iter().map(|command| {
        assert!(page.contains(&format!("-{command}(1)")), "{command}");
        check(folder, &[words, &[command.as_str()]].concat())
    });
    1 + below.sum::<usize>()
}

#[test]
fn every_flag_of_every_command_is_in_its_page_and_in_the_completions() {
    let folder = written();
    let seen = ["berkeley-master", "berkeley-follower"].map(|name| check(folder.path(), &[name]));
    let pages = fs::read_dir(folder.path().join("man")).expect("a folder");
    // Both programs have `status`, `wait` and `key`.
    assert!(seen.iter().all(|seen| *seen >= 4), "{seen:?}");
    assert_eq!(pages.count(), seen.iter().sum::<usize>());
}

/// The rows of the first table below this line of `docs/operation.md`.
fn table(above: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operation.md");
    let page = fs::read_to_string(page).expect("a page");
    let (_, below) = page.split_once(above).expect("what stands above a table");
    let rows = below.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.replace(r"\|", "/")).collect()
}

/// The first column of a row.
fn first(row: &str) -> &str {
    row.split('|').nth(1).expect("a column")
}

/// The long flags in a text.
fn flags(text: &str) -> impl Iterator<Item = String> {
    let is_part = |character: char| character.is_ascii_lowercase() || character == '-';
    let after = text.split("--").skip(1);
    let flags = after.map(move |flag| flag.chars().take_while(|it| is_part(*it)).collect());
    // The line below a table's head consists of dashes.
    flags.filter(|flag: &String| flag.starts_with(char::is_alphabetic))
}

#[test]
fn every_flag_of_every_command_is_in_the_tables_of_docs_operation_and_no_other() {
    let both = table(" Both programs:\n");
    let commands = table("\nSubcommands ask");
    for program in ["berkeley-master", "berkeley-follower"] {
        let own = table(&format!("\n`{program}"));
        let told: BTreeSet<_> = both
            .iter()
            .chain(&own)
            .flat_map(|it| flags(first(it)))
            .collect();
        let (known, subcommands) = help(&[program]);
        assert_eq!(told, known, "{program}");
        for command in subcommands.iter().filter(|command| *command != "key") {
            let names = |row: &&String| {
                let mut words = first(row).split(|character: char| !character.is_alphanumeric());
                words.any(|word| word == command)
            };
            let rows = commands.iter().filter(names);
            let mut told: BTreeSet<_> = rows.flat_map(|row| flags(first(row))).collect();
            told.insert("help".to_owned());
            assert_eq!(told, help(&[program, command]).0, "{program} {command}");
        }
    }
}

#[test]
#[ignore = "needs man"]
fn man_shows_the_pages_without_a_warning() {
    let folder = written();
    for page in fs::read_dir(folder.path().join("man")).expect("a folder") {
        let page = page.expect("a page").path();
        let mut man = Command::new("man");
        man.args(["--warnings", "--encoding=UTF-8", "--local-file"])
            .arg(&page)
            .env("MANROFFSEQ", "")
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8");
        let output = man.output().expect("man starts");
        let warned = String::from_utf8_lossy(&output.stderr);
        assert_eq!(warned, "", "{}", page.display());
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("--help"), "{shown}");
    }
}

#[test]
#[ignore = "needs bash, zsh and fish"]
fn the_shells_complete_flags_and_commands() {
    let folder = written();
    let file = |path: &str| folder.path().join(path).display().to_string();
    for program in ["berkeley-master", "berkeley-follower"] {
        // What each shell itself would call when somebody types `program --key` and the tab key.
        let source = file(&format!("bash/{program}.bash"));
        let bash = format!(
            "source {source} || exit\n\
             function=$(complete -p {program}); function=${{function#* -F }}\n\
             COMP_WORDS=({program} --key); COMP_CWORD=1\n\
             ${{function% *}} {program} --key {program}\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let bash = said(Command::new("bash").args(["--norc", "-c", &bash]));
        assert_eq!(bash, "--key-file\n");

        let source = file(&format!("fish/{program}.fish"));
        let fish = format!("source {source}; complete --do-complete '{program} --key'");
        let fish = said(Command::new("fish").args(["--no-config", "-c", &fish]));
        assert!(fish.starts_with("--key-file\t"), "{fish}");

        let functions = file("zsh");
        let zsh = format!(
            "fpath=({functions} $fpath); autoload -Uz compinit && compinit -D -u || exit\n\
             print $_comps[{program}]; autoload +X _{program} && whence -w _{program}"
        );
        let zsh = said(Command::new("zsh").args(["-f", "-c", &zsh]));
        assert_eq!(zsh, format!("_{program}\n_{program}: function\n"));
    }
}
