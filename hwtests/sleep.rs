//! Sleep and the power button, by the machine's logind and polkit. Only the nap itself is the test's: it lasts until a file is there.

use anyhow::{ensure, Result};
use geom_lab::keys::KeyCode;

use crate::device::{Device, CONTROL, SERVICE};

const NAP: (&str, &str) = (
    "etc/systemd/system/systemd-suspend.service.d/nap.conf",
    "[Service]\nExecStart=\nExecStart=/bin/sh -c 'until [ -e /run/wake ]; do sleep 0.05; done; rm /run/wake'\n",
);

/// What logind reads in place of the kernel's word on how it can sleep.
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
fn the_system_sleeps_and_wakes() -> Result<()> {
    let [states, shown] = STATES;
    let device = Device::boot(&[SERVICE, "geom-kiosk@red.service"], &[NAP, states, shown, CONFIG])?;
    let done = sleep_and_wake(&device);
    if done.is_err() {
        println!("{}", device.run(&["journalctl", "-b", "--no-pager", "-n", "100"])?);
    }
    done
}

fn sleep_and_wake(device: &Device) -> Result<()> {
    let machine = &device.machine;
    let keyboard = machine.keyboard("power button")?;
    device.until_active()?;
    device.until_red()?;
    let journal = |level: &str| {
        device.run(&["journalctl", "-b", "--no-pager", "-o", "cat", "-t", "geom_compositor", "-p", level])
    };
    let (said, warned) = (|| journal("debug"), || journal("warning"));
    let count = |text: &str| -> Result<usize> { Ok(said()?.matches(text).count()) };
    let until_said = |text: &str, times: usize| machine.until(text, |_| Ok(count(text)? >= times));
    let locks = || device.run(&["systemd-inhibit", "--list", "--no-pager"]);
    let has_lock = |what: &str, mode: &str| -> Result<bool> {
        let has = |line: &str| {
            line.contains("geom_compositor") && line.contains(what) && line.trim_end().ends_with(mode)
        };
        Ok(locks()?.lines().any(has))
    };
    machine.until("its locks", |_| {
        Ok(has_lock(" sleep ", "delay")? && has_lock("handle-power-key", "block")?)
    })?;

    let lit = |count: usize| -> Result<bool> {
        Ok(device.ask(CONTROL, "status --json")?.contains(&format!("\"displays_lit\": {count}")))
    };
    let nap = |turn: usize,
               fall_asleep: &dyn Fn() -> Result<()>,
               while_asleep: &dyn Fn() -> Result<()>|
     -> Result<()> {
        fall_asleep()?;
        until_said("the system goes to sleep", turn)?;
        machine.until("the nap", |_| {
            Ok(device.run(&["systemctl", "is-active", "systemd-suspend.service"])?.contains("activating"))
        })?;
        // It was waited for, and sleep does not wait any more.
        ensure!(!has_lock(" sleep ", "delay")?, "{}", locks()?);
        let (before, warnings) = (said()?, warned()?);
        while_asleep()?;
        let meanwhile = said()?[before.len()..].to_owned();
        ensure!(!meanwhile.contains("mode set") && warned()? == warnings, "in its sleep: {meanwhile}");
        device.run(&["touch", "/run/wake"])?;
        until_said("the system is awake", turn)?;
        machine.until("its lock", |_| has_lock(" sleep ", "delay"))
    };

    // Monitors are changed while it sleeps.
    let suspend = || {
        let said = device.run(&["systemctl", "suspend"])?;
        ensure!(said.trim().is_empty(), "{said}");
        Ok(())
    };
    nap(1, &suspend, &|| {
        machine.unplug("gpu0", 2)?;
        machine.unplug("gpu0", 0)?;
        machine.plug("gpu0", 0)
    })?;
    machine.until("two displays", |_| lit(2))?;
    device.until_red()?;

    nap(2, &|| keyboard.chord(&[KeyCode::KEY_POWER]), &|| machine.plug("gpu0", 2))?;
    machine.until("three displays", |_| lit(3))?;
    device.until_red()?;
    Ok(())
}
