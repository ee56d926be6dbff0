//! Cables, as the kernel itself tells of them: tens of milliseconds before udev has gone through its rules for the event, none of
//! which changes a Gpu that is open.

use std::io;

use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction};
use tracing::debug;
use udev::{Event, EventType, MonitorBuilder};

use crate::compositor::State;

/// Listens to the kernel's own uevents (netlink(7), NETLINK_KOBJECT_UEVENT).
///
/// # Errors
/// Where the kernel does not let this user listen; udev tells of the same events, later.
pub fn listen(handle: &LoopHandle<'static, State>) -> io::Result<()> {
    let monitor = MonitorBuilder::new_kernel()?.match_subsystem("drm")?.listen()?;
    let source = Generic::new(monitor, Interest::READ, Mode::Level);
    let inserted = handle.insert_source(source, |_, monitor, state| {
        let mut changed: Vec<u64> = monitor.iter().filter_map(|event| hotplug(&event)).collect();
        for gpu in &changed {
            state.note_kernel_uevent(*gpu);
        }
        // Several cables at once are one change of the Gpu.
        changed.sort_unstable();
        changed.dedup();
        for gpu in changed {
            state.gpu_changed(gpu);
        }
        Ok(PostAction::Continue)
    });
    inserted.map(drop).map_err(|error| io::Error::other(error.error.to_string()))
}

/// The Gpu whose connectors changed, or whose lease ended (drm_sysfs_hotplug_event() and drm_sysfs_lease_event() in the kernel's
/// drivers/gpu/drm/drm_sysfs.c).
fn hotplug(event: &Event) -> Option<u64> {
    let is = |name: &str| event.property_value(name).is_some_and(|value| value == "1");
    let says = event.event_type() == EventType::Change && (is("HOTPLUG") || is("LEASE"));
    debug!(device = ?event.devnode(), says, "uevent of the kernel");
    event.devnum().filter(|_| says)
}
