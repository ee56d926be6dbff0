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
        let modalias = fs::read_to_string(device.join("modalias")).unwrap_or_default();
        let is_firmware = FIRMWARE_MODALIASES.iter().any(|part| modalias.contains(part));
        Self { id, path: path.to_owned(), is_boot_vga, monitors: 0, is_firmware }
    }
}

/// Returns the bus of a device and its address there, as `pci-0000:00:02.0` (sysfs(5)).
///
/// Other than the number of the device node, it is the same after every boot.
pub fn bus_path(id: Dev) -> String {
    let device = sysfs(id);
    let last = |path: PathBuf| {
        let target = fs::canonicalize(path).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    };
    match (last(device.join("subsystem")), last(device)) {
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
        Candidate { id: 0, path: path.into(), is_boot_vga, monitors, is_firmware }
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
