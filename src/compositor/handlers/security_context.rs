//! security-context: a sandbox's listening socket, whose clients are known as its and get no privileged globals.

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

use crate::clients::ClientData;
use crate::compositor::State;

/// Who sees globals that are not for sandboxed programs.
pub fn is_trusted(client: &Client) -> bool {
    !ClientData::of(client).is_sandboxed
}

/// The sandbox's socket, whose mistakes are not the event loop's: it is the client's, who may do anything to it.
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
            warn!(%error, "a sandbox's socket accepts no more clients");
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
        info!(client = self.clients.current.map(u64::from), context = name, "a sandbox listens for clients");
        let inserted = self.handle.insert_source(Listener(source), move |stream, (), state: &mut State| {
            // What accept(2) makes does not inherit this.
            if let Err(error) = stream.set_nonblocking(true) {
                warn!(%error, "a sandbox's client can't be accepted");
                return;
            }
            state.new_client(stream, ClientKind::Wayland, Some(&name));
        });
        if let Err(error) = inserted {
            warn!(error = %error.error, "a sandbox's socket can't be listened to");
        }
    }
}

delegate_security_context!(State);
