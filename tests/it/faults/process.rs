//! What the kernel says of another process.

use std::fs;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// A file that the kernel keeps of it.
    pub(crate) fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    pub(crate) fn descriptors(self) -> usize {
        self.descriptors_below(usize::MAX)
    }

    /// How many descriptors have a number below this.
    pub(crate) fn descriptors_below(self, limit: usize) -> usize {
        let folder = fs::read_dir(self.file("fd")).expect("it runs");
        let names = folder.flatten().map(|entry| entry.file_name());
        let numbers = names.filter_map(|name| name.to_str()?.parse::<usize>().ok());
        numbers.filter(|number| *number < limit).count()
    }

    pub(crate) fn threads(self) -> usize {
        self.status("Threads:")
    }

    fn status(self, label: &str) -> usize {
        let status = fs::read_to_string(self.file("status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(label));
        let words = line.expect("the kernel tells it").split_whitespace();
        words
            .map_while(|word| word.parse().ok())
            .next()
            .expect("a number")
    }

    /// The memory that it occupies, in KiB.
    #[allow(dead_code, reason = "the soak looks at it")]
    pub(crate) fn resident_kib(self) -> usize {
        self.status("VmRSS:")
    }
}
