//! Hotplug of monitors and of whole GPUs: clients and the layout stay.

use anyhow::{ensure, Context, Result};
use geom_ipc::{Display, DisplayState, Event};
use geom_lab::protocol::GpuSpec;

use crate::support::harness::{unique, Service, Setup, EXIT_TIMEOUT};
use crate::support::{is_diagnostic_screen, BLUE, GREEN, RED, SIGCONT, SIGSTOP};

const COLORS: [(&str, [u8; 3]); 3] = [("ff0000", RED), ("00ff00", GREEN), ("0000ff", BLUE)];

/// Shows a client of its own color on each display.
fn show_colors(service: &Service) -> Result<()> {
    for (connector, (hex, color)) in service.gpus[0].connectors.iter().zip(COLORS) {
        service.client(connector, &["--fullscreen", connector, "--color", hex])?;
        service.wait_for_color(connector, color)?;
    }
    Ok(())
}

#[test]
fn monitors_come_back_in_every_order() -> Result<()> {
    let service = Service::with_monitors(3)?;
    show_colors(&service)?;
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (unplugged, plugged) in orders.iter().zip(orders.iter().rev()) {
        for connector in unplugged {
            service.machine.unplug("gpu0", *connector)?;
        }
        for connector in plugged {
            service.machine.plug("gpu0", *connector)?;
            // Its own window, or one whose display is still disconnected.
            let name = &service.gpus[0].connectors[*connector];
            service.wait_for_pixels(name, "one of the windows", |screenshot| {
                COLORS.iter().any(|(_, color)| screenshot.fraction(|pixel| pixel == *color) > 0.97)
            })?;
        }
        for (connector, (_, color)) in service.gpus[0].connectors.iter().zip(COLORS) {
            service.wait_for_color(connector, color)?;
        }
    }
    service.finish()
}

#[test]
fn windows_of_a_disconnected_display_are_shown_on_its_neighbor() -> Result<()> {
    let service = Service::with_monitors(2)?;
    let client = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.machine.unplug("gpu0", 0)?;
    service.wait_for_color("Virtual-2", RED)?;
    client.wait_for_output_removed("Virtual-1")?;
    service.machine.plug("gpu0", 0)?;
    service.wait_for_color("Virtual-1", RED)?;
    service.wait_for_pixels("Virtual-2", "its diagnostic screen", is_diagnostic_screen)?;
    // The same display came back, at its position.
    let display = service.display("Virtual-1")?;
    ensure!(display.disconnects == 1 && display.logical.x == 0, "{display:#?}");
    ensure!(service.display("Virtual-2")?.disconnects == 0);
    service.finish()
}

#[test]
fn clients_survive_without_any_monitor() -> Result<()> {
    let service = Service::with_monitors(2)?;
    let client = service.client("red", &["--fullscreen", "Virtual-2"])?;
    service.wait_for_color("Virtual-2", RED)?;
    service.machine.unplug("gpu0", 0)?;
    service.machine.unplug("gpu0", 1)?;
    client.wait_for_output_removed("Virtual-2")?;
    // A new client connects while there is nothing to show it on.
    let late = service.client("late", &["--color", "00ff00"])?;
    late.wait_for_any_configure()?;
    ensure!(service.is_running(&client.program)?, "the client ended");
    service.machine.plug("gpu0", 1)?;
    service.wait_for_pixels("Virtual-2", "one of the clients", |screenshot| {
        screenshot.fraction(|pixel| pixel == RED || pixel == GREEN) > 0.97
    })?;
    ensure!(service.is_running(&late.program)?, "the late client ended");
    service.finish()
}

#[test]
fn gpu_is_removed_and_added_again() -> Result<()> {
    let service = Setup::new(&[GpuSpec::new("gpu0", 2), GpuSpec::new("gpu1", 1)])?.start("", &[])?;
    service.client("red", &["--fullscreen", "Virtual-3"])?;
    service.wait_for_color("Virtual-3", RED)?;
    service.wait_until_gpu_open("card1", true)?;
    let gpus = service.status()?.gpus;
    let second = gpus.iter().find(|gpu| gpu.path == "/dev/dri/card1").context("the second GPU")?;
    let events = service.subscribe()?;
    service.machine.remove_gpu("gpu1")?;
    events.wait_for("the removal", |event| matches!(event, Event::GpuRemoved { gpu } if gpu == second))?;
    // Nothing holds its descriptor any more.
    service.wait_until_gpu_open("card1", false)?;
    service.wait_for_color("Virtual-2", RED)?;
    let names = service.machine.create_gpu(&GpuSpec::new("gpu1", 1))?;
    events.wait_for("the GPU", |event| matches!(event, Event::GpuAdded { gpu } if gpu == second))?;
    service.wait_for_color(&names.connectors[0], RED)?;
    service.finish()
}

/// udev reports a GPU a moment before the kernel lets it be opened, and the first process to open
/// it becomes DRM master.
#[test]
fn gpu_that_can_not_be_used_yet_is_tried_again() -> Result<()> {
    let cannot_be_opened =
        "mount --bind /dev/zero /dev/dri/card0; echo there; read end; umount /dev/dri/card0";
    let has_another_master = "exec 3<>/dev/dri/card0; echo there; read end";
    let mut setup = Setup::new(&[])?;
    for obstacle in [cannot_be_opened, has_another_master] {
        let service = setup.start_idle("", &["--guard=never"], &[])?;
        let machine = &service.machine;
        machine.signal(&service.compositor, SIGSTOP)?;
        machine.create_gpu(&GpuSpec::new("gpu0", 1))?;
        let line = format!("mkfifo /run/end; exec 0<>/run/end; {obstacle}");
        let other = machine.spawn_as_root(&unique("obstacle"), &["sh", "-c", &line], &[])?;
        machine.wait_for_log(&other, "there")?;
        machine.signal(&service.compositor, SIGCONT)?;
        if obstacle == cannot_be_opened {
            service.wait_for_notice("/dev/dri/card0")?;
        } else {
            // Open, and with no display enabled: the other process is the master.
            service.wait_until_gpu_open("card0", true)?;
        }
        ensure!(service.status()?.enabled_displays == 0, "the display was enabled all the same");
        machine.run_as_root(&unique("end"), &["sh", "-c", "echo >/run/end"])?;
        service.wait_for_enabled_displays()?;
        setup = service.into_setup()?;
        setup.machine.remove_gpu("gpu0")?;
    }
    Ok(())
}

#[test]
fn only_gpu_is_removed_and_added_again() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let client = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.machine.remove_gpu("gpu0")?;
    service.wait_until_gpu_open("card0", false)?;
    ensure!(service.is_running(&client.program)?, "the client ended");
    let names = service.machine.create_gpu(&GpuSpec::new("gpu0", 1))?;
    service.wait_for_color(&names.connectors[0], RED)?;
    service.finish()
}

#[test]
fn gpu_may_appear_after_the_start() -> Result<()> {
    let service = Setup::new(&[])?.start_idle("", &[], &[])?;
    ensure!(service.status()?.enabled_displays == 0);
    service.machine.create_gpu(&GpuSpec::new("gpu0", 1))?;
    service.wait_for_enabled_displays()?;
    ensure!(is_diagnostic_screen(&service.machine.screenshot("Virtual-1")?));
    Ok(())
}

#[test]
fn named_display_is_waited_for() -> Result<()> {
    let spec = GpuSpec { connectors: vec![true, false], ..GpuSpec::new("gpu0", 2) };
    let service = Setup::new(&[spec])?.start_idle("", &["-w", "Virtual-2"], &[])?;
    ensure!(service.status()?.enabled_displays == 0);
    ensure!(service.machine.screenshot("Virtual-1").is_err(), "another display is driven");
    service.machine.plug("gpu0", 1)?;
    service.wait_for_enabled_displays()
}

#[test]
fn unplugged_named_display_is_handled_by_connection_type() -> Result<()> {
    let mut setup = Setup::with_monitors(1)?;
    // Disconnects that the service survives; the next one ends it.
    for (flags, survived) in
        [("DISCONNECT_ONCE", 0), ("DISCONNECT_ONCE|KEEP_CONNECTION_OPEN", 1), ("KEEP_CONNECTION_OPEN", 3)]
    {
        let service = setup.start("", &["-w", "Virtual-1", "--connect-type", flags])?;
        for disconnects in 1..=survived {
            service.machine.unplug("gpu0", 0)?;
            service.wait_for_display("Virtual-1", "disconnected", |display| {
                display.disconnects == disconnects
            })?;
            service.machine.plug("gpu0", 0)?;
            service.wait_for_pixels("Virtual-1", "its diagnostic screen", is_diagnostic_screen)?;
        }
        if flags == "KEEP_CONNECTION_OPEN" {
            return service.finish();
        }
        service.machine.unplug("gpu0", 0)?;
        service.wait_until_ended().context(flags)?;
        service.machine.plug("gpu0", 0)?;
        setup = Setup { machine: service.machine, gpus: service.gpus };
    }
    Ok(())
}

/// A probe is slow on hardware, most of all without a monitor. The kernel logs each (drm.debug:
/// KMS).
#[test]
fn connectors_are_probed_once_for_an_event() -> Result<()> {
    let service = Service::with_monitors(2)?;
    service.machine.write("/sys/module/drm/parameters/debug", "4")?;
    service.machine.unplug("gpu0", 1)?;
    let disconnected = |display: &Display| display.state == DisplayState::Disconnected;
    service.wait_for_display("Virtual-2", "disconnected", disconnected)?;
    let dmesg = service.machine.spawn_as_root(&unique("dmesg"), &["dmesg"], &[])?;
    service.machine.wait(&dmesg, EXIT_TIMEOUT)?;
    let log = std::fs::read_to_string(&dmesg.log)?;
    let probes = |connector: &str| {
        let probe = |line: &&str| line.contains("drm_helper_probe_single_connector_modes");
        log.lines().filter(probe).filter(|line| line.ends_with(&format!(":{connector}]"))).count()
    };
    let counts = (probes("Virtual-1"), probes("Virtual-2"));
    ensure!(counts.0 > 0 && counts.0 == counts.1, "probes of each connector: {counts:?}");
    service.finish()
}
