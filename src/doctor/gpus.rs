//! Checks GPUs, monitors and their EDIDs.

use geom_edid::Edid;

use super::{Finding, Machine};

/// Drivers of the firmware's framebuffer, which cannot set modes (drivers/gpu/drm/sysfb).
const FIRMWARE_DRIVERS: [&str; 5] = ["simple-framebuffer", "simpledrm", "efidrm", "vesadrm", "ofdrm"];

const CLASS: &str = "/sys/class/drm";

pub fn check(machine: &Machine) -> Vec<Finding> {
    let names = machine.names(CLASS);
    let is_card = |name: &&String| {
        name.strip_prefix("card")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let cards: Vec<&String> = names.iter().filter(is_card).collect();
    if cards.is_empty() {
        return vec![Finding::bad(
            "GPU",
            "the kernel has no KMS device",
            "load its driver (lspci -k, lsmod; nomodeset on the kernel's command line keeps drivers out); until \
             then, displays are virtual",
        )];
    }
    let mut findings = Vec::new();
    for card in cards {
        findings.push(driver(machine, card));
        let connectors =
            names.iter().filter_map(|name| Some((name, name.strip_prefix(card)?.strip_prefix('-')?)));
        let connectors: Vec<_> = connectors.collect();
        let is_connected =
            |folder: &str| machine.text(&format!("{CLASS}/{folder}/status")).as_deref() == Some("connected");
        let connected: Vec<_> = connectors.iter().filter(|(folder, _)| is_connected(folder)).collect();
        if connected.is_empty() && !connectors.is_empty() {
            let all: Vec<&str> = connectors.iter().map(|(_, name)| *name).collect();
            findings.push(Finding::poor(
                &format!("monitors of {card}"),
                format!("none at {}", all.join(", ")),
                "plug one in and switch it on, or try another cable; the service enables it on hotplug",
            ));
        }
        findings.extend(connected.into_iter().map(|(folder, name)| monitor(machine, folder, name)));
    }
    findings
}

fn driver(machine: &Machine, card: &str) -> Finding {
    let what = format!("GPU {card}");
    let driver =
        machine.link_name(&format!("{CLASS}/{card}/device/driver")).unwrap_or_else(|| "unknown".into());
    if !machine.exists(&format!("/dev/dri/{card}")) {
        return Finding::bad(
            &what,
            format!("{driver}, without /dev/dri/{card}"),
            "start udev (systemd-udevd), or create the device node",
        );
    }
    if FIRMWARE_DRIVERS.contains(&driver.as_str()) {
        return Finding::poor(
            &what,
            format!("{driver}: the firmware's framebuffer, with one mode and one monitor"),
            "load the GPU's own driver; its firmware may be missing (dmesg | grep -i firmware)",
        );
    }
    Finding::good(&what, driver)
}

fn monitor(machine: &Machine, folder: &str, name: &str) -> Finding {
    let what = format!("monitor at {name}");
    let modes = machine.text(&format!("{CLASS}/{folder}/modes")).unwrap_or_default();
    let bytes = machine.bytes(&format!("{CLASS}/{folder}/edid")).unwrap_or_default();
    if modes.is_empty() {
        return Finding::bad(
            &what,
            "it offers no mode",
            format!(
                "unplug it and plug it in again, or set one: geom_compositor set {name} --mode 1920x1080@60"
            ),
        );
    }
    if bytes.is_empty() {
        return Finding::poor(
            &what,
            "it has no EDID; it is identified by its connector",
            "try another cable, or a port without an adapter",
        );
    }
    match Edid::parse(&bytes) {
        Err(error) => Finding::poor(
            &what,
            format!("its EDID is unusable: {error}"),
            "try another cable; the kernel's drm.edid_firmware= replaces its EDID",
        ),
        Ok(edid) if edid.problems.is_empty() => {
            Finding::good(&what, modes.lines().next().unwrap_or_default())
        }
        Ok(edid) => Finding::poor(
            &what,
            format!("its EDID has mistakes: {}", edid.problems.join("; ")),
            "none, if the image is good: the valid parts of the EDID are used",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn cards_and_monitors_are_checked() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let machine = Machine::at(root.path(), &[]);
        assert_eq!(check(&machine)[0].grade, Grade::Bad);
        let card = root.path().join("sys/class/drm/card0");
        std::fs::create_dir_all(card.join("device"))?;
        symlink("../../bus/pci/drivers/i915", card.join("device/driver"))?;
        assert!(check(&machine)[0].remedy.contains("udev"));
        std::fs::create_dir_all(root.path().join("dev/dri"))?;
        std::fs::write(root.path().join("dev/dri/card0"), "")?;
        assert_eq!(check(&machine), [Finding::good("GPU card0", "i915")]);
        let connector = root.path().join("sys/class/drm/card0-HDMI-A-1");
        std::fs::create_dir_all(&connector)?;
        std::fs::write(connector.join("status"), "disconnected\n")?;
        assert!(check(&machine)[1].found.contains("none at HDMI-A-1"));
        std::fs::write(connector.join("status"), "connected\n")?;
        assert!(check(&machine)[1].found.contains("no mode"));
        std::fs::write(connector.join("modes"), "1920x1080\n")?;
        assert!(check(&machine)[1].found.contains("no EDID"));
        std::fs::write(connector.join("edid"), [0u8; 128])?;
        assert!(check(&machine)[1].grade == Grade::Poor && check(&machine)[1].found.contains("EDID"));
        Ok(())
    }
}
