//! linux-drm-syncobj: how many timelines there are, each with a descriptor, and how many objects
//! for surfaces, each of which adds work to the surface's commits.

use smithay::reexports::wayland_protocols::wp::linux_drm_syncobj::v1::server::wp_linux_drm_syncobj_manager_v1::{
    self, WpLinuxDrmSyncobjManagerV1,
};
use smithay::reexports::wayland_protocols::wp::linux_drm_syncobj::v1::server::wp_linux_drm_syncobj_surface_v1::WpLinuxDrmSyncobjSurfaceV1;
use smithay::reexports::wayland_protocols::wp::linux_drm_syncobj::v1::server::wp_linux_drm_syncobj_timeline_v1::WpLinuxDrmSyncobjTimelineV1;
use smithay::reexports::wayland_server::{delegate_global_dispatch, Client};
use smithay::wayland::drm_syncobj::{
    DrmSyncobjGlobalData, DrmSyncobjState, DrmSyncobjSurfaceData, DrmSyncobjTimelineData,
};

use super::{guard, Checked};
use crate::clients::objects::Counted;
use crate::compositor::State;

fn count_import(
    state: &mut State,
    _: &Client,
    _: &WpLinuxDrmSyncobjManagerV1,
    request: &wp_linux_drm_syncobj_manager_v1::Request,
    (): &(),
) -> Checked {
    if matches!(request, wp_linux_drm_syncobj_manager_v1::Request::ImportTimeline { .. }) {
        state.count_timeline();
    }
    Ok(())
}

guard!(
    WpLinuxDrmSyncobjManagerV1, () => DrmSyncobjState,
    check count_import,
    creates wp_linux_drm_syncobj_manager_v1::Request::ImportTimeline => Counted::Buffer,
    wp_linux_drm_syncobj_manager_v1::Request::GetSurface => Counted::Surface
);
guard!(WpLinuxDrmSyncobjTimelineV1, DrmSyncobjTimelineData => DrmSyncobjState; counted Counted::Buffer);
guard!(WpLinuxDrmSyncobjSurfaceV1, DrmSyncobjSurfaceData => DrmSyncobjState; counted Counted::Surface);
delegate_global_dispatch!(State: [WpLinuxDrmSyncobjManagerV1: DrmSyncobjGlobalData] => DrmSyncobjState);
