//! Displays that do not go dark while they change hands: from a boot splash to the service, and from a run that crashed to the next.

use anyhow::{ensure, Result};

use crate::device::{Device, CONTROL, SERVICE};
use crate::world::RED;

/// The kernel tells of what it does to CRTCs (drm.debug's KMS and ATOMIC), and keeps all of it.
const TELLING: [&str; 2] = ["drm.debug=0x14", "log_buf_len=16M"];

const STAYS: &str = "what it shows stays until there is a window display=";

/// How often the kernel switched a CRTC on, and off.
fn switched(device: &Device) -> Result<(usize, usize)> {
    let said = device.run(&["dmesg"])?;
    let count = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    Ok((count("] enabling [CRTC:"), count("] disabling [CRTC:")))
}

fn told(device: &Device) -> Result<String> {
    device.run(&["journalctl", "-b", "--no-pager", "-o", "cat", "-t", "geom_compositor"])
}

/// Plymouth itself, with a picture of one colour.
#[test]
fn a_splash_gives_way_without_a_dark_moment() -> Result<()> {
    let splash = ["splash", "plymouth.ignore-serial-consoles"];
    let words: Vec<&str> = TELLING.into_iter().chain(splash).collect();
    let conf = "[Daemon]\nTheme=lab\nThemeDir=/etc/plymouth/themes\nShowDelay=0\n";
    let theme = "[Plymouth Theme]\nName=Lab\nModuleName=two-step\n[two-step]\n\
                 ImageDir=/usr/share/plymouth/themes/spinner\nHorizontalAlignment=.5\nVerticalAlignment=.5\nTransition=none\n\
                 BackgroundStartColor=0x3060a0\nBackgroundEndColor=0x3060a0\n[boot-up]\nUseEndAnimation=false\n";
    let seen = "[Service]\nExecStartPre=/bin/sh -c 'until [ $$(grep -c active=1 /sys/kernel/debug/dri/0/state) = 3 ]; do sleep .1; done'\n";
    let files = [
        ("etc/plymouth/plymouthd.conf", conf),
        ("etc/plymouth/themes/lab/lab.plymouth", theme),
        // The lab's host may be a container, which the guest takes for its own.
        ("etc/systemd/system/plymouth-start.service.d/lab.conf", "[Unit]\nConditionVirtualization=\n"),
        // A device boots slower than this: the splash is seen first.
        ("etc/systemd/system/geom-splash-leaves.service.d/lab.conf", seen),
        // Longer than this test looks.
        ("etc/default/geom-compositor", "GEOM_COMPOSITOR_ARGS=--config=/etc/lab.toml\n"),
        ("etc/lab.toml", "keep_picture = 600\n"),
    ];
    let device = Device::boot_by(&words, &[SERVICE, "geom-kiosk@red.service"], &files)?;
    device.until_active()?;
    device.until_red()?;
    device.machine.until("the end of the splash", |_| {
        Ok(device.run(&["pgrep", "-c", "-x", "plymouthd"])?.trim() == "0")
    })?;
    let (on, off) = switched(&device)?;
    ensure!((on, off) == (3, 0), "CRTCs were switched on {on} times and off {off} times");
    let said = told(&device)?;
    ensure!(said.matches(STAYS).count() == 3, "{said}");
    for display in ["Virtual-1", "Virtual-3"] {
        let share = device.machine.screenshot(display)?.share(|pixel| pixel == [0x30, 0x60, 0xa0]);
        ensure!(share > 0.9, "{display}: {share} of it is the splash");
    }
    // What is drawn over it has it behind.
    device.ask(CONTROL, "identify --seconds 60")?;
    device.machine.until("its name over the splash", |machine| {
        let picture = machine.screenshot("Virtual-1")?;
        let share = picture.share(|pixel| pixel == [0x30, 0x60, 0xa0]);
        ensure!(share > 0.5, "{share} of it is the splash");
        Ok(picture.share(|pixel| pixel == [0xff; 3]) > 0.001)
    })
}

#[test]
fn a_crash_and_an_upgrade_leave_the_picture() -> Result<()> {
    let turned = "[displays.Virtual-1]\ntransform = \"90\"\n";
    let profile = "usr/local/share/GeometryOS/userdata/geom/displays.toml";
    let device = Device::boot_by(&TELLING, &[SERVICE, "geom-kiosk@red.service"], &[(profile, turned)])?;
    device.until_active()?;
    device.until_red()?;
    let machine = &device.machine;
    let status =
        || -> Result<serde_json::Value> { Ok(serde_json::from_str(&device.ask(CONTROL, "status --json")?)?) };
    // Text, upright for whoever has turned the monitor.
    let before = machine.screenshot("Virtual-1")?;
    ensure!(before.share(|pixel| pixel == [0xff; 3]) > 0.0, "no diagnostic screen");
    let (_, off) = switched(&device)?;
    let pid = status()?["pid"].to_string();
    let kiosk = || device.run(&["pgrep", "-x", "geom-lab-client"]);
    let client = kiosk()?;
    device.run(&["kill", "-KILL", &pid])?;
    // The program is started again by its unit, after a second.
    machine.until("the kiosk's program again", |machine| {
        let share = machine.screenshot("Virtual-2")?.share(|pixel| pixel == RED);
        ensure!(share > 0.97, "only {share} of it is what it was");
        let now = kiosk()?;
        Ok(!now.is_empty() && now != client)
    })?;
    ensure!(status()?["pid"] != pid, "it did not crash");
    let said = told(&device)?;
    ensure!(said.matches(STAYS).count() == 3, "{said}");
    ensure!(machine.screenshot("Virtual-1")? == before, "a turned display's picture is another");
    ensure!(switched(&device)?.1 == off, "CRTCs were switched off");
    device.until_red()?;
    device.ask(CONTROL, "upgrade")?;
    machine.until("another program in its place", |_| Ok(told(&device)?.matches(STAYS).count() == 6))?;
    device.until_red()?;
    ensure!(switched(&device)?.1 == off, "CRTCs were switched off by an upgrade");
    // Upright as well where it is drawn, behind a name in a corner.
    device.ask(CONTROL, "identify --seconds 60")?;
    machine.until("its name", |machine| Ok(machine.screenshot("Virtual-1")? != before))?;
    let after = machine.screenshot("Virtual-1")?;
    let middle = || (400..600).flat_map(|x| (250..520).map(move |y| (x, y)));
    ensure!(middle().all(|(x, y)| before.pixel(x, y) == after.pixel(x, y)), "it is drawn otherwise");
    Ok(())
}
