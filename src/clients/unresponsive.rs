//! Clients that do not reply: the shell shows that, they get little input, and the user chooses
//! between waiting and closing.

use std::time::Duration;

use geom_ipc::CloseReason;
use tracing::{debug, info, warn};

use super::{ClientId, Clients, Cx, Effect, Effects};

/// The maximum number of key events for a client while it is unresponsive. Later ones are dropped;
/// the client gets the keyboard's state when it replies again.
const MAX_KEYS_WHILE_UNRESPONSIVE: u32 = 256;

/// The number of bytes that a client may leave unread before it gets no more input until it reads:
/// a third of what a socket holds by default (net.core.wmem_default), each small message counted
/// with its overhead. Beyond the socket, libwayland before 1.23 holds 4 KiB, and then disconnects
/// the client: a mouse at 1000 Hz would do that to a client that is busy for half a second.
const MAX_UNREAD: u64 = 64 << 10;

/// The delay after which a client that got no input is looked at again.
const WITHHELD_INPUT_RETRY: Duration = Duration::from_millis(50);

impl Clients {
    pub(super) fn mark_unresponsive(&mut self, id: ClientId, cx: &Cx<'_>, effects: &mut Effects) {
        warn!(client = %id, app_id = cx.windows.app_id(id), "client does not reply");
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.keys_while_unresponsive = 0;
        }
        effects.push(Effect::WithholdPointer(id));
        effects.push(Effect::Redraw(id));
        self.publish_state(id, cx, effects);
    }

    pub(super) fn mark_responsive(&mut self, id: ClientId, cx: &Cx<'_>, effects: &mut Effects) {
        info!(client = %id, "client replies again");
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.wait_until = None;
        }
        self.resend_keys(id, effects);
        effects.push(Effect::CheckDisabledGlobals);
        effects.push(Effect::Redraw(id));
        self.publish_state(id, cx, effects);
    }

    /// Returns whether a key event may be sent to the client with the keyboard focus, and counts
    /// it if the client is unresponsive.
    pub fn accepts_key(&mut self, id: ClientId, cx: &Cx<'_>) -> (bool, Effects) {
        let (mut accepts, effects) = self.accepts_input(id, cx);
        let Some(connection) = self.connections.get_mut(&id) else { return (accepts, effects) };
        if connection.is_unresponsive() {
            connection.keys_while_unresponsive = connection.keys_while_unresponsive.saturating_add(1);
            accepts &= connection.keys_while_unresponsive <= MAX_KEYS_WHILE_UNRESPONSIVE;
        }
        connection.has_dropped_keys |= !accepts;
        (accepts, effects)
    }

    /// Returns whether the client has read enough to get more input. If not,
    /// [`Effect::ResendPointer`] follows when it has.
    pub fn accepts_input(&mut self, id: ClientId, cx: &Cx<'_>) -> (bool, Effects) {
        let mut effects = Effects::new();
        let Some(connection) = self.connections.get_mut(&id) else { return (true, effects) };
        if connection.unread_bytes() <= MAX_UNREAD {
            return (true, effects);
        }
        if !std::mem::replace(&mut connection.is_input_withheld, true) {
            debug!(client = %id, "client gets no input until it reads");
            effects.push(Effect::ArmWithheldInput { id, at: cx.now + WITHHELD_INPUT_RETRY });
        }
        (false, effects)
    }

    /// Handles the time that [`Effect::ArmWithheldInput`] named.
    pub fn withheld_input_due(&mut self, id: ClientId, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let Some(connection) = self.connections.get_mut(&id) else { return effects };
        if connection.unread_bytes() > MAX_UNREAD / 2 {
            effects.push(Effect::ArmWithheldInput { id, at: cx.now + WITHHELD_INPUT_RETRY });
            return effects;
        }
        connection.is_input_withheld = false;
        effects.push(Effect::ResendPointer(id));
        if !connection.is_unresponsive() {
            self.resend_keys(id, &mut effects);
        }
        effects
    }

    fn resend_keys(&mut self, id: ClientId, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if std::mem::take(&mut connection.has_dropped_keys) {
            effects.push(Effect::ResendKeyboard(id));
        }
    }

    /// Handles the user's choice to wait for a client: the dialog is hidden for as long as it took
    /// to appear.
    pub fn extend_wait(&mut self, id: ClientId, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let unresponsive = cx.config.heartbeat(cx.windows.app_id(id).as_deref()).unresponsive;
        let Some(connection) = self.connections.get_mut(&id) else { return effects };
        connection.wait_until = Some(cx.now + unresponsive);
        info!(client = %id, "the user waits for the client");
        self.set_deadline(id, cx, &mut effects);
        effects.push(Effect::Redraw(id));
        effects
    }

    /// Handles the user's choice to close a client. The client does not reply, so it is not asked.
    pub fn close_unresponsive(&mut self, id: ClientId, cx: &Cx<'_>) -> Effects {
        info!(client = %id, "the user closes the client");
        self.disconnect(id, CloseReason::Requested, cx)
    }
}
