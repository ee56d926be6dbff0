//! Interfaces of globals, from the metadata that wayland-scanner generates. Interfaces of other
//! objects are reached through the requests and events that create them.

use std::collections::BTreeMap;

use geom_compositor::internals::fuzzing::wayland_protocols::{ext, wp, xdg};
use geom_compositor::internals::fuzzing::wayland_protocols_wlr as wlr;
use geom_compositor::internals::fuzzing::wayland_server::backend::protocol::Interface;
use geom_compositor::internals::fuzzing::wayland_server::{protocol, Resource};

macro_rules! interfaces {
    ($($path:path),+ $(,)?) => { [$(<$path>::interface()),+] };
}

/// Returns the interface of a global.
pub fn global(name: &str) -> Option<&'static Interface> {
    let known = interfaces![
        protocol::wl_compositor::WlCompositor,
        protocol::wl_subcompositor::WlSubcompositor,
        protocol::wl_shm::WlShm,
        protocol::wl_seat::WlSeat,
        protocol::wl_output::WlOutput,
        protocol::wl_data_device_manager::WlDataDeviceManager,
        xdg::shell::server::xdg_wm_base::XdgWmBase,
        xdg::decoration::zv1::server::zxdg_decoration_manager_v1::ZxdgDecorationManagerV1,
        xdg::xdg_output::zv1::server::zxdg_output_manager_v1::ZxdgOutputManagerV1,
        wp::viewporter::server::wp_viewporter::WpViewporter,
        wp::fractional_scale::v1::server::wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1,
        wp::presentation_time::server::wp_presentation::WpPresentation,
        wp::cursor_shape::v1::server::wp_cursor_shape_manager_v1::WpCursorShapeManagerV1,
        wp::security_context::v1::server::wp_security_context_manager_v1::WpSecurityContextManagerV1,
        wp::single_pixel_buffer::v1::server::wp_single_pixel_buffer_manager_v1::WpSinglePixelBufferManagerV1,
        wp::primary_selection::zv1::server::zwp_primary_selection_device_manager_v1::ZwpPrimarySelectionDeviceManagerV1,
        wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1,
        wp::idle_inhibit::zv1::server::zwp_idle_inhibit_manager_v1::ZwpIdleInhibitManagerV1,
        wp::color_management::v1::server::wp_color_manager_v1::WpColorManagerV1,
        wp::color_representation::v1::server::wp_color_representation_manager_v1::WpColorRepresentationManagerV1,
        wp::drm_lease::v1::server::wp_drm_lease_device_v1::WpDrmLeaseDeviceV1,
        ext::idle_notify::v1::server::ext_idle_notifier_v1::ExtIdleNotifierV1,
        wlr::layer_shell::v1::server::zwlr_layer_shell_v1::ZwlrLayerShellV1,
        wlr::gamma_control::v1::server::zwlr_gamma_control_manager_v1::ZwlrGammaControlManagerV1,
        wlr::output_power_management::v1::server::zwlr_output_power_manager_v1::ZwlrOutputPowerManagerV1,
        wlr::output_management::v1::server::zwlr_output_manager_v1::ZwlrOutputManagerV1,
    ];
    known.into_iter().find(|interface| interface.name == name)
}

/// Returns the names `interface.request` of all requests that clients of these globals can send.
/// An object has the version of the object that created it.
pub fn requests_of<'a>(globals: impl Iterator<Item = (&'a str, u32)>) -> BTreeMap<String, u64> {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut found = BTreeMap::new();
    let mut left: Vec<(&'static Interface, u32)> = Vec::new();
    left.extend(globals.filter_map(|(name, version)| Some((global(name)?, version))));
    while let Some((interface, version)) = left.pop() {
        if seen.get(interface.name).is_some_and(|known| *known >= version) {
            continue;
        }
        seen.insert(interface.name, version);
        for message in interface.requests.iter().filter(|message| message.since <= version) {
            found.insert(format!("{}.{}", interface.name, message.name), 0);
        }
        let messages = interface.requests.iter().chain(interface.events);
        let created = messages.filter(|message| message.since <= version);
        left.extend(created.filter_map(|message| Some((message.child_interface?, version))));
    }
    found
}
