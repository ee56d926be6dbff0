//! Checks one by one what the service needs of a machine. Each finding has a remedy.
//!
//! Nothing is changed, and a running service is not disturbed.

mod gpus;
mod machine;
mod seat;
mod service;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

pub use machine::Machine;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    Good,
    /// The service runs, but something is missing.
    Poor,
    /// The service cannot run, or shows nothing.
    Bad,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub grade: Grade,
    /// What was checked.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What to do; empty if the grade is good.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    fn good(what: &str, found: impl Into<String>) -> Self {
        Self { grade: Grade::Good, what: what.into(), found: found.into(), remedy: String::new() }
    }

    fn poor(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { grade: Grade::Poor, what: what.into(), found: found.into(), remedy: remedy.into() }
    }

    fn bad(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { grade: Grade::Bad, what: what.into(), found: found.into(), remedy: remedy.into() }
    }
}

/// The files that are checked, and the user whose profile is.
#[derive(Debug, Clone)]
pub struct Files {
    pub config: PathBuf,
    pub userdata: PathBuf,
    pub user: String,
}

/// Runs all checks.
pub fn examine(machine: &Machine, files: &Files) -> Vec<Finding> {
    let mut findings = seat::check(machine);
    findings.extend(gpus::check(machine));
    findings.extend(service::check(machine, files));
    findings
}

/// Formats the findings for a person, the bad ones first.
pub fn table(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    let mut text = String::new();
    for Finding { grade, what, found, remedy } in sorted {
        let mark = match grade {
            Grade::Good => "good",
            Grade::Poor => "poor",
            Grade::Bad => "BAD ",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark}  {what}: {found}");
        if !remedy.is_empty() {
            let _ = writeln!(text, "      to do: {remedy}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worst_finding_is_printed_first() {
        let findings = [
            Finding::good("seat", "seatd"),
            Finding::bad("GPU", "none", "load its driver"),
            Finding::poor("memory", "little", "buy some"),
        ];
        let text = table(&findings);
        let order: Vec<&str> = text.lines().filter_map(|line| line.get(..4)).collect();
        assert_eq!(order, ["BAD ", "    ", "poor", "    ", "good"]);
    }
}
