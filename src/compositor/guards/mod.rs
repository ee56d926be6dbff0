//! Checks in front of Smithay's request handlers: what a client must not do, with the protocol's
//! own error, and how much of everything one client may have.
//!
//! Smithay's handlers trust some requests that end or stop the service (docs/upstream), and set no
//! limits. A guard sees each request of an interface before Smithay does. It refuses a request by
//! posting an error, which ends the client; the request then goes no further.

mod compositor;
mod cursor_shape;
mod dmabuf;
mod drm_syncobj;
mod layer_shell;
mod pointer_gestures;
mod region;
mod seat;
pub mod selection;
mod shm;
pub mod xdg_shell;

use smithay::reexports::wayland_server::backend::ClientId as WaylandClientId;
use smithay::reexports::wayland_server::{Client, Resource};

use super::State;
use crate::clients::libwayland::post_no_memory;
use crate::clients::objects::{Counted, OverLimit};
use crate::clients::ClientData;

/// A request goes no further. An error has been posted if it was wrong.
pub struct Refused;

pub type Checked = Result<(), Refused>;

impl State {
    /// Counts an object that a client is about to create.
    ///
    /// # Errors
    /// If the client has as many as it may have; an error has been posted.
    pub fn count_object(&self, client: &Client, resource: &impl Resource, kind: Counted) -> Checked {
        let result = ClientData::of(client).objects.add(kind, &self.config.clients.objects);
        result.map_err(|over| refuse(resource, &over))
    }

    /// Stops counting an object that was destroyed. Those of a client that has ended need not be
    /// counted any more.
    pub fn uncount_object(&self, client: &WaylandClientId, kind: Counted) {
        let data = self.display_handle.backend_handle().get_client_data(client.clone());
        if let Some(data) = data.ok().and_then(|data| data.downcast_arc::<ClientData>().ok()) {
            data.objects.remove(kind);
        }
    }
}

/// Ends a client that has more than it may have.
fn refuse(resource: &impl Resource, over: &OverLimit) -> Refused {
    post_no_memory(resource, &over.to_string());
    Refused
}

/// The greatest coordinate and length, in pixels, that a client may use in what places are computed
/// from: one for each level of popups or subsurfaces, added, fits into 32 bits.
const MAX_COORDINATE: i32 = 1 << 20;

/// Returns whether additions of these coordinates and lengths fit into 32 bits.
fn can_be_added(numbers: &[i32]) -> bool {
    numbers.iter().all(|number| (-MAX_COORDINATE..=MAX_COORDINATE).contains(number))
}

/// Passes the requests of an interface to Smithay if the function after `check` accepts them, and
/// the client may have one more of the kind of object that a request after `creates` creates. With
/// a kind after `counted`, its destroyed objects are no longer counted.
macro_rules! guard {
    (
        $interface:ty, $data:ty => $smithay:ty
        $(, check $check:path)?
        $(, creates $($request:path => $created:expr),+)?
        $(; counted $kind:expr)?
    ) => {
        impl smithay::reexports::wayland_server::Dispatch<$interface, $data> for $crate::compositor::State {
            fn request(
                state: &mut Self,
                client: &smithay::reexports::wayland_server::Client,
                resource: &$interface,
                request: <$interface as smithay::reexports::wayland_server::Resource>::Request,
                data: &$data,
                display: &smithay::reexports::wayland_server::DisplayHandle,
                data_init: &mut smithay::reexports::wayland_server::DataInit<'_, Self>,
            ) {
                $(
                    if $check(state, client, resource, &request, data).is_err() {
                        return;
                    }
                )?
                $($(
                    let is_created = matches!(&request, $request { .. });
                    if is_created && state.count_object(client, resource, $created).is_err() {
                        return;
                    }
                )+)?
                <$smithay as smithay::reexports::wayland_server::Dispatch<$interface, $data, Self>>::request(
                    state, client, resource, request, data, display, data_init,
                );
            }

            fn destroyed(
                state: &mut Self,
                client: smithay::reexports::wayland_server::backend::ClientId,
                resource: &$interface,
                data: &$data,
            ) {
                $(state.uncount_object(&client, $kind);)?
                <$smithay as smithay::reexports::wayland_server::Dispatch<$interface, $data, Self>>::destroyed(
                    state, client, resource, data,
                );
            }
        }
    };
}
use guard;
