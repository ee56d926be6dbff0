//! Clients that do not answer: shown as such, spared input, left alone or closed as a person chooses.

use geom_ipc::{EndReason, Event as IpcEvent};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::SERIAL_COUNTER;
use tracing::{info, warn};

use super::record::Record;
use crate::state::State;

/// So many keys go to a client that does not answer; the rest is dropped, and it is told the keyboard's true
/// state when it answers again.
const KEYS: u32 = 256;

impl State {
    /// It stopped answering.
    pub fn suspect(&mut self, id: u64) {
        warn!(client = id, app_id = self.app_id_of(id), "client does not answer");
        if let Some(record) = self.clients.records.get_mut(&id) {
            record.keys_held = 0;
        }
        self.withdraw_pointer(id);
        self.redraw_client(id);
        self.tell_client(id, |client| IpcEvent::ClientState { client });
    }

    /// It answers again: all is undone.
    pub fn trust(&mut self, id: u64) {
        info!(client = id, "client answers again");
        let mut dropped = false;
        if let Some(record) = self.clients.records.get_mut(&id) {
            record.patience = None;
            dropped = record.keys_held > KEYS;
        }
        if dropped {
            self.refresh_keyboard(id);
        }
        self.destroy_withdrawn();
        self.redraw_client(id);
        self.tell_client(id, |client| IpcEvent::ClientState { client });
    }

    /// A client that can't be pinged: whether its process goes on and reads what it is sent. A process that ended says
    /// nothing, as its socket may be a child's (wl-copy's is); then the queue alone does.
    pub fn look_at(&mut self, id: u64) {
        let Some(record) = self.clients.records.get(&id) else { return };
        let stopped = || self.clients.process(id).is_some_and(|process| process.is_stopped());
        if record.queued() == 0 && !stopped() {
            self.answered(id);
            self.heard(id);
        }
    }

    /// Whether a surface's client does not answer.
    pub fn is_unresponsive(&self, surface: &WlSurface) -> bool {
        // The usual case: nobody hangs.
        let record = Self::client_of(surface).and_then(|id| self.clients.records.get(&id));
        record.is_some_and(Record::is_unresponsive)
    }

    /// Whether a key may go to the client that has the keyboard.
    pub fn takes_key(&mut self) -> bool {
        let focus = self.seat.get_keyboard().and_then(|keyboard| keyboard.current_focus());
        let id = focus.and_then(|surface| Self::client_of(&surface));
        let record = id.and_then(|id| self.clients.records.get_mut(&id));
        let Some(record) = record.filter(|record| record.is_unresponsive()) else { return true };
        record.keys_held = record.keys_held.saturating_add(1);
        record.keys_held <= KEYS
    }

    /// A person chose to wait for it: the notice is hidden for as long as it took to come.
    pub fn wait_for(&mut self, id: u64) {
        let until = self.now() + self.config.clients.heartbeat(self.app_id_of(id).as_deref()).unresponsive;
        if let Some(record) = self.clients.records.get_mut(&id) {
            record.patience = Some(until);
        }
        info!(client = id, "a person waits for the client");
        self.set_deadline(id);
        self.redraw_client(id);
    }

    /// A person chose to close it. It does not answer, so it is not asked.
    pub fn close_hung(&mut self, id: u64) {
        info!(client = id, "a person closes the client");
        self.cut(id, EndReason::Ordered);
    }

    /// The pointer leaves a client's surfaces: motion is withheld from now on.
    fn withdraw_pointer(&mut self, id: u64) {
        let Some(pointer) = self.seat.get_pointer() else { return };
        let on_it = pointer.current_focus().is_some_and(|surface| Self::client_of(&surface) == Some(id));
        if on_it {
            let (location, time) = (self.pointer.location, self.now().as_millis() as u32);
            let serial = SERIAL_COUNTER.next_serial();
            pointer.motion(self, None, &smithay::input::pointer::MotionEvent { location, serial, time });
            pointer.frame(self);
        }
    }

    /// Leaves and enters its surface again, which tells it the keys that are down now.
    fn refresh_keyboard(&mut self, id: u64) {
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let focus = keyboard.current_focus().filter(|surface| Self::client_of(surface) == Some(id));
        if focus.is_some() {
            keyboard.set_focus(self, None, SERIAL_COUNTER.next_serial());
            keyboard.set_focus(self, focus, SERIAL_COUNTER.next_serial());
        }
    }

    /// Draws the displays again that a client's windows are on.
    pub fn redraw_client(&mut self, id: u64) {
        for name in self.displays_of(id) {
            self.queue_redraw(&name);
        }
    }

    /// The displays that a client's windows are shown on.
    pub fn displays_of(&self, id: u64) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for managed in self.shell.windows.iter().filter(|managed| managed.client == id) {
            let name = managed.shown_on.as_ref().filter(|name| !names.contains(name)).cloned();
            names.extend(name);
        }
        names
    }
}
