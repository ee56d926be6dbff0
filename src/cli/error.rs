//! Errors of commands, and their exit statuses.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use geom_ipc::ErrorKind;

use super::terminal::field;

/// Exit statuses in addition to 0, and to clap's 2 for a wrong command line.
const FAILED: u8 = 1;
const NOT_RUNNING: u8 = 3;
const NOT_ALLOWED: u8 = 4;
const NOT_FOUND: u8 = 5;

/// Why a command failed. The text is for a person.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No service answered, or it refused the request.
    #[error("{}", field(&.0.to_string()))]
    Client(#[from] geom_client::Error),
    /// Standard output or a temporary file could not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A value could not be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A file named by the user, or a profile, could not be read or written.
    #[error("{}: {error}", field(&path.display().to_string()))]
    File {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("the running service does not report {0}: run `geom_compositor upgrade`")]
    UnsupportedByService(&'static str),
    /// A message per file.
    #[error("{}", .0.join("\n"))]
    InvalidEdid(Vec<String>),
    #[error("not calibrated: {0}")]
    CalibrationEnded(String),
    #[error("calibrated, but not saved: the service has no configuration file")]
    NoConfiguration,
    #[error("calibrated, but not saved: the configuration is not TOML: {0}")]
    ConfigurationNotToml(toml_edit::TomlError),
    #[error("calibrated, but not saved: input in the configuration is no list of [[input]]")]
    InputNotEntries,
    #[error(
        "calibrated, but not saved: the [[input]] entry at line {line} of {} matches this device too, \
         and its calibration would apply; remove that, or move the new entry before it",
        field(&file.display().to_string())
    )]
    CalibrationShadowed { file: PathBuf, line: usize },
    #[error("not confirmed in time: the change was rolled back")]
    NotConfirmed,
    #[error("the change was rolled back")]
    Rejected,
    #[error("{}", bad_findings(*.0))]
    BadFindings(usize),
    #[error("this user has no name; name one by --user")]
    NoUserName,
    #[error("{0:?} is not a user name")]
    InvalidUserName(String),
    #[error("the profile is not TOML; fix it first: {0}")]
    ProfileNotToml(toml_edit::TomlError),
    #[error("{0} is not a table in the profile")]
    ProfileKeyNotTable(String),
    #[error("the profile has mistakes; the rest of it applies")]
    InvalidProfile,
    #[error("{editor}: {error}")]
    EditorNotStarted {
        editor: String,
        #[source]
        error: io::Error,
    },
    #[error("{editor} ended with {status}; the profile is unchanged")]
    EditorFailed { editor: String, status: ExitStatus },
    #[error("the profile is unchanged; your version is in {}", .0.display())]
    InvalidEdit(PathBuf),
}

fn bad_findings(count: usize) -> String {
    match count {
        1 => "one finding is bad".to_owned(),
        count => format!("{count} findings are bad"),
    }
}

impl Error {
    /// Returns a closure that adds the path to an I/O error.
    pub fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { path, error }
    }

    /// Returns the exit status of the command.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Client(geom_client::Error::NotRunning(_)) => NOT_RUNNING,
            Self::Client(geom_client::Error::NotPermitted(_)) => NOT_ALLOWED,
            Self::Client(geom_client::Error::Server(error)) => match error.kind {
                ErrorKind::NotAllowed => NOT_ALLOWED,
                ErrorKind::NotFound => NOT_FOUND,
                _ => FAILED,
            },
            _ => FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_status_tells_scripts_the_cause() {
        let server = |kind| geom_client::Error::Server(geom_ipc::Error::new(kind, "text"));
        for (error, expected) in [
            (Error::from(geom_client::Error::NotRunning(Vec::new())), 3),
            (Error::from(server(ErrorKind::NotAllowed)), 4),
            (Error::from(geom_client::Error::NotPermitted("socket".into())), 4),
            (Error::from(server(ErrorKind::NotFound)), 5),
            (Error::from(server(ErrorKind::BadValue)), 1),
            (Error::BadFindings(2), 1),
        ] {
            assert_eq!(error.exit_status(), expected, "{error}");
        }
    }
}
