//! Everything that a connection can cause in the rest of the compositor.

use geom_ipc::CloseReason;
use smithay::reexports::calloop::RegistrationToken;

use super::heartbeat::Time;
use super::ClientId;

/// What the compositor has to do, in this order.
pub type Effects = Vec<Effect>;

/// What the compositor has to do because a client connected, sent something, hung, replied or
/// disconnected. Messages to control clients are no effects: the component writes to their sockets
/// itself.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Wayland clients connected: dispatch what they have sent already. Most have sent a request by
    /// the time of accept(2).
    Dispatch,
    /// Read the requests of a control client: those that were received already, and from its
    /// socket from now on.
    ReadControl(ClientId),
    /// Call [`Clients::flush`](super::Clients::flush) when a control client's socket can take more.
    AwaitWritable(ClientId),
    /// Remove a control client's socket from the event loop.
    Unwatch(RegistrationToken),

    /// Call [`Clients::announcement_due`](super::Clients::announcement_due) at this time.
    ArmAnnouncement(Time),
    /// Call [`Clients::deadlines_due`](super::Clients::deadlines_due) at this time, and not at the
    /// time that was armed before.
    ArmDeadline(Time),
    /// Call [`Clients::withheld_input_due`](super::Clients::withheld_input_due) at this time.
    ArmWithheldInput { id: ClientId, at: Time },
    /// Call [`Clients::resume_due`](super::Clients::resume_due) at this time.
    ArmResume { id: ClientId, at: Time },
    /// Call [`Clients::trim_memory`](super::Clients::trim_memory) at this time.
    ArmTrim(Time),
    /// Accept no clients from the listening socket with this index until a time.
    PauseListener { index: u64, until: Time },

    /// Publish that a client connected. `app_id`, `displays` and `windows` of a Wayland client are
    /// the shell's to fill in.
    Connected(Box<geom_ipc::Client>),
    /// Publish a client's new state; as above.
    StateChanged(Box<geom_ipc::Client>),
    /// Publish that a client is disconnected, and drop what waits for it.
    Disconnected { id: ClientId, reason: CloseReason },

    /// A client hangs: the pointer leaves its surfaces.
    WithholdPointer(ClientId),
    /// A client that was not sent all key events replies again: send it the keyboard's state.
    ResendKeyboard(ClientId),
    /// A client that got no input reads again: send it the pointer's position.
    ResendPointer(ClientId),
    /// Send a client the frame callbacks that it waits for: it may read nothing else before.
    SendFrames(ClientId),
    /// Redraw the outputs that show a client's windows.
    Redraw(ClientId),

    /// Ask a client to close its windows.
    CloseWindows(ClientId),
    /// Kill a client's process.
    KillProcess(ClientId),
    /// Check whether disabled globals can be destroyed: they wait for clients that hang.
    CheckDisabledGlobals,
    /// The last Wayland client is disconnected while the service shuts down: stop it.
    StopService,
}
