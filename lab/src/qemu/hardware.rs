//! QEMU's side of a machine: drivers, monitors, and what they are sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use serde_json::json;

use super::monitor::HeadMonitor;
use super::qmp::Qmp;
use super::x_server::XServer;
use super::{device_id, head_socket, pci_address, Device};
use crate::protocol::{GpuNames, MODULES};
use crate::{Machine, Screenshot};

/// The platform device of the firmware's framebuffer (drivers/firmware/sysfb_simplefb.c).
const FRAMEBUFFER: &str = "/simple-framebuffer.";

/// The GPUs of a QEMU machine, each named by its index in
/// [`QemuOptions::devices`](super::QemuOptions::devices).
pub struct Hardware {
    devices: Vec<Device>,
    qmp: Qmp,
    /// By device and head.
    monitors: BTreeMap<(usize, usize), HeadMonitor>,
    screendump: PathBuf,
    /// Ends after QEMU's window: the machine is dropped before.
    _x_server: Option<XServer>,
}

impl Hardware {
    pub(super) fn new(
        devices: &[Device],
        qmp: Qmp,
        shared: &Path,
        x_server: Option<XServer>,
    ) -> Result<Self> {
        let mut monitors = BTreeMap::new();
        for (index, device) in devices.iter().enumerate() {
            for head in 0..device.pluggable_heads() {
                let monitor = HeadMonitor::connect(&head_socket(shared, index, head))?;
                if head == 0 {
                    // The device's default. QEMU ignores a size that is equal to the last one, and
                    // the last one is 0x0 at the start though this head is connected.
                    monitor.set_size(1280, 800)?;
                }
                monitors.insert((index, head), monitor);
            }
        }
        let screendump = shared.join("screendump.ppm");
        Ok(Self { devices: devices.to_vec(), qmp, monitors, screendump, _x_server: x_server })
    }

    /// Returns a GPU's kind.
    ///
    /// # Errors
    /// If there is no such GPU.
    pub fn device(&self, device: usize) -> Result<Device> {
        self.devices.get(device).copied().with_context(|| format!("the machine has no GPU {device}"))
    }

    /// Loads a GPU's driver, which also takes the other GPUs that it supports, and returns the
    /// kernel's names.
    ///
    /// # Errors
    /// If the suite has no such module or the driver does not take the GPU.
    pub fn load_driver(&self, machine: &Machine, device: usize) -> Result<GpuNames> {
        let module = self.device(device)?.module();
        machine.run_as_root("modprobe", &["modprobe", "-d", MODULES, module])?;
        self.names(machine, device)
    }

    /// Loads a module of the suite's kernel, such as `uinput`.
    ///
    /// # Errors
    /// If the suite has no such module (lab/qemu/prepare.sh lists them).
    pub fn load_module(&self, machine: &Machine, module: &str) -> Result<()> {
        machine.run_as_root("modprobe", &["modprobe", "-d", MODULES, module])
    }

    /// Returns the kernel's names of a GPU and of its connectors.
    ///
    /// # Errors
    /// If no driver has taken it; simpledrm takes the firmware's framebuffer, not the GPU.
    pub fn names(&self, machine: &Machine, device: usize) -> Result<GpuNames> {
        let kind = self.device(device)?;
        let parent = match kind {
            Device::Vgem => "vgem".to_owned(),
            _ => pci_address(device),
        };
        let is_own = |link: &str| link.split('/').any(|part| part == parent) && !link.contains(FRAMEBUFFER);
        names_of(machine, is_own)?.with_context(|| format!("no driver has taken {kind:?} at {parent}"))
    }

    /// Returns the kernel's names of the firmware's framebuffer and of its connector, if simpledrm
    /// drives it.
    ///
    /// # Errors
    /// If sysfs cannot be read.
    pub fn firmware_framebuffer(&self, machine: &Machine) -> Result<Option<GpuNames>> {
        names_of(machine, |link| link.contains(FRAMEBUFFER))
    }

    /// Connects a monitor to a head of a virtio-gpu, whose preferred mode has this size in pixels.
    ///
    /// # Errors
    /// If there is no such head.
    pub fn plug(&self, device: usize, head: usize, width: u16, height: u16) -> Result<()> {
        ensure!(width > 0 && height > 0, "a monitor of {width}x{height} is none");
        self.monitor(device, head)?.set_size(width, height)
    }

    /// Disconnects the monitor of a head of a virtio-gpu.
    ///
    /// # Errors
    /// If there is no such head.
    pub fn unplug(&self, device: usize, head: usize) -> Result<()> {
        self.monitor(device, head)?.set_size(0, 0)
    }

    fn monitor(&self, device: usize, head: usize) -> Result<&HeadMonitor> {
        let found = self.monitors.get(&(device, head));
        found.with_context(|| format!("GPU {device} has no head {head} whose monitor can be unplugged"))
    }

    /// Removes a GPU from the guest's PCI bus, as if it were unplugged. QEMU does not unplug GPUs
    /// (`hotpluggable = false`), so the kernel does.
    ///
    /// # Errors
    /// If it is not on the bus.
    pub fn remove(&self, machine: &Machine, device: usize) -> Result<()> {
        ensure!(self.device(device)? != Device::Vgem, "vgem is not on the PCI bus");
        machine.write(&format!("/sys/bus/pci/devices/{}/remove", pci_address(device)), "1")
    }

    /// Finds removed GPUs again; their drivers take them.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn rescan(&self, machine: &Machine) -> Result<()> {
        machine.write("/sys/bus/pci/rescan", "1")
    }

    /// Returns what a head's monitor gets from the GPU. A hardware cursor is not in it.
    ///
    /// # Errors
    /// For [`Device::Vgem`], and once the driver is loaded for devices [with GL](Device::has_gl).
    pub fn screenshot(&self, device: usize, head: usize) -> Result<Screenshot> {
        let file = self.screendump.display().to_string();
        let arguments = json!({ "filename": file, "device": device_id(device), "head": head });
        self.qmp.execute("screendump", arguments)?;
        let ppm = std::fs::read(&self.screendump).with_context(|| file.clone())?;
        parse_ppm(&ppm).with_context(|| file)
    }
}

/// Returns the names of the card whose path in sysfs is as wanted.
fn names_of(machine: &Machine, is_wanted: impl Fn(&str) -> bool) -> Result<Option<GpuNames>> {
    let entries = machine.read_dir("/sys/class/drm")?;
    for card in entries.iter().filter(|name| name.starts_with("card") && !name.contains('-')) {
        // It may be removed meanwhile.
        let Ok(link) = machine.read_link(&format!("/sys/class/drm/{card}")) else { continue };
        if is_wanted(&link) {
            let prefix = format!("{card}-");
            let connectors = entries.iter().filter_map(|name| name.strip_prefix(&prefix));
            let mut connectors: Vec<String> = connectors.map(str::to_owned).collect();
            connectors
                .sort_by_key(|name| name.rsplit('-').next().and_then(|number| number.parse::<u32>().ok()));
            return Ok(Some(GpuNames { card: card.clone(), connectors }));
        }
    }
    Ok(None)
}

/// Parses a binary PPM with 8 bits per channel, as QEMU writes it.
fn parse_ppm(bytes: &[u8]) -> Result<Screenshot> {
    let mut header = bytes.splitn(4, u8::is_ascii_whitespace);
    let mut word = || header.next().and_then(|word| std::str::from_utf8(word).ok()).context("no PPM");
    ensure!(word()? == "P6", "no binary PPM");
    let (width, height): (u32, u32) = (word()?.parse()?, word()?.parse()?);
    let rest = header.next().context("no PPM")?;
    let rgb = rest.strip_prefix(b"255\n").context("not 8 bits per channel")?;
    let rgba = rgb.chunks_exact(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 0xff]).collect();
    Screenshot::new(width, height, rgba)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ppm_of_qemu_is_read() -> Result<()> {
        let screenshot = parse_ppm(b"P6\n2 1\n255\n\xff\0\0\n  ")?;
        assert_eq!((screenshot.width, screenshot.height), (2, 1));
        assert_eq!(screenshot.pixel(0, 0), [0xff, 0, 0]);
        assert_eq!(screenshot.pixel(1, 0), *b"\n  ");
        assert!(parse_ppm(b"P6\n2 1\n255\n\xff").is_err());
        assert!(parse_ppm(b"P5\n2 1\n255\n").is_err());
        Ok(())
    }
}
