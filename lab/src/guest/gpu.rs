//! Virtual GPUs: vkms through configfs (Documentation/gpu/vkms.rst).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{GpuNames, GpuSpec};

fn configfs_dir(name: &str) -> PathBuf {
    Path::new("/sys/kernel/config/vkms").join(name)
}

fn write(path: PathBuf, value: &str) -> Result<()> {
    fs::write(&path, value).with_context(|| format!("write {value} to {}", path.display()))
}

fn cards() -> Result<BTreeSet<String>> {
    let mut cards = BTreeSet::new();
    for entry in fs::read_dir("/sys/class/drm")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.strip_prefix("card").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
            cards.insert(name);
        }
    }
    Ok(cards)
}

// Plane types as vkms' configfs takes them.
const OVERLAY: &str = "0";
const PRIMARY: &str = "1";
const CURSOR: &str = "2";

pub fn create(spec: &GpuSpec) -> Result<GpuNames> {
    let gpu = configfs_dir(&spec.name);
    let make = |path: &str| -> Result<PathBuf> {
        let path = gpu.join(path);
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    };
    fs::create_dir(&gpu).with_context(|| format!("create {}", gpu.display()))?;
    for index in 0..spec.crtcs {
        let crtc = make(&format!("crtcs/crtc{index}"))?;
        let planes = std::iter::once(PRIMARY)
            .chain(std::iter::repeat_n(OVERLAY, spec.overlays))
            .chain(spec.cursor.then_some(CURSOR));
        for (number, kind) in planes.enumerate() {
            let plane = make(&format!("planes/plane{index}-{number}"))?;
            write(plane.join("type"), kind)?;
            symlink(&crtc, plane.join("possible_crtcs/crtc"))?;
        }
    }
    for index in 0..spec.encoders {
        let encoder = make(&format!("encoders/encoder{index}"))?;
        for crtc in 0..spec.crtcs {
            symlink(
                gpu.join(format!("crtcs/crtc{crtc}")),
                encoder.join(format!("possible_crtcs/crtc{crtc}")),
            )?;
        }
    }
    for (index, connected) in spec.connectors.iter().enumerate() {
        let connector = make(&format!("connectors/connector{index}"))?;
        let encoder = gpu.join(format!("encoders/encoder{}", index % spec.encoders));
        symlink(encoder, connector.join("possible_encoders/encoder"))?;
        write(connector.join("status"), status(*connected))?;
    }
    let before = cards()?;
    write(gpu.join("enabled"), "1")?;
    let after = cards()?;
    let card = after.difference(&before).next().context("the kernel created no card")?.clone();
    let prefix = format!("{card}-");
    let mut connectors: Vec<String> = Vec::new();
    for entry in fs::read_dir(Path::new("/sys/class/drm").join(&card))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(connector) = name.strip_prefix(&prefix) {
            if !connector.starts_with("Writeback") {
                connectors.push(connector.to_owned());
            }
        }
    }
    connectors.sort_by_key(|name| name.rsplit('-').next().and_then(|number| number.parse::<u32>().ok()));
    ensure!(connectors.len() == spec.connectors.len(), "requested {:?}, got {connectors:?}", spec.connectors);
    Ok(GpuNames { card, connectors })
}

pub fn remove(name: &str) -> Result<()> {
    let gpu = configfs_dir(name);
    write(gpu.join("enabled"), "0")?;
    for kind in ["connectors", "encoders", "planes", "crtcs"] {
        let mut items: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(gpu.join(kind))? {
            items.push(entry?.path());
        }
        for item in items {
            for links in ["possible_crtcs", "possible_encoders"] {
                if let Ok(entries) = fs::read_dir(item.join(links)) {
                    for entry in entries {
                        fs::remove_file(entry?.path())?;
                    }
                }
            }
            fs::remove_dir(&item).with_context(|| item.display().to_string())?;
        }
    }
    fs::remove_dir(&gpu).with_context(|| gpu.display().to_string())
}

fn status(connected: bool) -> &'static str {
    if connected {
        "1"
    } else {
        "2"
    }
}

pub fn set_connected(gpu: &str, connector: usize, connected: bool) -> Result<()> {
    write(configfs_dir(gpu).join(format!("connectors/connector{connector}/status")), status(connected))
}
