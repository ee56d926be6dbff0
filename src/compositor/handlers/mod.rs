//! Handlers of Wayland protocols, one file each.

mod buffer_waits;
mod color_management;
mod color_representation;
mod compositor;
mod cursor_shape;
mod data_device;
mod decoration;
mod dmabuf;
mod drm_lease;
mod drm_syncobj;
mod fractional_scale;
mod gamma_control;
pub mod idle;
mod image_description;
mod layer_shell;
pub mod output;
mod output_management;
pub mod output_power;
mod presentation;
mod primary_selection;
mod seat;
mod security_context;
mod shm;
mod single_pixel_buffer;
pub mod tablet;
mod viewporter;
mod xdg_shell;

use smithay::reexports::wayland_protocols::ext::idle_notify::v1::server::ext_idle_notifier_v1::ExtIdleNotifierV1;
use smithay::reexports::wayland_protocols::wp::color_representation::v1::server::wp_color_representation_manager_v1::WpColorRepresentationManagerV1;
use smithay::reexports::wayland_protocols::wp::idle_inhibit::zv1::server::zwp_idle_inhibit_manager_v1::ZwpIdleInhibitManagerV1;
use smithay::reexports::wayland_protocols::wp::security_context::v1::server::wp_security_context_manager_v1::WpSecurityContextManagerV1;
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_manager_v2::ZwpTabletManagerV2;
use smithay::reexports::wayland_protocols_wlr::gamma_control::v1::server::zwlr_gamma_control_manager_v1::ZwlrGammaControlManagerV1;
use smithay::reexports::wayland_protocols_wlr::output_management::v1::server::zwlr_output_manager_v1::ZwlrOutputManagerV1;
use smithay::reexports::wayland_protocols_wlr::output_power_management::v1::server::zwlr_output_power_manager_v1::ZwlrOutputPowerManagerV1;
use smithay::reexports::wayland_server::DisplayHandle;
use smithay::wayland::compositor::CompositorState;
use smithay::wayland::cursor_shape::CursorShapeManagerState;
use smithay::wayland::dmabuf::DmabufState;
use smithay::wayland::fractional_scale::FractionalScaleManagerState;
use smithay::wayland::output::OutputManagerState;
use smithay::wayland::pointer_gestures::PointerGesturesState;
use smithay::wayland::presentation::PresentationState;
use smithay::wayland::selection::data_device::DataDeviceState;
use smithay::wayland::selection::primary_selection::PrimarySelectionState;
use smithay::wayland::shell::wlr_layer::WlrLayerShellState;
use smithay::wayland::shell::xdg::decoration::XdgDecorationState;
use smithay::wayland::shell::xdg::XdgShellState;
use smithay::wayland::shm::ShmState;
use smithay::wayland::single_pixel_buffer::SinglePixelBufferState;
use smithay::wayland::viewporter::ViewporterState;

pub use self::image_description::send_information as send_image_description;
use self::security_context::is_trusted;
use crate::clients::sandbox_socket::SandboxSockets;
use crate::compositor::guards::selection::EndedDevices;
use crate::compositor::State;

/// The state of all protocols.
pub struct Protocols {
    pub compositor: CompositorState,
    pub shm: ShmState,
    pub dmabuf: DmabufState,
    pub dmabuf_globals: dmabuf::DmabufGlobals,
    pub syncobj: drm_syncobj::SyncobjGlobal,
    pub buffer_waits: buffer_waits::BufferWaits,
    pub xdg_shell: XdgShellState,
    pub layer_shell: WlrLayerShellState,
    pub data_device: DataDeviceState,
    pub primary_selection: PrimarySelectionState,
    pub ended_devices: EndedDevices,
    _output: OutputManagerState,
    pub disabled_globals: output::DisabledGlobals,
    pub gamma: gamma_control::Controls,
    pub power: output_power::Controls,
    pub idle: idle::IdleProtocols,
    pub color: color_management::ColorManagement,
    pub drm_lease: drm_lease::DrmLease,
    pub output_management: output_management::OutputManagement,
    _decoration: XdgDecorationState,
    _viewporter: ViewporterState,
    _fractional_scale: FractionalScaleManagerState,
    _presentation: PresentationState,
    _cursor_shape: CursorShapeManagerState,
    pub tablet: tablet::TabletObjects,
    pub sandbox_sockets: SandboxSockets,
    _pointer_gestures: PointerGesturesState,
    _single_pixel: SinglePixelBufferState,
}

/// The clock of presentation times and page flips: CLOCK_MONOTONIC (clock_gettime(2)).
const MONOTONIC: u32 = 1;

impl Protocols {
    pub fn new(display: &DisplayHandle) -> Self {
        display.create_global::<State, WpColorRepresentationManagerV1, _>(1, color_representation::Global);
        display.create_global::<State, ZwlrGammaControlManagerV1, _>(1, gamma_control::Global);
        display.create_global::<State, WpSecurityContextManagerV1, _>(1, security_context::Global);
        display.create_global::<State, ZwlrOutputPowerManagerV1, _>(1, output_power::Global);
        display.create_global::<State, ExtIdleNotifierV1, _>(idle::NOTIFIER_VERSION, idle::Global);
        display.create_global::<State, ZwpIdleInhibitManagerV1, _>(1, idle::Global);
        display.create_global::<State, ZwpTabletManagerV2, _>(tablet::VERSION, tablet::Global);
        let version = output_management::VERSION;
        display.create_global::<State, ZwlrOutputManagerV1, _>(version, output_management::Global);
        Self {
            compositor: CompositorState::new_v6::<State>(display),
            shm: ShmState::new::<State>(display, shm::FORMATS),
            dmabuf: DmabufState::new(),
            dmabuf_globals: dmabuf::DmabufGlobals::default(),
            syncobj: drm_syncobj::SyncobjGlobal::default(),
            buffer_waits: buffer_waits::BufferWaits::default(),
            xdg_shell: XdgShellState::new::<State>(display),
            layer_shell: WlrLayerShellState::new_with_filter::<State, _>(display, is_trusted),
            data_device: DataDeviceState::new::<State>(display),
            primary_selection: PrimarySelectionState::new::<State>(display),
            ended_devices: EndedDevices::default(),
            _output: OutputManagerState::new_with_xdg_output::<State>(display),
            disabled_globals: output::DisabledGlobals::default(),
            gamma: gamma_control::Controls::default(),
            power: output_power::Controls::default(),
            idle: idle::IdleProtocols::default(),
            color: color_management::ColorManagement::default(),
            drm_lease: drm_lease::DrmLease::default(),
            output_management: output_management::OutputManagement::default(),
            _decoration: XdgDecorationState::new::<State>(display),
            _viewporter: ViewporterState::new::<State>(display),
            _fractional_scale: FractionalScaleManagerState::new::<State>(display),
            _presentation: PresentationState::new::<State>(display, MONOTONIC),
            _cursor_shape: CursorShapeManagerState::new::<State>(display),
            tablet: tablet::TabletObjects::default(),
            sandbox_sockets: SandboxSockets::default(),
            _pointer_gestures: PointerGesturesState::new::<State>(display),
            _single_pixel: SinglePixelBufferState::new::<State>(display),
        }
    }
}
