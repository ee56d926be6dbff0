//! Connections of clients: accepting them.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use smithay::reexports::calloop::LoopHandle;
use smithay::reexports::wayland_server::backend::{ClientData as BackendData, ClientId, DisconnectReason};
use smithay::reexports::wayland_server::{Client, DisplayHandle};
use smithay::wayland::compositor::CompositorClientState;
use smithay::wayland::socket::ListeningSocketSource;
use tracing::{debug, error, info, warn};

use crate::state::State;

/// What is kept for each Wayland client.
#[derive(Default)]
pub struct ClientData {
    pub compositor: CompositorClientState,
}

impl ClientData {
    /// The data that [`accept`] gave a client.
    pub fn of(client: &Client) -> &Self {
        static NOBODY: LazyLock<ClientData> = LazyLock::new(ClientData::default);
        client.get_data::<Self>().unwrap_or_else(|| {
            error!("a client has no data: it was not inserted by accept()");
            &NOBODY
        })
    }
}

impl BackendData for ClientData {
    fn initialized(&self, client: ClientId) {
        info!(?client, "client connected");
    }

    fn disconnected(&self, client: ClientId, reason: DisconnectReason) {
        match reason {
            DisconnectReason::ConnectionClosed => info!(?client, "client disconnected"),
            DisconnectReason::ProtocolError(error) => {
                warn!(?client, %error, "client disconnected: it broke the protocol");
            }
        }
    }
}

/// The listening socket.
#[derive(Default)]
pub struct Clients {
    address: String,
}

impl Clients {
    /// What clients have to set as `WAYLAND_DISPLAY`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens a socket under `XDG_RUNTIME_DIR` and accepts from it.
    pub fn listen(handle: &LoopHandle<'static, State>) -> Result<Self> {
        let socket = ListeningSocketSource::new_auto().context(
            "no Wayland socket: XDG_RUNTIME_DIR must name a folder that this user may write to, \
             usually /run/user/<uid> (a login session or RuntimeDirectory= provides it)",
        )?;
        let address = socket.socket_name().to_string_lossy().into_owned();
        handle
            .insert_source(socket, |stream, (), state| accept(&mut state.display_handle, stream))
            .map_err(|error| anyhow::anyhow!("listen for clients: {error}"))?;
        info!(address, "accepting clients");
        Ok(Self { address })
    }
}

/// Takes a connected socket as a client.
pub fn accept(display: &mut DisplayHandle, stream: UnixStream) {
    if let Err(error) = display.insert_client(stream, Arc::new(ClientData::default())) {
        debug!(%error, "a client was gone before it was accepted");
    }
}
