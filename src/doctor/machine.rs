//! Where a machine's facts are read: its files, and the environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A machine, or for tests a folder that looks like one.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
    variables: BTreeMap<String, String>,
    /// Who asks.
    pub user: u32,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { root: "/".into(), variables: variables.collect(), user: rustix::process::geteuid().as_raw() }
    }

    /// A folder.
    #[cfg(test)]
    pub fn at(root: &Path, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { root: root.into(), variables: variables.collect(), user: 1000 }
    }

    pub fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// A small file's text, without what ends its last line.
    pub fn text(&self, path: &str) -> Option<String> {
        Some(fs::read_to_string(self.path(path)).ok()?.trim_end().to_owned())
    }

    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.path(path)).ok()
    }

    /// A folder's names, in order; none where there is no folder.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The last part of where a link leads.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}
