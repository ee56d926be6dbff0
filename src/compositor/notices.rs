//! Messages for the person in front of the display: shown on the diagnostic screen and by `status`.

use std::collections::VecDeque;

/// The latest warnings, oldest first, without repetitions.
#[derive(Debug, Default)]
pub struct Notices(VecDeque<String>);

impl Notices {
    /// As many lines as fit on the diagnostic screen.
    const MAX_NOTICES: usize = 6;

    /// Adds a notice; the oldest one is dropped if there are too many.
    pub fn add(&mut self, text: String) {
        if self.0.contains(&text) {
            return;
        }
        if self.0.len() == Self::MAX_NOTICES {
            self.0.pop_front();
        }
        self.0.push_back(text);
    }

    /// Removes the notices that `is_stale` selects.
    pub fn dismiss(&mut self, is_stale: impl Fn(&str) -> bool) {
        self.0.retain(|text| !is_stale(text));
    }

    /// Returns all notices, oldest first.
    pub fn recent(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

/// Logs a warning and adds it to the notices. A macro, so that the log line names the caller's
/// module.
macro_rules! notify_user {
    ($state:expr, $($text:tt)+) => {{
        let text = format!($($text)+);
        tracing::warn!("{text}");
        $state.notices.add(text);
    }};
}
pub(crate) use notify_user;
