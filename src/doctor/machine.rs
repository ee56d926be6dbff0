//! The sources of findings: files, the environment, and logind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::session::logind::{self, LoginSession};

/// Longer than logind needs, if the system bus has to start it.
const LOGIND_TIMEOUT: Duration = Duration::from_secs(2);

/// This machine, or in tests a folder with the files of one.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
    variables: BTreeMap<String, String>,
    /// The user ID of the process.
    pub user: u32,
    /// In tests, the login sessions by ID.
    sessions: BTreeMap<String, LoginSession>,
}

impl Machine {
    /// Returns this machine.
    pub fn here() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self {
            root: "/".into(),
            variables: variables.collect(),
            user: rustix::process::geteuid().as_raw(),
            sessions: BTreeMap::new(),
        }
    }

    /// Returns the machine whose files are in a folder.
    #[cfg(test)]
    pub fn at(root: &Path, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { root: root.into(), variables: variables.collect(), user: 1000, sessions: BTreeMap::new() }
    }

    /// Adds a login session.
    #[cfg(test)]
    pub fn with_session(mut self, id: &str, session: LoginSession) -> Self {
        self.sessions.insert(id.to_owned(), session);
        self
    }

    /// Returns the login session with this ID, if logind knows it.
    pub fn login_session(&self, id: &str) -> Option<LoginSession> {
        match self.is_here() {
            true => logind::session(id.to_owned(), LOGIND_TIMEOUT),
            false => self.sessions.get(id).cloned(),
        }
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

    /// Returns the text of a small file without trailing whitespace.
    pub fn text(&self, path: &str) -> Option<String> {
        Some(fs::read_to_string(self.path(path)).ok()?.trim_end().to_owned())
    }

    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.path(path)).ok()
    }

    /// Returns the sorted names in a folder; none without the folder.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Returns the last component of the target of a symbolic link.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}
