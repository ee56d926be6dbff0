//! What the kernel has committed: properties, CRTCs, color tables.

use std::collections::BTreeMap;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{GpuNames, GpuSpec};
use geom_lab::Machine;

use super::edids::edid;
use super::harness::{install_program, unique, Service, Setup};

/// Where the guest has the program that reads properties.
pub const PROPERTIES: &str = "/run/bin/geom-lab-properties";

/// A folder of debugfs with the kernel's state of a GPU and the lab's switches
/// (lab/README.md).
pub fn debugfs(gpu: &GpuNames) -> String {
    format!("/sys/kernel/debug/dri/{}", gpu.card.trim_start_matches("card"))
}

/// Sets one of the lab's switches of a GPU: `lab_<name>` in debugfs.
pub fn set_switch(machine: &Machine, gpu: &GpuNames, name: &str, value: &str) -> Result<()> {
    machine.write(&format!("{}/lab_{name}", debugfs(gpu)), value)
}

/// One of the lab's switches or counters of a GPU.
pub fn read_switch(machine: &Machine, gpu: &GpuNames, name: &str) -> Result<u32> {
    let text = machine.read(&format!("{}/lab_{name}", debugfs(gpu)))?;
    text.trim().parse().with_context(|| format!("lab_{name}: {text}"))
}

/// How often the kernel has enabled each CRTC of a GPU, in their order.
pub fn crtc_modesets(machine: &Machine, gpu: &GpuNames) -> Result<Vec<u32>> {
    let text = machine.read(&format!("{}/lab_modesets", debugfs(gpu)))?;
    text.split_whitespace().map(|count| count.parse().with_context(|| text.clone())).collect()
}

/// The index of the CRTC that drives a connector, by the kernel's state
/// (drm_atomic_connector_print_state()).
pub fn crtc_of(machine: &Machine, gpu: &GpuNames, connector: &str) -> Result<usize> {
    let state = atomic_state(machine, gpu)?;
    let mut lines = state.lines().skip_while(|line| !line.ends_with(&format!("]: {connector}")));
    let crtc = lines.nth(1).and_then(|line| line.trim().strip_prefix("crtc=crtc-"));
    crtc.with_context(|| format!("{connector} has no CRTC:\n{state}"))?.parse().context("a CRTC's index")
}

/// Waits until udev has handled all events of the kernel, and the service has received them: it
/// answers after that.
pub fn settle(service: &Service) -> Result<()> {
    service.machine.run_as_root(&unique("settle"), &["udevadm", "settle"])?;
    service.status().map(drop)
}

/// The kernel's atomic state of a GPU (drm_state_info()).
pub fn atomic_state(machine: &Machine, gpu: &GpuNames) -> Result<String> {
    machine.read(&format!("{}/state", debugfs(gpu)))
}

/// Waits until `count` CRTCs of a GPU are active.
pub fn wait_for_active_crtcs(machine: &Machine, gpu: &GpuNames, count: usize) -> Result<()> {
    machine.wait_until(&format!("{count} active CRTCs"), |machine| {
        Ok(atomic_state(machine, gpu)?.matches("\tactive=1").count() == count)
    })
}

/// KMS properties by object and name, such as `connector 37 Colorspace`.
pub struct Properties(BTreeMap<String, String>);

impl std::fmt::Debug for Properties {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Properties {
    /// Reads all properties of all objects.
    pub fn read(machine: &Machine) -> Result<Self> {
        Self::set(machine, &[])
    }

    /// Sets properties (`name=value`) as another DRM master would, and reads all.
    pub fn set(machine: &Machine, set: &[&str]) -> Result<Self> {
        let mut argv = Vec::new();
        for set in set {
            argv.extend(["--set", set]);
        }
        Self::run(machine, &argv)
    }

    /// Reads all properties of all objects of a card that is not the first one.
    pub fn of_card(machine: &Machine, path: &str) -> Result<Self> {
        Self::run(machine, &["--card", path])
    }

    fn run(machine: &Machine, arguments: &[&str]) -> Result<Self> {
        let argv = [&[PROPERTIES], arguments].concat();
        let log = unique("properties");
        machine.run_as_root(&log, &argv)?;
        let text = std::fs::read_to_string(machine.shared_dir().join(format!("{log}.log")))?;
        let pairs = text.lines().filter_map(|line| line.split_once(" = "));
        Ok(Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// Objects and values of all properties of a name.
    fn named<'a>(&'a self, property: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let property = property.to_owned();
        self.0.iter().filter_map(move |(name, value)| {
            let object = name.strip_suffix(property.as_str())?.strip_suffix(' ')?;
            // An object is its kind and its number.
            (object.split(' ').count() == 2).then_some((object, value.as_str()))
        })
    }

    /// The values of a property, one per object that has it.
    pub fn values<'a>(&'a self, property: &str) -> Vec<&'a str> {
        self.named(property).map(|(_, value)| value).collect()
    }

    /// Objects of a kind whose property has a value.
    pub fn objects<'a>(&'a self, kind: &str, property: &str, value: &str) -> Vec<&'a str> {
        self.named(property)
            .filter(|(object, found)| object.starts_with(kind) && *found == value)
            .map(|(object, _)| object)
            .collect()
    }

    /// The value on the first object that has the property.
    pub fn first<'a>(&'a self, property: &str) -> Result<&'a str> {
        self.values(property).first().copied().with_context(|| format!("no property {property}"))
    }
}

/// The first connector and CRTC have these values.
pub fn ensure_properties(machine: &Machine, expected: &[(&str, &str)]) -> Result<()> {
    let all = Properties::read(machine)?;
    for (property, value) in expected {
        let found = all.first(property)?;
        ensure!(found == *value, "{property} is {found}, not {value}");
    }
    Ok(())
}

/// Waits until the first connector and CRTC have these values.
pub fn wait_for_properties(machine: &Machine, what: &str, expected: &[(&str, &str)]) -> Result<()> {
    machine.wait_until(what, |machine| ensure_properties(machine, expected).map(|()| true))
}

/// A machine of one GPU with these monitors, and the program that reads properties.
pub fn setup(connectors: usize, monitors: &[&str]) -> Result<Setup> {
    let setup = Setup::new(&[GpuSpec::new("gpu0", connectors)])?;
    for (connector, monitor) in monitors.iter().enumerate() {
        setup.machine.set_monitor(&setup.gpus[0], connector, &edid(monitor)?)?;
    }
    install_program(&setup.machine, "geom-lab-properties", PROPERTIES)?;
    Ok(setup)
}

/// A machine of one GPU with monitors that is created with a parameter of vkms set (lab/README.md).
pub fn setup_with_parameter(name: &str, value: &str, connectors: usize) -> Result<Setup> {
    let mut setup = Setup::new(&[])?;
    setup.machine.write(&format!("/sys/module/vkms/parameters/lab_{name}"), value)?;
    setup.gpus.push(setup.machine.create_gpu(&GpuSpec::new("gpu0", connectors))?);
    Ok(setup)
}

impl Service {
    /// Waits until `count` CRTCs of the first GPU are active.
    pub fn wait_for_active_crtcs(&self, count: usize) -> Result<()> {
        wait_for_active_crtcs(&self.machine, &self.gpus[0], count)
    }
}

/// A table of 16-bit entries as the kernel has it (`struct drm_color_lut`), red, green and blue
/// from 0 to 1.
pub fn lut(hex: &str) -> Result<Vec<[f64; 3]>> {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16))
        .collect::<std::result::Result<_, _>>()?;
    let words: Vec<f64> =
        bytes.chunks(2).map(|word| f64::from(u16::from_le_bytes([word[0], word[1]])) / 65_535.0).collect();
    Ok(words.chunks(4).map(|entry| [entry[0], entry[1], entry[2]]).collect())
}

fn interpolate(table: &[[f64; 3]], channel: usize, position: f64) -> f64 {
    let position = position.clamp(0.0, 1.0) * (table.len() - 1) as f64;
    let below = position.floor() as usize;
    let next = (below + 1).min(table.len() - 1);
    table[below][channel] + (table[next][channel] - table[below][channel]) * position.fract()
}

/// The color that the CRTC outputs for a framebuffer's color, by the DEGAMMA_LUT, CTM and GAMMA_LUT
/// that the kernel has.
pub fn crtc_output(all: &Properties, rgb: [u8; 3]) -> Result<[u8; 3]> {
    let (degamma, gamma) = (lut(all.first("DEGAMMA_LUT")?)?, lut(all.first("GAMMA_LUT")?)?);
    let ctm = all.first("CTM")?;
    let cells = (0..9).map(|cell| {
        // Sign and magnitude, 31.32 bits (struct drm_color_ctm).
        let bytes = u64::from_str_radix(&ctm[16 * cell..16 * cell + 16], 16)?.swap_bytes();
        let magnitude = (bytes & !(1 << 63)) as f64 / 4_294_967_296.0;
        Ok(if bytes >> 63 == 1 { -magnitude } else { magnitude })
    });
    let cells: Vec<f64> = cells.collect::<Result<_>>()?;
    let linear: Vec<f64> =
        (0..3).map(|channel| interpolate(&degamma, channel, f64::from(rgb[channel]) / 255.0)).collect();
    let mixed = |row: usize| (0..3).map(|column| cells[3 * row + column] * linear[column]).sum::<f64>();
    Ok(std::array::from_fn(|row| (interpolate(&gamma, row, mixed(row)) * 255.0).round() as u8))
}
