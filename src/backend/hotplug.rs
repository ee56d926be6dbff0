//! Hotplug events as the kernel sends them: tens of milliseconds before udev has run its rules for
//! them, none of which changes a GPU that is open.

use std::io;

use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction};
use tracing::debug;
use udev::{EventType, MonitorBuilder};

/// Listens to the kernel's uevents (netlink(7), NETLINK_KOBJECT_UEVENT). `on_uevents` gets the
/// device numbers of GPUs with a hotplug event, one per event.
///
/// # Errors
///
/// If the kernel does not allow this user to listen. udev reports the same events, later.
pub fn listen<D: 'static>(
    handle: &LoopHandle<'static, D>,
    on_uevents: impl Fn(&mut D, Vec<u64>) + 'static,
) -> io::Result<()> {
    let monitor = MonitorBuilder::new_kernel()?.match_subsystem("drm")?.listen()?;
    let source = Generic::new(monitor, Interest::READ, Mode::Level);
    let inserted = handle.insert_source(source, move |_, monitor, data| {
        let gpus: Vec<u64> = monitor.iter().filter_map(|event| hotplug(&event)).collect();
        if !gpus.is_empty() {
            on_uevents(data, gpus);
        }
        Ok(PostAction::Continue)
    });
    inserted.map(drop).map_err(|error| io::Error::other(error.error.to_string()))
}

/// Returns the GPU whose connectors changed, or whose lease ended (drm_sysfs_hotplug_event() and
/// drm_sysfs_lease_event() in the kernel's drivers/gpu/drm/drm_sysfs.c).
fn hotplug(event: &udev::Event) -> Option<u64> {
    let is_set = |name: &str| event.property_value(name).is_some_and(|value| value == "1");
    let is_hotplug = event.event_type() == EventType::Change && (is_set("HOTPLUG") || is_set("LEASE"));
    debug!(device = ?event.devnode(), is_hotplug, "kernel uevent");
    event.devnum().filter(|_| is_hotplug)
}
