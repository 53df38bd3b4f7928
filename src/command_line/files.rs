//! The files that flags name: no two flags may name one, or each would destroy what the other has
//! written.

use std::path::{Path, PathBuf};

use crate::regular_file;

/// A file that a flag names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) flag: &'static str,
    pub(crate) path: &'a Path,
}

/// The files of those flags that were given.
pub(crate) fn named<'a>(flags: &[(&'static str, Option<&'a Path>)]) -> Vec<Named<'a>> {
    let given = flags.iter().copied();
    let given = given.filter_map(|(flag, path)| path.map(|path| Named { flag, path }));
    given.collect()
}

/// Which two flags name one file, if any do, in a sentence. A file is also what is written before it
/// takes its place.
pub(crate) fn conflict(files: &[Named]) -> Option<String> {
    let taken = |file: &Named| {
        let beside = regular_file::beside(file.path);
        [resolved(file.path), resolved(&beside)]
    };
    let mut before: Vec<(&'static str, [PathBuf; 2])> = Vec::new();
    for file in files {
        let taken = taken(file);
        let same = |(_, others): &&(_, [PathBuf; 2])| taken.iter().any(|it| others.contains(it));
        if let Some((other, _)) = before.iter().find(same) {
            let flag = file.flag;
            return Some(format!(
                "{other} and {flag} name one file, and each would destroy what the other has \
                 written: give each a file of its own"
            ));
        }
        before.push((file.flag, taken));
    }
    None
}

/// One name for a file, whatever path leads to it; it need not be there yet.
fn resolved(path: &Path) -> PathBuf {
    let whole = path.canonicalize();
    whole.unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => {
            let folder = Path::new(".").join(folder);
            folder.canonicalize().unwrap_or(folder).join(name)
        }
        _ => path.to_owned(),
    })
}
