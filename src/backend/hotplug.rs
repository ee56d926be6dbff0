//! Hotplug events as the kernel sends them: tens of milliseconds before udev has run its rules for
//! them, none of which changes a GPU that is open.

use std::io;

use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction};
use tracing::debug;
use udev::{EventType, MonitorBuilder};

/// A hotplug event of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hotplug {
    /// The GPU's device number.
    pub gpu: u64,
    pub what: Change,
}

/// What may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Any connector, or a lease ended.
    Any,
    /// The monitor of the connector with this id.
    Connector(u32),
    /// The value of a connector's property, as of content protection: the monitor is the same.
    Property,
}

/// Listens to the kernel's uevents (netlink(7), NETLINK_KOBJECT_UEVENT). `on_uevents` gets those
/// that are about hotplug.
///
/// # Errors
///
/// If the kernel does not allow this user to listen. udev reports the same events, later.
pub fn listen<D: 'static>(
    handle: &LoopHandle<'static, D>,
    on_uevents: impl Fn(&mut D, Vec<Hotplug>) + 'static,
) -> io::Result<()> {
    let monitor = MonitorBuilder::new_kernel()?.match_subsystem("drm")?.listen()?;
    let source = Generic::new(monitor, Interest::READ, Mode::Level);
    let inserted = handle.insert_source(source, move |_, monitor, data| {
        let events: Vec<Hotplug> = monitor.iter().filter_map(|event| hotplug(&event)).collect();
        if !events.is_empty() {
            on_uevents(data, events);
        }
        Ok(PostAction::Continue)
    });
    inserted.map(drop).map_err(|error| io::Error::other(error.error.to_string()))
}

/// Returns the hotplug event that an event of a device is.
fn hotplug(event: &udev::Event) -> Option<Hotplug> {
    let change = match event.event_type() {
        EventType::Change => change(|name| event.property_value(name)?.to_str()),
        _ => None,
    };
    debug!(device = ?event.devnode(), ?change, "kernel uevent");
    Some(Hotplug { gpu: event.devnum()?, what: change? })
}

/// Returns what an event with these properties is about (drm_sysfs_hotplug_event(),
/// drm_sysfs_connector_hotplug_event(), drm_sysfs_connector_property_event() and
/// drm_sysfs_lease_event() in the kernel's drivers/gpu/drm/drm_sysfs.c). `None` if it is about
/// something else.
fn change<'a>(property: impl Fn(&str) -> Option<&'a str>) -> Option<Change> {
    let is_set = |name: &str| property(name) == Some("1");
    if is_set("LEASE") {
        return Some(Change::Any);
    }
    if !is_set("HOTPLUG") {
        return None;
    }
    let connector = property("CONNECTOR").and_then(|id| id.parse().ok());
    Some(match (connector, property("PROPERTY")) {
        (Some(_), Some(_)) => Change::Property,
        (Some(id), None) => Change::Connector(id),
        (None, _) => Change::Any,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(properties: &[(&str, &'static str)]) -> Option<Change> {
        change(|name| properties.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
    }

    #[test]
    fn events_name_what_may_have_changed() {
        assert_eq!(of(&[("HOTPLUG", "1")]), Some(Change::Any));
        assert_eq!(of(&[("LEASE", "1")]), Some(Change::Any));
        assert_eq!(of(&[("HOTPLUG", "1"), ("CONNECTOR", "57")]), Some(Change::Connector(57)));
        let property = [("HOTPLUG", "1"), ("CONNECTOR", "57"), ("PROPERTY", "12")];
        assert_eq!(of(&property), Some(Change::Property));
        assert_eq!(of(&[("HOTPLUG", "1"), ("CONNECTOR", "x")]), Some(Change::Any));
        assert_eq!(of(&[("CONNECTOR", "57")]), None);
    }
}
