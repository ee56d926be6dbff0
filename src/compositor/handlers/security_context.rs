//! security-context: a sandbox engine hands over a listening socket. The clients that connect there
//! are marked as sandboxed and do not see privileged globals.

use std::io;
use std::os::unix::net::UnixStream;

use geom_ipc::ClientKind;
use smithay::delegate_security_context;
use smithay::reexports::calloop::{self, EventSource, Poll, PostAction, Readiness, Token, TokenFactory};
use smithay::reexports::wayland_server::Client;
use smithay::wayland::security_context::{
    SecurityContext, SecurityContextHandler, SecurityContextListenerSource,
};
use tracing::{info, warn};

use crate::clients::{ClientData, Sandbox};
use crate::compositor::State;

/// Returns whether a client sees privileged globals.
pub fn is_trusted(client: &Client) -> bool {
    ClientData::of(client).is_privileged()
}

/// The listening socket of a sandbox engine, a client that can do anything to it: an error of this
/// source must not end the event loop.
struct Listener(SecurityContextListenerSource);

impl EventSource for Listener {
    type Event = UnixStream;
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    fn process_events<F: FnMut(UnixStream, &mut ())>(
        &mut self,
        readiness: Readiness,
        token: Token,
        callback: F,
    ) -> io::Result<PostAction> {
        Ok(self.0.process_events(readiness, token, callback).unwrap_or_else(|error| {
            warn!(%error, "sandbox socket failed; it accepts no more clients");
            PostAction::Remove
        }))
    }

    fn register(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.0.register(poll, tokens)
    }

    fn reregister(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.0.reregister(poll, tokens)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.0.unregister(poll)
    }
}

impl SecurityContextHandler for State {
    fn context_created(&mut self, source: SecurityContextListenerSource, context: SecurityContext) {
        let parts = [context.sandbox_engine, context.app_id, context.instance_id];
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        info!(client = self.clients.current().map(u64::from), context = name, "sandbox socket added");
        let inserted = self.handle.insert_source(Listener(source), move |stream, (), state: &mut State| {
            // accept(2) does not inherit O_NONBLOCK.
            if let Err(error) = stream.set_nonblocking(true) {
                warn!(%error, "cannot accept a sandboxed client");
                return;
            }
            let sandbox = Sandbox { name: &name, is_admitted: false };
            state.new_client(stream, ClientKind::Wayland, Some(sandbox));
        });
        if let Err(error) = inserted {
            warn!(error = %error.error, "cannot watch a sandbox socket");
        }
    }
}

delegate_security_context!(State);
