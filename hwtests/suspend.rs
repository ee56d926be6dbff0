//! System sleep and the power button, with the machine's logind and polkit. The sleep itself is
//! simulated: systemd-suspend.service waits for a file.

use anyhow::{ensure, Result};
use geom_lab::keys::KeyCode;

use crate::support::device::{Device, CONTROL, SERVICE};

const SLEEP: (&str, &str) = (
    "etc/systemd/system/systemd-suspend.service.d/sleep.conf",
    "[Service]\nExecStart=\nExecStart=/bin/sh -c 'until [ -e /run/wake ]; do sleep 0.05; done; rm /run/wake'\n",
);

/// What logind reads in place of /sys/power/state.
const STATES: [(&str, &str); 2] = [
    ("etc/lab-states", "freeze mem\n"),
    (
        "etc/systemd/system/systemd-logind.service.d/states.conf",
        "[Service]\nBindPaths=/etc/lab-states:/sys/power/state\n",
    ),
];

const CONFIG: (&str, &str) =
    ("usr/local/share/GeometryOS/system/conf/geom_compositor.toml", "[power]\npower_button = \"suspend\"\n");

#[test]
fn displays_are_probed_after_sleep_and_not_during_it() -> Result<()> {
    let [states, bind] = STATES;
    let device = Device::boot(&[SERVICE, "geom-kiosk@red.service"], &[SLEEP, states, bind, CONFIG])?;
    let done = sleep_twice(&device);
    if done.is_err() {
        println!("{}", device.run(&["journalctl", "-b", "--no-pager", "-n", "100"])?);
    }
    done
}

/// Whether the service holds an inhibitor lock (systemd-inhibit(1)).
fn has_lock(device: &Device, what: &str, mode: &str) -> Result<bool> {
    let locks = device.run(&["systemd-inhibit", "--list", "--no-pager"])?;
    Ok(locks.lines().any(|line| {
        line.contains("geom_compositor") && line.contains(what) && line.trim_end().ends_with(mode)
    }))
}

/// How many entries of priority *warning* or higher the service has in the journal.
fn count_warnings(device: &Device) -> Result<usize> {
    let argv = ["journalctl", "-b", "--no-pager", "-o", "cat", "-t", "geom_compositor", "-p", "warning"];
    Ok(device.run(&argv)?.lines().count())
}

/// Falls asleep, does something, wakes.
fn sleep(
    device: &Device,
    fall_asleep: &dyn Fn() -> Result<()>,
    while_asleep: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let machine = &device.machine;
    fall_asleep()?;
    machine.wait_until("sleep", |_| {
        Ok(device.run(&["systemctl", "is-active", "systemd-suspend.service"])?.contains("activating"))
    })?;
    // logind has waited for the service, which has released its lock.
    ensure!(!has_lock(device, " sleep ", "delay")?, "the service still delays sleep");
    let displays = || device.control(CONTROL, "displays --json");
    let (before, warnings) = (displays()?, count_warnings(device)?);
    while_asleep()?;
    ensure!(displays()? == before, "displays were reconfigured during sleep");
    ensure!(count_warnings(device)? == warnings, "the service warns during sleep");
    device.run(&["touch", "/run/wake"])?;
    machine.wait_until("the lock after waking", |_| has_lock(device, " sleep ", "delay"))
}

fn sleep_twice(device: &Device) -> Result<()> {
    let machine = &device.machine;
    let keyboard = machine.keyboard("power button")?;
    device.wait_until_active()?;
    device.wait_until_kiosk_shown()?;
    machine.wait_until("the inhibitor locks", |_| {
        Ok(has_lock(device, " sleep ", "delay")? && has_lock(device, "handle-power-key", "block")?)
    })?;

    let suspend = || {
        let output = device.run(&["systemctl", "suspend"])?;
        ensure!(output.trim().is_empty(), "{output}");
        Ok(())
    };
    sleep(device, &suspend, &|| {
        machine.unplug("gpu0", 2)?;
        machine.unplug("gpu0", 0)?;
        machine.plug("gpu0", 0)
    })?;
    device.wait_for_enabled_displays(CONTROL, 2)?;
    device.wait_until_kiosk_shown()?;

    sleep(device, &|| keyboard.chord(&[KeyCode::KEY_POWER]), &|| machine.plug("gpu0", 2))?;
    device.wait_for_enabled_displays(CONTROL, 3)?;
    device.wait_until_kiosk_shown()
}
