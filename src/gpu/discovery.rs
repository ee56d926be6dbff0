//! Which DRM devices there are, and which of them is the primary one.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, Dev};

/// What decides about the order of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: Dev,
    pub path: PathBuf,
    /// The firmware's own choice for the boot output.
    pub boot_vga: bool,
    /// Monitors plugged in; 0 until the device was opened and probed.
    pub connected: usize,
    /// simpledrm and its kin, which own the firmware's framebuffer until the real driver comes.
    pub firmware: bool,
}

const FIRMWARE_DRIVERS: [&str; 4] =
    ["simple-framebuffer", "efi-framebuffer", "vesa-framebuffer", "of-display"];

impl Candidate {
    pub fn read(id: Dev, path: &Path) -> Self {
        let device = PathBuf::from(format!("/sys/dev/char/{}:{}", major(id), minor(id)));
        let boot_vga =
            fs::read_to_string(device.join("device/boot_vga")).is_ok_and(|text| text.trim() == "1");
        let modalias = fs::read_to_string(device.join("device/modalias")).unwrap_or_default();
        let firmware = FIRMWARE_DRIVERS.iter().any(|driver| modalias.contains(driver));
        Self { id, path: path.to_owned(), boot_vga, connected: 0, firmware }
    }
}

/// Where a device sits: its bus, and its place there (sysfs(5)).
pub fn place(id: Dev) -> String {
    let device = PathBuf::from(format!("/sys/dev/char/{}:{}/device", major(id), minor(id)));
    let last = |path: PathBuf| {
        let target = fs::canonicalize(path).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    };
    match (last(device.join("subsystem")), last(device)) {
        (Some(bus), Some(name)) => format!("{bus}-{name}"),
        (None, Some(name)) => name,
        // No sysfs: nothing better is known.
        _ => format!("{}:{}", major(id), minor(id)),
    }
}

/// Sorts devices so that the primary one is first: by boot_vga, then by connected monitors, then
/// by name (`card2` before `card10`). Firmware framebuffers come last.
pub fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|candidate| {
        let name =
            candidate.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        (candidate.firmware, !candidate.boot_vga, std::cmp::Reverse(candidate.connected), name.len(), name)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(path: &str, boot_vga: bool, connected: usize, firmware: bool) -> Candidate {
        Candidate { id: 0, path: path.into(), boot_vga, connected, firmware }
    }

    #[test]
    fn the_primary_is_first() {
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
