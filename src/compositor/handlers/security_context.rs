//! security-context: a sandbox engine hands over a listening socket. The clients that connect there
//! are marked as sandboxed and do not see privileged globals.
//!
//! Smithay's implementation accepts clients in the event loop as long as some wait, and blocks it
//! if the engine makes the socket block. Here a thread accepts them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use geom_ipc::ClientKind;
use smithay::reexports::calloop::channel::Event;
use smithay::reexports::wayland_protocols::wp::security_context::v1::server::wp_security_context_manager_v1::{
    self, WpSecurityContextManagerV1,
};
use smithay::reexports::wayland_protocols::wp::security_context::v1::server::wp_security_context_v1::{
    self, WpSecurityContextV1,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource,
};
use tracing::{info, warn};

use crate::clients::libwayland::post_no_memory;
use crate::clients::objects::Counted;
use crate::clients::sandbox_socket::is_listening;
use crate::clients::{ClientData, Sandbox};
use crate::compositor::State;

/// Returns whether a client sees privileged globals.
pub fn is_trusted(client: &Client) -> bool {
    ClientData::of(client).is_privileged()
}

/// The global's data.
pub struct Global;

impl GlobalDispatch<WpSecurityContextManagerV1, Global> for State {
    fn bind(
        _state: &mut Self,
        _display: &DisplayHandle,
        _client: &Client,
        resource: New<WpSecurityContextManagerV1>,
        _global: &Global,
        data_init: &mut DataInit<'_, Self>,
    ) {
        data_init.init(resource, ());
    }

    /// Not to clients that are in a sandbox themselves.
    fn can_view(client: Client, _global: &Global) -> bool {
        is_trusted(&client)
    }
}

/// What an engine has said of a sandbox.
struct NewSandbox {
    listener: OwnedFd,
    close: OwnedFd,
    engine: Option<String>,
    app_id: Option<String>,
    instance_id: Option<String>,
}

/// `None` once it is committed.
pub struct UncommittedSandbox(Mutex<Option<NewSandbox>>);

impl Dispatch<WpSecurityContextManagerV1, ()> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        manager: &WpSecurityContextManagerV1,
        request: wp_security_context_manager_v1::Request,
        (): &(),
        _display: &DisplayHandle,
        data_init: &mut DataInit<'_, Self>,
    ) {
        if let wp_security_context_manager_v1::Request::CreateListener { id, listen_fd, close_fd } = request {
            if !is_listening(&listen_fd) {
                let error = wp_security_context_manager_v1::Error::InvalidListenFd;
                manager.post_error(error, "no socket that is listened at");
                return;
            }
            if state.count_object(client, manager, Counted::Sandbox).is_err() {
                return;
            }
            let new = NewSandbox {
                listener: listen_fd,
                close: close_fd,
                engine: None,
                app_id: None,
                instance_id: None,
            };
            data_init.init(id, UncommittedSandbox(Mutex::new(Some(new))));
        }
    }
}

impl Dispatch<WpSecurityContextV1, UncommittedSandbox> for State {
    fn request(
        state: &mut Self,
        _client: &Client,
        context: &WpSecurityContextV1,
        request: wp_security_context_v1::Request,
        data: &UncommittedSandbox,
        _display: &DisplayHandle,
        _data_init: &mut DataInit<'_, Self>,
    ) {
        use wp_security_context_v1::{Error, Request};

        let mut data = data.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(request, Request::Destroy) {
            return;
        }
        let Some(new) = &mut *data else {
            context.post_error(Error::AlreadyUsed, "the context is committed");
            return;
        };
        let (part, value) = match request {
            Request::SetSandboxEngine { name } => (&mut new.engine, name),
            Request::SetAppId { app_id } => (&mut new.app_id, app_id),
            Request::SetInstanceId { instance_id } => (&mut new.instance_id, instance_id),
            Request::Commit if state.protocols.sandbox_sockets.is_full() => {
                return post_no_memory(context, "too many sandbox sockets");
            }
            Request::Commit => {
                if let Some(Err(error)) = data.take().map(|new| state.add_sandbox(new)) {
                    warn!(%error, "cannot listen at a sandbox socket");
                    post_no_memory(context, "cannot listen at the socket");
                }
                return;
            }
            _ => return,
        };
        if part.replace(value).is_some() {
            context.post_error(Error::AlreadySet, "the context has it already");
        }
    }

    fn destroyed(
        state: &mut Self,
        client: ClientId,
        _context: &WpSecurityContextV1,
        _data: &UncommittedSandbox,
    ) {
        state.uncount_object(&client, Counted::Sandbox);
    }
}

impl State {
    fn add_sandbox(&mut self, new: NewSandbox) -> io::Result<()> {
        let parts = [new.engine, new.app_id, new.instance_id];
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let clients = self.protocols.sandbox_sockets.listen(new.listener, new.close)?;
        info!(client = self.clients.current().map(u64::from), context = name, "sandbox socket added");
        let inserted = self.handle.insert_source(clients, move |event, (), state: &mut State| {
            if let Event::Msg(stream) = event {
                let sandbox = Sandbox { name: &name, is_admitted: false };
                state.new_client(stream, ClientKind::Wayland, Some(sandbox));
            }
        });
        inserted.map(|_| ()).map_err(|error| io::Error::other(error.error.to_string()))
    }
}
