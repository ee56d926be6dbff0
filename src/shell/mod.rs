//! Where windows go: each fills a display.
//!
//! A window's assigned_output is the display that a rule names, or that the client asks for, or else the
//! focused one. While its assigned_output is dark it is shown on the nearest lit display, and goes assigned_output when
//! the monitor is back. Of the windows on a display the latest is seen, with its dialogs above it.

pub mod focus;
pub mod unresponsive;
pub mod windows;

use smithay::desktop::PopupManager;

/// The shell's state.
#[derive(Default)]
pub struct Shell {
    /// Back to front.
    pub windows: Vec<windows::ManagedWindow>,
    /// Windows without a picture yet.
    pub unmapped: Vec<windows::ManagedWindow>,
    /// The number of the newest window.
    pub last_window: u64,
    pub popups: PopupManager,
    /// The display that has the focus, by name; it may have gone dark since.
    pub focused_output: Option<crate::output::OutputId>,
}
