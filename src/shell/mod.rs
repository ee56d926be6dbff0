//! The shell: windows, popups and layer surfaces; which output shows each of them, and which one
//! has the keyboard.
//!
//! A window fills one output. It belongs to its *assigned output*: the one that a rule names, or
//! that the client requested, or the focused one ([`placement`]). While that output is disabled or
//! disconnected, the nearest enabled one shows the window, which moves back when the monitor
//! returns. Of the windows on an output the topmost is visible, with its dialogs above it
//! ([`stack`]).
//!
//! Who has the keyboard, and what is seen under the pointer, follows from the state at any time
//! ([`focus`]).
//!
//! Methods of [`Shell`] send configure, enter and leave events themselves. What they want from
//! other components they return as [`Effect`]s, which the compositor applies in order.

mod focus;
mod hidden;
mod hit_test;
mod layers;
mod placement;
pub mod popups;
mod stack;
#[cfg(test)]
mod tests;
mod unresponsive;
mod visible;
mod windows;

use smithay::desktop::PopupManager;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;

use self::focus::grabs::GrabChain;
pub use self::focus::KeyboardFocus;
pub use self::hidden::has_callbacks;
pub use self::hit_test::SurfaceAt;
use self::layers::UnmappedLayer;
pub use self::stack::ShellWindow;
use self::stack::Stack;
pub use self::unresponsive::{UnresponsiveClient, UnresponsiveWindow};
pub use self::windows::{root_surface, send_preferred_scale};
use crate::clients::placements::Placements;
use crate::clients::ClientId;
use crate::config::{FocusNew, Rule};
use crate::output::outputs::Outputs;
use crate::output::OutputId;

/// Windows and popups. Mapped layer surfaces are in the layer maps of their `wl_output`s.
#[derive(Default)]
pub struct Shell {
    stack: Stack,
    pub popups: PopupManager,
    /// The popups that take all input.
    grabs: GrabChain<WlSurface>,
    /// The layer surface that the user clicked, if nothing else was given the keyboard since.
    clicked_layer: Option<WlSurface>,
    unmapped_layers: Vec<UnmappedLayer>,
}

/// What the shell reads of other components.
pub struct Cx<'a> {
    pub outputs: &'a Outputs,
    /// The rules of the configuration, of which the first match counts.
    pub rules: &'a [Rule],
    /// Which new windows get the keyboard.
    pub focus_new: FocusNew,
    /// Output names that were saved for applications, by app id.
    pub saved_placements: &'a Placements,
    /// Returns the connector that a display's name in the configuration stands for: the name of a
    /// connector or monitor, a pattern or an alias.
    pub connector_of: &'a dyn Fn(&str) -> Option<String>,
}

/// What the shell wants from other components.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Find out again who has the keyboard and the pointer, at the latest before the next input or
    /// frame: windows, popups or layer surfaces appeared, moved or are gone, or the user chose
    /// another one.
    RefreshFocus,
    /// Draw an output again.
    Redraw(OutputId),
    /// Report a window that was mapped.
    WindowMapped(u64),
    /// Report a mapped window that another output shows now.
    WindowMoved(u64),
    /// Report that a mapped window is gone.
    WindowClosed(ClosedWindow),
    /// Placements of windows changed: save them with the next state file.
    SavePlacements,
    /// A fullscreen window may have appeared on an output or left it.
    CheckFullscreen,
    /// The user waits for an unresponsive client.
    Wait(ClientId),
    /// The user closes an unresponsive client.
    Close(ClientId),
}

/// See [`Effect`].
pub type Effects = Vec<Effect>;

/// A window that was destroyed while it was mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedWindow {
    pub id: u64,
    pub client: ClientId,
    pub app_id: Option<String>,
    pub assigned_output: Option<String>,
}
