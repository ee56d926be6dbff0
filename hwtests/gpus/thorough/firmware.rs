//! The firmware's framebuffer: simpledrm shows windows on it until a driver takes the GPU, and they
//! stay.

use anyhow::{ensure, Context, Result};
use geom_ipc::{DisplayState, Event};
use geom_lab::protocol::{ExitStatus, GpuNames};
use geom_lab::qemu::{Device, Suite};
use geom_lab::{Machine, Screenshot};

use super::render_gpu::{has_triangle, nodes};
use crate::gpus::rig::{Rig, RunningRig};
use crate::support::{GREEN, RED};

const GL_RENDERER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hwtests/gpus/gl_renderer.py");

fn firmware(machine: &Machine, rig: &geom_lab::qemu::Hardware) -> Result<GpuNames> {
    rig.firmware_framebuffer(machine)?.context("simpledrm has no card")
}

/// Boots with simpledrm alone, and starts the service on it. `images` begins the names of the
/// screenshots that are kept, if any.
fn on_firmware(devices: &[Device], images: Option<&str>) -> Result<RunningRig> {
    let rig = Rig::without_drivers(Suite::Simpledrm, devices)?;
    let image = rig.hardware.screenshot(0, 0)?;
    keep(&image, images, "firmware")?;
    let rig = rig.start()?;
    let gpu = rig.service.gpu()?;
    ensure!((gpu.driver.as_str(), gpu.renderer.as_str()) == ("simpledrm", "pixman"), "{gpu:#?}");
    let displays = rig.service.displays()?;
    let [display] = &displays[..] else { anyhow::bail!("{displays:#?}") };
    let names = firmware(rig.machine(), &rig.hardware)?;
    ensure!(names.connectors == [display.name.as_str()], "{names:?}, {display:#?}");
    let mode = display.mode.context("the display has no mode")?;
    let size = (i64::from(mode.width), i64::from(mode.height));
    let shown = (i64::from(image.width), i64::from(image.height));
    ensure!(size == shown, "the mode is {size:?}, and the firmware's {shown:?}");
    Ok(rig)
}

/// Keeps a screenshot for the documentation, if `HWTESTS_IMAGES` names a folder.
fn keep(screenshot: &Screenshot, images: Option<&str>, step: &str) -> Result<()> {
    let Some((prefix, folder)) = images.zip(std::env::var_os("HWTESTS_IMAGES")) else { return Ok(()) };
    screenshot.save(&std::path::Path::new(&folder).join(format!("{prefix}-{step}.png")))
}

/// Waits until the firmware's framebuffer shows something.
fn wait_for_firmware_pixels(
    rig: &RunningRig,
    what: &str,
    expected: impl Fn(&Screenshot) -> bool,
) -> Result<Screenshot> {
    rig.service.wait_for_answer(what, || rig.hardware.screenshot(0, 0), expected)
}

fn is_red(screenshot: &Screenshot) -> bool {
    screenshot.fraction(|pixel| pixel == RED) > 0.97
}

/// Loads the driver of the first GPU. It has taken over: the firmware's card and display are gone,
/// and its own display is in their place. Returns the display's name.
fn load_driver(rig: &RunningRig) -> Result<String> {
    let events = rig.service.subscribe()?;
    let names = rig.hardware.load_driver(rig.machine(), 0)?;
    let driver = rig.hardware.device(0)?.driver();
    events.wait_for(
        "the driver's GPU",
        |event| matches!(event, Event::GpuAdded { gpu } if gpu.driver == driver),
    )?;
    let connector = names.connectors.first().context("the driver has no connector")?.clone();
    rig.service.wait_for_display(&connector, "enabled", |display| display.state == DisplayState::Enabled)?;
    ensure!(rig.hardware.firmware_framebuffer(rig.machine())?.is_none(), "simpledrm is still there");
    let gpus = rig.service.status()?.gpus;
    ensure!(gpus.iter().filter(|gpu| gpu.driver == "simpledrm").count() == 0, "{gpus:#?}");
    let displays = rig.service.displays()?;
    let unknown = displays.iter().filter(|display| display.name.starts_with("Unknown"));
    ensure!(unknown.count() == 0, "the firmware's display is still listed: {displays:#?}");
    let display = rig.ensure_driven(0, 0)?;
    ensure!((display.logical.x, display.logical.y) == (0, 0), "not in its place: {display:#?}");
    ensure!(display.disconnects == 0, "{display:#?}");
    // Not all notices: page flips time out on a loaded host.
    let notices = rig.service.status()?.notices;
    ensure!(!notices.iter().any(|notice| notice.contains("/dev/dri")), "{notices:?}");
    Ok(connector)
}

#[test]
fn window_goes_from_the_firmware_to_bochs() -> Result<()> {
    let rig = on_firmware(&[Device::StdVga], None)?;
    let client = rig.service.client("early", &["--fullscreen", "--feedback"])?;
    wait_for_firmware_pixels(&rig, "the window", is_red)?;
    let before = rig.service.window()?;
    let connector = load_driver(&rig)?;
    rig.wait_for_color(0, 0, RED)?;
    ensure!(rig.service.is_running(&client.program)?, "the client ended");
    let after = rig.service.window()?;
    ensure!(after.id == before.id && after.fullscreen, "{before:#?}, {after:#?}");
    ensure!(after.assigned_output.as_ref() == Some(&connector), "{after:#?}");
    let own = nodes(&rig, 0)?;
    client.wait_for_main_device("the driver's device", |device| own.iter().any(|node| node == device))?;
    rig.service.end()
}

/// What GL_RENDERER is for a client that starts now.
fn gl_renderer(rig: &RunningRig) -> Result<String> {
    let (status, output) = rig.service.run_program(&["python3", GL_RENDERER])?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}: {output}");
    Ok(output.trim().lines().last().unwrap_or_default().to_owned())
}

/// Clients that start after the driver are accelerated, and those that run are sent its device.
#[test]
fn clients_are_accelerated_once_virgl_has_taken_the_gpu() -> Result<()> {
    let rig = on_firmware(&[Device::VirtioVgaGl], Some("simpledrm"))?;
    let terminal = rig.service.program("foot", &TERMINAL)?;
    let is_shown = |screenshot: &Screenshot| {
        let text = screenshot.fraction(|pixel| pixel == GREEN);
        text > 0.001 && text < 0.5
    };
    let before = wait_for_firmware_pixels(&rig, "the terminal's text", is_shown)?;
    keep(&before, Some("simpledrm"), "window")?;
    let listening = rig.service.client("listening", &["--feedback"])?;
    let main = listening.wait_for_main_device("a main device", |_| true)?;
    listening.terminate()?;
    let early = rig.service.client("early", &["--feedback"])?;
    early.wait_for_main_device("the same main device", |device| device == main)?;
    let renderer = gl_renderer(&rig)?;
    ensure!(renderer.contains("llvmpipe"), "GL_RENDERER on the firmware's framebuffer: {renderer}");

    load_driver(&rig)?;
    let gpu = rig.service.gpu()?;
    ensure!(gpu.renderer == "gles", "{gpu:#?}");
    let own = nodes(&rig, 0)?;
    let is_node = |device: &str| device.starts_with("226:1") && own.iter().any(|node| node == device);
    early.wait_for_main_device("the driver's render node", is_node)?;
    early.terminate()?;
    let new = rig.service.client("new", &["--feedback"])?;
    new.wait_for_main_device("the driver's render node", is_node)?;
    new.terminate()?;
    rig.wait_for_pixels(0, 0, "the terminal as before", |screenshot| *screenshot == before)?;
    keep(&rig.screenshot(0, 0)?, Some("simpledrm"), "driver")?;
    ensure!(rig.service.is_running(&terminal)?, "the terminal ended");

    let renderer = gl_renderer(&rig)?;
    ensure!(renderer.contains("virgl"), "GL_RENDERER with the driver: {renderer}");
    rig.service.program("simple-egl", &["weston-simple-egl", "-f"])?;
    rig.wait_for_pixels(0, 0, "the triangle of weston-simple-egl", has_triangle)?;
    keep(&rig.screenshot(0, 0)?, Some("simpledrm"), "gl-client")?;
    rig.service.end()
}

/// A terminal that shows where it was started, without a blinking cursor.
const TERMINAL: [&str; 8] = [
    "foot",
    "--override=colors.background=101418",
    "--override=colors.foreground=00ff00",
    "--override=font=monospace:size=14",
    // The firmware does not know the monitor's size, and the driver does.
    "--override=dpi-aware=no",
    "sh",
    "-c",
    "echo This terminal was started on:; /run/bin/geom_compositor displays; printf '\\033[?25l'; exec sleep 1000",
];

/// A FIFO: udev handles an event until something is written to it.
const BUSY: &str = "/tmp/busy";
/// What a program of `--exec` gets as GL_RENDERER.
const RENDERER: &str = "/tmp/renderer";

/// Starts the service on the firmware's framebuffer, with a program, while udev is busy.
fn with_busy_udev(device: Device, arguments: &[&str]) -> Result<RunningRig> {
    let rig = Rig::without_drivers(Suite::Simpledrm, &[device])?;
    let machine = &rig.setup.machine;
    machine.run_as_root("mkfifo", &["mkfifo", BUSY])?;
    let rule = format!("KERNEL==\"tty7\", RUN+=\"/bin/sh -c 'read line <{BUSY}'\"\n");
    machine.write("/run/udev/rules.d/98-busy.rules", &rule)?;
    machine.run_as_root("reload", &["udevadm", "control", "--reload"])?;
    machine.run_as_root("trigger", &["udevadm", "trigger", "--name-match=tty7"])?;
    machine.wait_until("udev's queue", |machine| {
        Ok(machine.read_dir("/run/udev")?.iter().any(|name| name == "queue"))
    })?;
    let program = format!("python3 {GL_RENDERER} >{RENDERER} 2>&1");
    let arguments = [&["--guard=never", "--exec", &program], arguments].concat();
    let service = rig.setup.start_idle("", &arguments, &[])?;
    ensure!(service.gpu()?.driver == "simpledrm", "{:#?}", service.gpu()?);
    ensure!(service.machine.read(RENDERER).is_err(), "the program has started");
    Ok(RunningRig { service, hardware: rig.hardware })
}

fn wait_for_renderer(rig: &RunningRig, expected: &str) -> Result<()> {
    rig.machine().wait_until(&format!("{expected} in {RENDERER}"), |machine| {
        Ok(machine.read(RENDERER).is_ok_and(|text| text.contains(expected)))
    })
}

/// Programs choose their renderer once: they start when the driver is there. A display of the
/// driver that the service is not to wait for is not missing yet.
#[test]
fn programs_wait_for_the_driver_while_udev_loads_drivers() -> Result<()> {
    let named = ["--display", "Virtual-1", "--connect-type", "DISCONNECT_ONCE"];
    let rig = with_busy_udev(Device::VirtioVgaGl, &named)?;
    load_driver(&rig)?;
    wait_for_renderer(&rig, "virgl")?;
    rig.service.end()
}

#[test]
fn programs_start_without_a_driver_once_udev_has_loaded_all() -> Result<()> {
    let rig = with_busy_udev(Device::StdVga, &[])?;
    rig.machine().write(BUSY, "\n")?;
    wait_for_renderer(&rig, "llvmpipe")?;
    rig.service.end()
}

/// A service that starts before any card, and a framebuffer that is gone when the driver comes.
#[test]
fn nothing_is_reported_of_a_framebuffer_that_is_gone() -> Result<()> {
    let rig = Rig::without_drivers(Suite::Simpledrm, &[Device::StdVga])?;
    let machine = &rig.setup.machine;
    firmware(machine, &rig.hardware)?;
    machine.write("/sys/bus/platform/drivers/simple-framebuffer/unbind", "simple-framebuffer.0")?;
    machine.run_as_root("settle", &["udevadm", "settle"])?;
    let rig = rig.start_idle()?;
    ensure!(rig.service.status()?.gpus.is_empty());
    let client = rig.service.client("early", &["--fullscreen"])?;
    client.wait_for_any_configure()?;
    load_driver(&rig)?;
    rig.wait_for_color(0, 0, RED)?;
    rig.service.end()
}

/// The firmware's framebuffer stays in use until the driver of its own hardware comes.
#[test]
fn driver_of_another_gpu_leaves_the_firmware_framebuffer() -> Result<()> {
    let rig = on_firmware(&[Device::StdVga, Device::VirtioGpu { heads: 1 }], None)?;
    rig.service.client("early", &["--fullscreen"])?;
    wait_for_firmware_pixels(&rig, "the window", is_red)?;
    let firmware = rig.service.window()?.display;
    rig.hardware.load_driver(rig.machine(), 1)?;
    rig.show(1, 0, GREEN)?;
    ensure!(rig.service.status()?.gpus.len() == 2, "{:#?}", rig.service.status()?.gpus);
    wait_for_firmware_pixels(&rig, "the window", is_red)?;
    let windows = rig.service.windows()?;
    ensure!(windows.iter().any(|window| window.display == firmware), "{windows:#?}");
    load_driver(&rig)?;
    rig.wait_for_color(0, 0, RED)?;
    rig.wait_for_color(1, 0, GREEN)?;
    rig.service.end()
}
