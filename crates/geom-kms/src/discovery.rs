//! Which DRM devices there are, and which of them is the primary one.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, Dev};

/// What the order of devices depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The device number (`st_rdev`).
    pub id: Dev,
    /// The path of the device node.
    pub path: PathBuf,
    /// Whether the firmware used the device for its own output.
    pub is_boot_vga: bool,
    /// Number of connected monitors; 0 until the device was opened and probed.
    pub monitors: usize,
    /// Whether it is the firmware's framebuffer, which a driver such as simpledrm owns until the
    /// hardware's driver loads.
    pub is_firmware: bool,
    /// The directory of the device in sysfs; empty if it is not known.
    pub device: PathBuf,
    /// The directory of the PCI device that shows the firmware's framebuffer. Kernels before 6.9,
    /// and those without PCI, do not tell it (sysfb_parent_dev() in drivers/firmware/sysfb.c).
    pub shown_by: Option<PathBuf>,
}

/// Parts of the modalias of the firmware's framebuffers (drivers/firmware/sysfb.c; of-display is
/// Open Firmware's).
const FIRMWARE_MODALIASES: [&str; 4] =
    ["simple-framebuffer", "efi-framebuffer", "vesa-framebuffer", "of-display"];

fn sysfs(id: Dev) -> PathBuf {
    PathBuf::from(format!("/sys/dev/char/{}:{}/device", major(id), minor(id)))
}

impl Candidate {
    /// Reads from sysfs what is known of a device that is not open.
    pub fn read(id: Dev, path: &Path) -> Self {
        let device = sysfs(id);
        let is_boot_vga = fs::read_to_string(device.join("boot_vga")).is_ok_and(|text| text.trim() == "1");
        let is_firmware = is_firmware(&device);
        let device = fs::canonicalize(device).unwrap_or_default();
        let parent = device.parent().filter(|parent| bus(parent).is_some_and(|bus| bus == "pci"));
        let shown_by = parent.filter(|_| is_firmware).map(Path::to_owned);
        Self { id, path: path.to_owned(), is_boot_vga, monitors: 0, is_firmware, device, shown_by }
    }

    /// Returns whether this is the firmware's framebuffer, and the other device the driver of the
    /// hardware that shows it. Without knowledge of the hardware, any driver is taken for it.
    pub fn is_replaced_by(&self, other: &Self) -> bool {
        self.is_firmware && other.drives(self.shown_by.as_deref())
    }

    /// Returns whether this is the driver of this hardware, given its directory in sysfs, or
    /// (`None`) may be, as any driver may.
    pub fn drives(&self, hardware: Option<&Path>) -> bool {
        !self.is_firmware && hardware.is_none_or(|hardware| self.device.starts_with(hardware))
    }
}

/// Returns whether a device, given its directory in sysfs, is the firmware's framebuffer.
fn is_firmware(device: &Path) -> bool {
    let modalias = fs::read_to_string(device.join("modalias")).unwrap_or_default();
    FIRMWARE_MODALIASES.iter().any(|part| modalias.contains(part))
}

/// Returns whether a driver has a GPU: there is a card, and not only the firmware's framebuffer.
pub fn has_driver() -> bool {
    let Ok(entries) = fs::read_dir("/sys/class/drm") else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("card")).unwrap_or("-");
        number.bytes().all(|byte| byte.is_ascii_digit()) && !is_firmware(&entry.path().join("device"))
    })
}

/// Returns the bus of a device, given its directory in sysfs.
fn bus(device: &Path) -> Option<String> {
    let bus = fs::canonicalize(device.join("subsystem")).ok()?;
    Some(bus.file_name()?.to_string_lossy().into_owned())
}

/// Returns the bus of a device and its address there, as `pci-0000:00:02.0` (sysfs(5)).
///
/// Other than the number of the device node, it is the same after every boot.
pub fn bus_path(id: Dev) -> String {
    let device = fs::canonicalize(sysfs(id)).unwrap_or_default();
    let address = device.file_name().map(|name| name.to_string_lossy().into_owned());
    match (bus(&device), address) {
        (Some(bus), Some(address)) => format!("{bus}-{address}"),
        (None, Some(address)) => address,
        // Without sysfs, nothing better is known.
        _ => format!("{}:{}", major(id), minor(id)),
    }
}

/// Returns the number of a device's own render node. On SoCs the GPU is another device, and
/// there is none.
pub fn render_node(id: Dev) -> Option<Dev> {
    let nodes = fs::read_dir(sysfs(id).join("drm")).ok()?;
    nodes.flatten().find_map(|node| {
        node.file_name().to_str().filter(|name| name.starts_with("renderD"))?;
        let number = fs::read_to_string(node.path().join("dev")).ok()?;
        let (major, minor) = number.trim().split_once(':')?;
        Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
    })
}

/// Sorts devices, the primary one first: by `boot_vga`, then by the number of monitors, then by
/// name (`card2` before `card10`). The firmware's framebuffers come last.
pub fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by_cached_key(order);
}

/// Returns the key by which [`sort`] sorts.
pub fn order(candidate: &Candidate) -> impl Ord {
    let name = candidate.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let monitors = std::cmp::Reverse(candidate.monitors);
    (candidate.is_firmware, !candidate.is_boot_vga, monitors, name.len(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(path: &str, is_boot_vga: bool, monitors: usize, is_firmware: bool) -> Candidate {
        let (device, shown_by) = (PathBuf::new(), None);
        Candidate { id: 0, path: path.into(), is_boot_vga, monitors, is_firmware, device, shown_by }
    }

    #[test]
    fn driver_replaces_the_framebuffer_of_its_own_hardware() {
        let pci = "/sys/devices/pci0000:00/0000:00:10.0";
        let firmware = |shown_by: Option<&str>| Candidate {
            device: format!("{pci}/simple-framebuffer.0").into(),
            shown_by: shown_by.map(PathBuf::from),
            ..candidate("/dev/dri/card0", false, 1, true)
        };
        let driver = |device: &str| Candidate {
            device: device.into(),
            ..candidate("/dev/dri/card1", false, 1, false)
        };
        // A virtio device is below the PCI device.
        let own = [driver(pci), driver(&format!("{pci}/virtio5"))];
        let others = [driver("/sys/devices/pci0000:00/0000:00:11.0"), driver("/sys/devices/platform/evdi.0")];
        assert!(own.iter().all(|own| firmware(Some(pci)).is_replaced_by(own)));
        assert!(!others.iter().any(|other| firmware(Some(pci)).is_replaced_by(other)));
        assert!(others.iter().all(|other| firmware(None).is_replaced_by(other)), "unknown hardware");
        assert!(!firmware(None).is_replaced_by(&firmware(None)));
        assert!(!own[0].is_replaced_by(&own[1]));
    }

    #[test]
    fn primary_device_is_first() {
        let mut all = [
            candidate("/dev/dri/card10", false, 1, false),
            candidate("/dev/dri/card0", false, 9, true),
            candidate("/dev/dri/card2", false, 1, false),
            candidate("/dev/dri/card3", false, 2, false),
            candidate("/dev/dri/card4", true, 0, false),
        ];
        sort(&mut all);
        let order: Vec<_> = all.iter().filter_map(|candidate| candidate.path.file_name()?.to_str()).collect();
        assert_eq!(order, ["card4", "card3", "card2", "card10", "card0"]);
    }
}
