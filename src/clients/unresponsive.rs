//! Clients that do not reply: the shell shows that, they get little input, and the user chooses
//! between waiting and closing.

use geom_ipc::CloseReason;
use tracing::{info, warn};

use super::{ClientId, Clients, Cx, Effect, Effects};

/// The maximum number of key events for a client while it is unresponsive. Later ones are dropped;
/// the client gets the keyboard's state when it replies again.
const MAX_KEYS_WHILE_UNRESPONSIVE: u32 = 256;

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
        let mut has_dropped_keys = false;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.wait_until = None;
            has_dropped_keys = connection.keys_while_unresponsive > MAX_KEYS_WHILE_UNRESPONSIVE;
        }
        if has_dropped_keys {
            effects.push(Effect::ResendKeyboard(id));
        }
        effects.push(Effect::CheckDisabledGlobals);
        effects.push(Effect::Redraw(id));
        self.publish_state(id, cx, effects);
    }

    /// Returns whether a key event may be sent to the client with the keyboard focus, and counts
    /// it if the client is unresponsive.
    pub fn accepts_key(&mut self, id: ClientId) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        if !connection.is_unresponsive() {
            return true;
        }
        connection.keys_while_unresponsive = connection.keys_while_unresponsive.saturating_add(1);
        connection.keys_while_unresponsive <= MAX_KEYS_WHILE_UNRESPONSIVE
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
