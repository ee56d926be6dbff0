//! A QEMU machine with the service on it.

use anyhow::{ensure, Context, Result};
use geom_ipc::{Display, DisplayState};
use geom_lab::protocol::GpuNames;
use geom_lab::qemu::{boot, Device, Hardware, QemuOptions, Suite};
use geom_lab::{Machine, Screenshot};

use crate::support::client::TestClient;
use crate::support::harness::{install_program, save_wrong, Service, Setup};
use crate::support::{COMPOSITOR, TEST_CLIENT};

/// A booted machine before the service starts.
pub struct Rig {
    // Dropped first: QEMU's window must not lose its X server while the guest runs.
    pub setup: Setup,
    pub hardware: Hardware,
}

impl Rig {
    /// Boots without any GPU driver, with a seat daemon.
    pub fn without_drivers(suite: Suite, devices: &[Device]) -> Result<Self> {
        let (machine, hardware) = boot(&QemuOptions::new(suite, devices))?;
        install_program(&machine, "geom_compositor", COMPOSITOR)?;
        install_program(&machine, "geom-lab-client", TEST_CLIENT)?;
        let setup = Setup { machine, gpus: Vec::new() };
        setup.start_seat_daemon("nobody")?;
        Ok(Self { setup, hardware })
    }

    /// Boots and loads the drivers of all GPUs in their order.
    pub fn new(suite: Suite, devices: &[Device]) -> Result<Self> {
        let mut rig = Self::without_drivers(suite, devices)?;
        for device in 0..devices.len() {
            let names = rig.hardware.load_driver(&rig.setup.machine, device)?;
            rig.setup.gpus.push(names);
        }
        // udev has the GPUs before the service starts, as after a boot.
        rig.setup.machine.run_as_root("settle", &["udevadm", "settle"])?;
        Ok(rig)
    }

    /// Starts the service and waits until it has enabled a display.
    pub fn start(self) -> Result<RunningRig> {
        Ok(RunningRig { service: self.setup.start("", &["--guard=never"])?, hardware: self.hardware })
    }

    /// Starts the service and waits until it answers, with or without displays.
    pub fn start_idle(self) -> Result<RunningRig> {
        Ok(RunningRig {
            service: self.setup.start_idle("", &["--guard=never"], &[])?,
            hardware: self.hardware,
        })
    }
}

/// The running service on a QEMU machine.
pub struct RunningRig {
    // Dropped first, as in `Rig`.
    pub service: Service,
    pub hardware: Hardware,
}

impl RunningRig {
    /// Boots, loads all drivers, and starts the service.
    pub fn new(suite: Suite, devices: &[Device]) -> Result<Self> {
        Rig::new(suite, devices)?.start()
    }

    pub fn machine(&self) -> &Machine {
        &self.service.machine
    }

    /// The kernel's names of a GPU; they may change when it is removed and found again.
    pub fn names(&self, device: usize) -> Result<GpuNames> {
        self.hardware.names(self.machine(), device)
    }

    /// The name of a head's connector, which is the display's.
    pub fn connector(&self, device: usize, head: usize) -> Result<String> {
        let names = self.names(device)?;
        let found = names.connectors.get(head).cloned();
        found.with_context(|| format!("GPU {device} has no head {head}: {names:?}"))
    }

    /// What a head's monitor gets; the service's own screenshot if QEMU has none.
    pub fn screenshot(&self, device: usize, head: usize) -> Result<Screenshot> {
        match self.hardware.device(device)?.has_gl() {
            true => self.service.screenshot(&self.connector(device, head)?),
            false => self.hardware.screenshot(device, head),
        }
    }

    /// Waits until what a head's monitor gets is as expected. The last wrong screenshot is saved.
    pub fn wait_for_pixels(
        &self,
        device: usize,
        head: usize,
        what: &str,
        expected: impl Fn(&Screenshot) -> bool,
    ) -> Result<()> {
        let mut found = None;
        let waited = self.machine().wait_until(&format!("GPU {device}, head {head}: {what}"), |_| {
            let screenshot = self.screenshot(device, head)?;
            let good = expected(&screenshot);
            found = Some(screenshot);
            Ok(good)
        });
        if let (Err(_), Some(screenshot)) = (&waited, &found) {
            save_wrong(screenshot, &format!("gpu{device}-{head}"))?;
        }
        waited
    }

    /// Waits until a head's monitor gets one color nearly everywhere.
    pub fn wait_for_color(&self, device: usize, head: usize, color: [u8; 3]) -> Result<()> {
        self.wait_for_pixels(device, head, &format!("the color {color:02x?}"), |screenshot| {
            screenshot.fraction(|pixel| pixel == color) > 0.97
        })
    }

    /// Shows a fullscreen client of a color on a head, and waits until its monitor gets it.
    pub fn show(&self, device: usize, head: usize, color: [u8; 3]) -> Result<TestClient<'_>> {
        let connector = self.connector(device, head)?;
        let [red, green, blue] = color;
        let hex = format!("{red:02x}{green:02x}{blue:02x}");
        let client = self
            .service
            .client(&format!("client-{connector}-{hex}"), &["--fullscreen", &connector, "--color", &hex])?;
        self.wait_for_color(device, head, color)?;
        Ok(client)
    }

    /// The answer of `displays` about a head: enabled, with the size that its monitor gets, on the
    /// port of its GPU. `status` names the GPU's driver.
    pub fn ensure_driven(&self, device: usize, head: usize) -> Result<Display> {
        let names = self.names(device)?;
        let connector = self.connector(device, head)?;
        let display = self.service.display(&connector)?;
        ensure!(display.state == DisplayState::Enabled, "{display:#?}");
        let screenshot = self.screenshot(device, head)?;
        let mode = display.mode.with_context(|| format!("{connector} has no mode"))?;
        let size = (i64::from(mode.width), i64::from(mode.height));
        let shown = (i64::from(screenshot.width), i64::from(screenshot.height));
        ensure!(size == shown, "{connector} has the mode {size:?}, and its monitor gets {shown:?}");
        let path = format!("/dev/dri/{}", names.card);
        let gpus = self.service.status()?.gpus;
        let gpu =
            gpus.iter().find(|gpu| gpu.path == path).with_context(|| format!("no {path}: {gpus:#?}"))?;
        let driver = self.hardware.device(device)?.driver();
        ensure!(gpu.driver == driver && gpu.atomic, "the driver is not {driver}: {gpu:#?}");
        Ok(display)
    }
}
