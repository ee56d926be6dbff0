//! A headset's program: leases the first non-desktop connector and shows green on it, until it is
//! killed or the lease ends.

use std::os::fd::OwnedFd;

use anyhow::{bail, Context, Result};
use drm::buffer::DrmFourcc;
use drm::control::Device as ControlDevice;
use geom_lab::Card;
use wayland_client::globals::{registry_queue_init, GlobalListContents};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::{delegate_noop, event_created_child, Connection, Dispatch, QueueHandle};
use wayland_protocols::wp::drm_lease::v1::client::wp_drm_lease_connector_v1::{self, WpDrmLeaseConnectorV1};
use wayland_protocols::wp::drm_lease::v1::client::wp_drm_lease_device_v1::{self, WpDrmLeaseDeviceV1};
use wayland_protocols::wp::drm_lease::v1::client::wp_drm_lease_request_v1::WpDrmLeaseRequestV1;
use wayland_protocols::wp::drm_lease::v1::client::wp_drm_lease_v1::{self, WpDrmLeaseV1};

/// What the compositor sent.
#[derive(Default)]
struct State {
    connectors: Vec<WpDrmLeaseConnectorV1>,
    done: bool,
    lease: Option<OwnedFd>,
    finished: bool,
}

impl Dispatch<WlRegistry, GlobalListContents> for State {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

impl Dispatch<WpDrmLeaseDeviceV1, ()> for State {
    fn event(
        state: &mut Self,
        _: &WpDrmLeaseDeviceV1,
        event: wp_drm_lease_device_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wp_drm_lease_device_v1::Event::Connector { id } => state.connectors.push(id),
            wp_drm_lease_device_v1::Event::Done => state.done = true,
            _ => {}
        }
    }

    event_created_child!(State, WpDrmLeaseDeviceV1, [
        wp_drm_lease_device_v1::EVT_CONNECTOR_OPCODE => (WpDrmLeaseConnectorV1, ()),
    ]);
}

impl Dispatch<WpDrmLeaseConnectorV1, ()> for State {
    fn event(
        _: &mut Self,
        _: &WpDrmLeaseConnectorV1,
        event: wp_drm_lease_connector_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wp_drm_lease_connector_v1::Event::Name { name } => println!("offered {name}"),
            wp_drm_lease_connector_v1::Event::Withdrawn => println!("withdrawn"),
            _ => {}
        }
    }
}

delegate_noop!(State: WpDrmLeaseRequestV1);

impl Dispatch<WpDrmLeaseV1, ()> for State {
    fn event(
        state: &mut Self,
        _: &WpDrmLeaseV1,
        event: wp_drm_lease_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wp_drm_lease_v1::Event::LeaseFd { leased_fd } => state.lease = Some(leased_fd),
            wp_drm_lease_v1::Event::Finished => state.finished = true,
            _ => {}
        }
    }
}

/// Shows green on the leased connector.
fn show(card: &Card) -> Result<()> {
    let resources = card.resource_handles()?;
    let (connectors, crtcs) = (resources.connectors(), resources.crtcs());
    println!("leased {} connectors, {} CRTCs", connectors.len(), crtcs.len());
    let connector = card.get_connector(*connectors.first().context("no connector")?, true)?;
    let mode = *connector.modes().first().context("no mode")?;
    let (width, height) = mode.size();
    let mut buffer = card.create_dumb_buffer((width.into(), height.into()), DrmFourcc::Xrgb8888, 32)?;
    let framebuffer = card.add_framebuffer(&buffer, 24, 32)?;
    for pixel in card.map_dumb_buffer(&mut buffer)?.chunks_exact_mut(4) {
        pixel.copy_from_slice(&[0, 0xff, 0, 0]);
    }
    let crtc = *crtcs.first().context("no CRTC")?;
    card.set_crtc(crtc, Some(framebuffer), (0, 0), &[connector.handle()], Some(mode))?;
    println!("shown");
    Ok(())
}

fn main() -> Result<()> {
    let connection = Connection::connect_to_env()?;
    let (globals, mut queue) = registry_queue_init::<State>(&connection)?;
    let handle = queue.handle();
    let device: WpDrmLeaseDeviceV1 = globals.bind(&handle, 1..=1, ()).context("no wp_drm_lease_device_v1")?;
    let mut state = State::default();
    while !state.done {
        queue.blocking_dispatch(&mut state)?;
    }
    let Some(connector) = state.connectors.first() else { bail!("no connector is offered for lease") };
    let request = device.create_lease_request(&handle, ());
    request.request_connector(connector);
    let lease = request.submit(&handle, ());
    while state.lease.is_none() && !state.finished {
        queue.blocking_dispatch(&mut state)?;
    }
    let card = Card::from(state.lease.take().context("no lease")?);
    show(&card)?;
    while !state.finished {
        queue.blocking_dispatch(&mut state)?;
    }
    println!("finished");
    lease.destroy();
    Ok(())
}
