//! Flicker-free handoff: from a boot splash to the service, and from a crashed or upgraded process
//! to the next, the CRTCs stay enabled and the framebuffers stay until there is new content.

use std::cell::Cell;

use anyhow::{ensure, Result};

use crate::support::device::{Device, CONTROL, SERVICE};
use crate::support::harness::wait_for_pixels;
use crate::support::RED;

/// The kernel logs what it does to CRTCs (drm.debug: KMS and ATOMIC), and keeps all of it.
const DRM_DEBUG: [&str; 2] = ["drm.debug=0x14", "log_buf_len=16M"];

const SPLASH: [u8; 3] = [0x30, 0x60, 0xa0];

/// How often the kernel has enabled and disabled a CRTC.
fn crtc_switches(device: &Device) -> Result<(usize, usize)> {
    let log = device.run(&["dmesg"])?;
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    Ok((count("] enabling [CRTC:"), count("] disabling [CRTC:")))
}

/// With Plymouth itself, which shows one color.
#[test]
fn boot_splash_stays_until_there_is_a_window() -> Result<()> {
    let splash = ["splash", "plymouth.ignore-serial-consoles"];
    let arguments: Vec<&str> = DRM_DEBUG.into_iter().chain(splash).collect();
    let conf = "[Daemon]\nTheme=lab\nThemeDir=/etc/plymouth/themes\nShowDelay=0\n";
    let theme = "[Plymouth Theme]\nName=Lab\nModuleName=two-step\n[two-step]\n\
                 ImageDir=/usr/share/plymouth/themes/spinner\nHorizontalAlignment=.5\nVerticalAlignment=.5\nTransition=none\n\
                 BackgroundStartColor=0x3060a0\nBackgroundEndColor=0x3060a0\n[boot-up]\nUseEndAnimation=false\n";
    let shown = "[Service]\nExecStartPre=/bin/sh -c 'until [ $$(grep -c active=1 /sys/kernel/debug/dri/0/state) = 3 ]; do sleep .1; done'\n";
    let files = [
        ("etc/plymouth/plymouthd.conf", conf),
        ("etc/plymouth/themes/lab/lab.plymouth", theme),
        // The lab's host may be a container, and systemd takes the guest for one.
        ("etc/systemd/system/plymouth-start.service.d/lab.conf", "[Unit]\nConditionVirtualization=\n"),
        // The lab boots faster than a device: wait until the splash is shown.
        ("etc/systemd/system/geom-plymouth-deactivate.service.d/lab.conf", shown),
        // Longer than this test runs.
        ("etc/default/geom-compositor", "GEOM_COMPOSITOR_ARGS=--config=/etc/lab.toml\n"),
        ("etc/lab.toml", "keep_framebuffer = 600\n"),
    ];
    let device = Device::boot_with_arguments(&arguments, &[SERVICE, "geom-kiosk@red.service"], &files)?;
    device.wait_until_active()?;
    device.wait_until_kiosk_shown()?;
    device.machine.wait_until("the end of the splash", |_| {
        Ok(device.run(&["pgrep", "-c", "-x", "plymouthd"])?.trim() == "0")
    })?;
    let (enabled, disabled) = crtc_switches(&device)?;
    ensure!((enabled, disabled) == (3, 0), "CRTCs were enabled {enabled} times, disabled {disabled} times");
    for display in ["Virtual-1", "Virtual-3"] {
        let splash = device.machine.screenshot(display)?.fraction(|pixel| pixel == SPLASH);
        ensure!(splash > 0.9, "{display}: {splash} of it is the splash");
    }
    // What is drawn over it has it as its background.
    device.control(CONTROL, "identify --seconds 60")?;
    let fraction = Cell::new(0.0);
    wait_for_pixels(&device.machine, "Virtual-1", "its name over the splash", |screenshot| {
        fraction.set(screenshot.fraction(|pixel| pixel == SPLASH));
        screenshot.fraction(|pixel| pixel == [0xff; 3]) > 0.001
    })?;
    ensure!(fraction.get() > 0.5, "{} of it is the splash", fraction.get());
    Ok(())
}

#[test]
fn content_stays_after_a_crash_and_an_upgrade() -> Result<()> {
    let rotated = "[displays.Virtual-1]\ntransform = \"90\"\n";
    let profile = "usr/local/share/GeometryOS/userdata/geom/displays.toml";
    let units = [SERVICE, "geom-kiosk@red.service"];
    let device = Device::boot_with_arguments(&DRM_DEBUG, &units, &[(profile, rotated)])?;
    device.wait_until_active()?;
    device.wait_until_kiosk_shown()?;
    let machine = &device.machine;
    // The diagnostic screen, upright on the rotated monitor.
    let before = machine.screenshot("Virtual-1")?;
    let third = machine.screenshot("Virtual-3")?;
    ensure!(before.fraction(|pixel| pixel == [0xff; 3]) > 0.0, "no diagnostic screen");
    let (_, disabled) = crtc_switches(&device)?;
    let first = device.status()?;
    let kiosk = || device.run(&["pgrep", "-x", "geom-lab-client"]);
    let client = kiosk()?;
    device.run(&["kill", "-KILL", &first.pid.to_string()])?;
    // systemd starts the kiosk's program again after a second.
    machine.wait_until("the kiosk's program again", |machine| {
        let content = machine.screenshot("Virtual-2")?.fraction(|pixel| pixel == RED);
        ensure!(content > 0.97, "only {content} of it is what it was");
        let now = kiosk()?;
        Ok(!now.is_empty() && now != client)
    })?;
    let second = device.status()?;
    ensure!(second.pid != first.pid, "it did not crash");
    let ensure_kept = |cause: &str| -> Result<()> {
        ensure!(machine.screenshot("Virtual-1")? == before, "a rotated display shows other content");
        ensure!(machine.screenshot("Virtual-3")? == third, "a display shows other content");
        ensure!(crtc_switches(&device)?.1 == disabled, "CRTCs were disabled by {cause}");
        Ok(())
    };
    ensure_kept("a crash")?;
    device.wait_until_kiosk_shown()?;
    let uptime = device.status()?.uptime_s;
    device.control(CONTROL, "upgrade")?;
    machine.wait_until("the upgraded service", |_| {
        let status = device.status()?;
        Ok(status.uptime_s < uptime && status.enabled_displays == 3)
    })?;
    device.wait_until_kiosk_shown()?;
    ensure_kept("an upgrade")?;
    // The kept content is upright as well where it is drawn: behind a name in a corner.
    device.control(CONTROL, "identify --seconds 60")?;
    let after = wait_for_pixels(machine, "Virtual-1", "its name", |screenshot| *screenshot != before)?;
    let mut center = (400..600).flat_map(|x| (250..520).map(move |y| (x, y)));
    ensure!(
        center.all(|(x, y)| before.pixel(x, y) == after.pixel(x, y)),
        "the kept content is drawn otherwise"
    );
    Ok(())
}
