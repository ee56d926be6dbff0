//! How connections end: by themselves, asked to leave, cut, killed; and that nothing of them stays.

use geom_ipc::{EndReason, Event as IpcEvent};
use smithay::reexports::wayland_server::backend::DisconnectReason;
use smithay::reexports::wayland_server::Resource;
use tracing::{debug, info, warn};

use super::heartbeat::Event;
use super::record::{Link, Record};
use super::{ClientData, PLACES};
use crate::config::LossPolicy;
use crate::shell::windows::{traits, Managed};
use crate::state::State;

/// From the first departures to giving back the memory of all.
const REST: std::time::Duration = std::time::Duration::from_secs(1);

impl State {
    /// The connection that a Wayland object belongs to.
    pub fn client_of(resource: &impl Resource) -> Option<u64> {
        resource.client().map(|client| ClientData::of(&client).id)
    }

    /// The app id of a Wayland client's newest window.
    pub fn app_id_of(&self, id: u64) -> Option<String> {
        let windows = self.shell.windows.iter().rev().chain(self.shell.unmapped.iter().rev());
        let mut own = windows.filter(|managed| managed.client == id);
        own.next().and_then(|managed| traits(managed.toplevel()?).0)
    }

    /// Given up: by the policy of its application, or kept for resuming.
    pub fn lose(&mut self, id: u64) {
        let Some(record) = self.clients.records.get(&id) else { return };
        match &record.link {
            Link::Control(_) => self.session_lost(id),
            Link::Wayland(_) => {
                let policy = self.config.clients.heartbeat(self.app_id_of(id).as_deref()).on_lost;
                warn!(client = id, ?policy, "client lost: no sign of life");
                if policy == LossPolicy::Kill {
                    self.kill_process(id);
                }
                self.cut(id, EndReason::LostHeartbeat);
            }
        }
    }

    /// Asks a client to leave, and cuts its connection at the configured deadline.
    pub fn disconnect(&mut self, id: u64, reason: EndReason) {
        let at = self.now() + self.config.clients.close_time;
        let Some(record) = self.clients.records.get_mut(&id) else { return };
        record.leaving = Some((reason, at));
        info!(client = id, ?reason, "client asked to leave");
        match &record.link {
            Link::Control(_) => self.cut(id, reason),
            Link::Wayland(_) => {
                let mut asked = false;
                for managed in self.shell.windows.iter().filter(|managed| managed.client == id) {
                    if let Some(toplevel) = managed.toplevel() {
                        toplevel.send_close();
                        asked = true;
                    }
                }
                if asked {
                    self.set_deadline(id);
                } else {
                    // It has nothing to close.
                    self.cut(id, reason);
                }
            }
        }
    }

    /// Kills a client's process, by its descriptor: never another that got its number.
    pub fn kill_process(&mut self, id: u64) {
        let Some(record) = self.clients.records.get(&id) else { return };
        let pid = record.peer.pid;
        match self.clients.process(id).map(|process| process.kill()) {
            Some(Ok(())) => info!(client = id, pid, "client killed"),
            Some(Err(error)) => warn!(client = id, pid, %error, "client can't be killed"),
            None => warn!(client = id, pid, "client can't be killed: its process has ended"),
        }
    }

    /// Ends a connection now.
    pub fn cut(&mut self, id: u64, reason: EndReason) {
        let now = self.turn_time();
        let Some(record) = self.clients.records.get_mut(&id) else { return };
        record.leaving = Some((reason, now));
        match &mut record.link {
            Link::Wayland(link) => {
                let client = link.client.clone();
                let backend = self.display_handle.backend_handle();
                backend.kill_client(client, DisconnectReason::ConnectionClosed);
                // The rest follows at the end of this turn: collect_ended().
            }
            Link::Control(_) => {
                let goodbye = geom_ipc::FromServer::Event(IpcEvent::Goodbye { reason });
                self.send(id, &goodbye);
                self.forget(id, reason);
            }
        }
    }

    /// The Wayland library has let a client go.
    pub fn wayland_ended(&mut self, id: u64, why: DisconnectReason) {
        self.introduce_if_stranger(id);
        let reason = match &why {
            DisconnectReason::ProtocolError(error) => {
                warn!(client = id, %error, "client broke the protocol");
                EndReason::ProtocolError
            }
            DisconnectReason::ConnectionClosed => self.end_reason(id, EndReason::Left),
        };
        let Some(link) = self.clients.records.get_mut(&id).and_then(Record::wayland) else { return };
        link.descriptor = None;
        let client = link.client.clone();
        // Lets the library destroy what it held: the client's objects, its socket.
        let display = self.display.clone();
        let cleaned = display.borrow_mut().backend().dispatch_single_client(self, client);
        debug!(client = id, ?cleaned, "objects destroyed");
        self.forget(id, reason);
    }

    /// A window that is destroyed because its connection ended, and not by order: its display is kept for when an
    /// application of its name is back.
    pub fn keep_place(&mut self, managed: &Managed) {
        let keeps = self.connect_type().contains(geom_ipc::ConnectType::KEEP_CONNECTION_OPEN);
        let reason = self.end_reason(managed.client, EndReason::Left);
        let ordered = matches!(reason, EndReason::Ordered | EndReason::Shutdown);
        if !keeps || ordered || !self.clients.has_ended(managed.client) {
            return;
        }
        let app_id = managed.toplevel().and_then(|toplevel| traits(toplevel).0);
        let (Some(app_id), Some(home)) = (app_id, managed.home.clone()) else { return };
        if self.clients.places.len() < PLACES || self.clients.places.contains_key(&app_id) {
            debug!(client = managed.client, app_id, home, "its place is kept");
            self.clients.places.insert(app_id, home);
            self.keep();
        }
    }

    /// Removes the record: nothing of a gone client stays.
    pub fn forget(&mut self, id: u64, reason: EndReason) {
        self.introduce_if_stranger(id);
        let Some(mut record) = self.clients.records.remove(&id) else { return };
        self.clients.deadlines.remove(id);
        self.clients.unpinged.remove(&id);
        self.clients.counts.leave(record.peer.pid, record.peer.uid);
        self.frame_awaited.retain(|(waiting, _)| *waiting != id);
        match &mut record.link {
            Link::Wayland(_) => {}
            Link::Control(control) => {
                control.close(&self.handle);
                self.keep();
            }
        }
        for (connection, request) in record.waiting {
            let error = geom_ipc::Error::new(geom_ipc::ErrorKind::Failed, "the client is gone");
            self.reply(connection, Some(request), Err(error));
        }
        info!(client = id, ?reason, "client disconnected");
        self.publish_event(&IpcEvent::ClientGone { client: id, reason });
        self.destroy_withdrawn();
        self.give_memory_back();
        self.stop_when_left();
    }

    /// After a crowd has left, once for all of it.
    fn give_memory_back(&mut self) {
        if !self.clients.is_bloated() {
            return;
        }
        self.clients.resting = true;
        let at = self.now() + REST;
        self.timers.at(at, |state| {
            state.clients.resting = false;
            state.clients.peak = state.clients.records.len();
            // SAFETY: it moves nothing that is in use (malloc_trim(3)).
            unsafe { libc::malloc_trim(0) };
        });
    }

    /// Ends the service when all Wayland clients have left, who are asked to, or at the deadline for that.
    pub fn leave(&mut self) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        let records = self.clients.records.values();
        let wayland =
            records.filter(|record| matches!(record.link, Link::Wayland(_))).map(|record| record.id);
        for id in wayland.collect::<Vec<_>>() {
            self.disconnect(id, EndReason::Shutdown);
        }
        self.stop_when_left();
    }

    /// Nobody is left to wait for.
    fn stop_when_left(&mut self) {
        let stays = |record: &Record| matches!(record.link, Link::Wayland(_));
        if self.leaving && !self.clients.records.values().any(stays) {
            self.stop();
        }
    }

    /// The service ends: everyone is told.
    pub fn dismiss_all(&mut self) {
        let all: Vec<u64> = self.clients.records.keys().copied().collect();
        for id in all {
            self.live_client(id, Event::Close(EndReason::Shutdown));
        }
    }
}
