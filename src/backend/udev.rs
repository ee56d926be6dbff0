//! The seat's DRM devices as udev knows them: primary nodes (`card0`) of this seat only.
//!
//! Render nodes, connectors and devices of other seats are reported by udev as well. They are left
//! out, so that nothing asks the seat for them.

use std::io;
use std::path::{Path, PathBuf};

use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction};
use tracing::debug;
use udev::{Device, Enumerator, EventType, MonitorBuilder};

use super::kms::Event;

/// A file that exists while udev handles events, such as those whose rules load drivers
/// (udev_queue_get_queue_is_empty() in libudev).
pub const QUEUE: &str = "/run/udev/queue";

/// Returns whether udev still handles events.
pub fn is_settling() -> bool {
    Path::new(QUEUE).exists()
}

/// The seat of devices without a property `ID_SEAT` (sd-login(3)).
const DEFAULT_SEAT: &str = "seat0";

/// Returns whether a device is a primary node, by its kernel name: `card0`, but neither
/// `renderD128` nor the connector `card0-DP-1`.
fn is_primary_node(name: &str) -> bool {
    name.strip_prefix("card")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns whether a device with this kernel name and property `ID_SEAT` is a GPU of a seat.
fn is_gpu_of(seat: &str, name: &str, device_seat: Option<&str>) -> bool {
    is_primary_node(name) && device_seat.unwrap_or(DEFAULT_SEAT) == seat
}

/// Returns a GPU's device number and path if it belongs to a seat.
fn gpu_of(seat: &str, device: &Device) -> Option<(u64, PathBuf)> {
    let device_seat = device.property_value("ID_SEAT").and_then(|value| value.to_str());
    let is_own = is_gpu_of(seat, device.sysname().to_str()?, device_seat);
    Some((device.devnum()?, device.devnode()?.to_owned())).filter(|_| is_own)
}

/// Returns the device numbers and paths of a seat's GPUs.
///
/// # Errors
///
/// If udev cannot be asked.
pub fn gpus(seat: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut enumerator = Enumerator::new()?;
    enumerator.match_subsystem("drm")?;
    let devices = enumerator.scan_devices()?;
    Ok(devices.filter_map(|device| gpu_of(seat, &device)).collect())
}

/// Reports the GPUs of a seat as they come, change and go.
///
/// # Errors
///
/// If udev cannot be listened to.
pub fn listen<D: 'static>(
    handle: &LoopHandle<'static, D>,
    seat: String,
    on_event: impl Fn(&mut D, Event) + 'static,
) -> io::Result<()> {
    let monitor = MonitorBuilder::new()?.match_subsystem("drm")?.listen()?;
    let source = Generic::new(monitor, Interest::READ, Mode::Level);
    let inserted = handle.insert_source(source, move |_, monitor, data| {
        let events: Vec<Event> = monitor.iter().filter_map(|event| read(&seat, &event)).collect();
        for event in events {
            on_event(data, event);
        }
        Ok(PostAction::Continue)
    });
    inserted.map(drop).map_err(|error| io::Error::other(error.error.to_string()))
}

fn read(seat: &str, event: &udev::Event) -> Option<Event> {
    let kind = event.event_type();
    debug!(device = ?event.devnode(), ?kind, "udev event");
    match kind {
        EventType::Add => gpu_of(seat, event).map(|(id, path)| Event::GpuAdded { id, path }),
        // Of a device that is not in use, nothing follows.
        EventType::Change => event.devnum().map(|id| Event::GpuChanged { id }),
        EventType::Remove => event.devnum().map(|id| Event::GpuRemoved { id }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_primary_nodes_of_the_own_seat_are_gpus() {
        let gpus = |seat: &str| -> Vec<&str> {
            let devices = [
                ("card0", None),
                ("card1", Some("seat0")),
                ("card10", Some("seat-wall")),
                ("renderD128", None),
                ("controlD64", None),
                ("card0-DP-1", None),
                ("card", None),
            ];
            let own = devices.into_iter().filter(|(name, device_seat)| is_gpu_of(seat, name, *device_seat));
            own.map(|(name, _)| name).collect()
        };
        assert_eq!(gpus("seat0"), ["card0", "card1"]);
        assert_eq!(gpus("seat-wall"), ["card10"]);
    }
}
