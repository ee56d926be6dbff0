//! Debian's kernels under QEMU, with the GPUs that it emulates.
//!
//! [`boot`] returns a [`Machine`], which is the guest with the same interface as on UML, and a
//! [`Hardware`], which is QEMU's side of it: drivers that are loaded on request, monitors, removal
//! of GPUs, and screenshots of what a monitor gets. The guest's root is the host's, read only, and
//! its process 1 is `geom-lab-guest`, as on UML.
//!
//! QEMU emulates the processor (TCG), so no /dev/kvm is needed; a boot takes about 10 s.

mod device;
mod hardware;
mod monitor;
mod qmp;
mod x_server;

use std::fs::File;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

pub use device::Device;
pub use hardware::Hardware;

use crate::machine::{guest_program, Booting, Machine, Pace};
use crate::protocol::{MODULES_TAG, SHARED_TAG};
use qmp::Qmp;
use x_server::XServer;

/// Upper limits: an emulated processor is 10 to 50 times slower than the host's, and other machines
/// may share it.
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);
const PACE: Pace = Pace { step_timeout: Duration::from_secs(60), poll_interval: Duration::from_millis(100) };

/// How long QEMU may take to connect to its sockets.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The slot of the first GPU on the PCI bus; the next ones follow.
const FIRST_SLOT: usize = 0x10;

/// Fetches the suites' kernels.
const PREPARE: &str = "qemu/prepare.sh";

/// UEFI firmware of Debian's package ovmf: code, and a template of its variables.
const FIRMWARE: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];

/// What kernel boots: a Debian suite's default one, or our own build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Debian 12: Linux 6.1.
    Bookworm,
    /// Debian 13: Linux 6.12.
    Trixie,
    /// Unstable: Linux 7, whose virtual GPUs have vblank timers.
    Sid,
    /// No suite: Linux 7 of Debian's newest source, built with simpledrm, which all suites leave
    /// out (lab/qemu/simpledrm).
    Simpledrm,
}

impl Suite {
    /// Returns the script that prepares the kernel and prints its folder, and its arguments.
    fn recipe(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Bookworm => (PREPARE, &["bookworm"]),
            Self::Trixie => (PREPARE, &["trixie"]),
            Self::Sid => (PREPARE, &["sid"]),
            Self::Simpledrm => ("qemu/simpledrm/build.sh", &[]),
        }
    }
}

/// What to boot.
#[derive(Debug, Clone)]
pub struct QemuOptions {
    /// The kernel.
    pub suite: Suite,
    /// The GPUs. No driver is loaded until [`Hardware::load_driver`].
    pub devices: Vec<Device>,
    /// Memory in MiB; the host provides only the pages that the guest touches.
    pub memory_mib: u32,
    /// Number of CPUs, each a thread of the host.
    pub processors: u32,
}

impl QemuOptions {
    /// Returns a machine with these GPUs.
    pub fn new(suite: Suite, devices: &[Device]) -> Self {
        Self { suite, devices: devices.to_vec(), memory_mib: 2048, processors: 2 }
    }
}

/// Returns the folder of a kernel, which is fetched or built the first time.
///
/// # Errors
/// If a program is missing or the archive cannot be read.
fn kernel_folder(suite: Suite) -> Result<PathBuf> {
    let (script, arguments) = suite.recipe();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new(&script)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| script.display().to_string())?;
    ensure!(output.status.success(), "{} {arguments:?}: {}", script.display(), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// Boots a guest and waits for udev.
///
/// # Errors
/// If QEMU or a kernel is missing, or the guest does not boot; the error contains its console.
pub fn boot(options: &QemuOptions) -> Result<(Machine, Hardware)> {
    let kernel = kernel_folder(options.suite)?;
    let shared_dir = tempfile::Builder::new().prefix("geom-lab-qemu-").tempdir()?;
    let shared = shared_dir.path().to_owned();
    let with_gl = options.devices.iter().any(|device| device.has_gl());
    let x_server = with_gl.then(XServer::start).transpose()?;
    let [line, monitor] = ["line", "qmp"].map(|name| UnixListener::bind(shared.join(name)));
    let (line, monitor) = (line?, monitor?);
    let mut command = command(options, &kernel, &shared)?;
    if let Some(server) = &x_server {
        command
            .env("DISPLAY", &server.display)
            .env("SDL_VIDEODRIVER", "x11")
            .env("LIBGL_ALWAYS_SOFTWARE", "1");
    }
    let child = command.spawn().context("start qemu-system-x86_64; its package: tools/packages.sh qemu")?;
    let mut booting = Booting(Some(child));
    let accepted = accept(&line, &mut booting).and_then(|line| Ok((line, accept(&monitor, &mut booting)?)));
    let (line, monitor) = accepted.with_context(|| {
        let log = std::fs::read_to_string(shared.join("qemu.log")).unwrap_or_default();
        format!("start QEMU; its output:\n{log}")
    })?;
    let qmp = Qmp::open(monitor)?;
    let hardware = Hardware::new(&options.devices, qmp, &shared, x_server)?;
    let machine = Machine::wait_for_boot(booting, line, shared_dir, BOOT_TIMEOUT, PACE)?;
    Ok((machine, hardware))
}

/// Returns the path of the socket of a head's VNC server.
fn head_socket(shared: &Path, device: usize, head: usize) -> PathBuf {
    shared.join(format!("gpu{device}-head{head}"))
}

/// Returns QEMU's id of a GPU.
fn device_id(device: usize) -> String {
    format!("gpu{device}")
}

/// Returns the PCI address of a GPU as the kernel writes it.
fn pci_address(device: usize) -> String {
    format!("0000:00:{:02x}.0", FIRST_SLOT + device)
}

/// Returns QEMU's command line.
fn command(options: &QemuOptions, kernel: &Path, shared: &Path) -> Result<Command> {
    let log = File::create(shared.join("qemu.log"))?;
    let at = |name: &str| shared.join(name).display().to_string();
    let mut command = Command::new("qemu-system-x86_64");
    let initramfs = kernel.join("initramfs");
    let init = guest_program()?;
    let init = init.display();
    let root = match initramfs.exists() {
        true => {
            command.arg("-initrd").arg(initramfs);
            format!("geomlab.init={init}")
        }
        // What mounts the root is built in. cache=loose: see qemu/init.sh.
        false => format!(
            "root=root rootfstype=9p rootflags=trans=virtio,version=9p2000.L,cache=loose,msize=262144 ro \
             init={init}"
        ),
    };
    command
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-machine", "q35", "-vga", "none"])
        .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", &options.processors.to_string(), "-m", &options.memory_mib.to_string()])
        .arg("-kernel")
        .arg(kernel.join("vmlinuz"))
        .arg("-append")
        // mitigations: there is no other user, and they slow down an emulated processor.
        // no_timer_check: on a loaded host, too few interrupts come in the time that the kernel
        // gives them, and it panics (check_timer() in arch/x86/kernel/apic/io_apic.c).
        .arg(format!("console=ttyS0 quiet panic=-1 mitigations=off no_timer_check {root}"))
        .args(["-chardev", &format!("file,id=console,path={}", at("console.log"))])
        .args(["-chardev", &format!("socket,id=line,path={}", at("line"))])
        .args(["-serial", "chardev:console", "-serial", "chardev:line"])
        .args(["-chardev", &format!("socket,id=qmp,path={}", at("qmp"))])
        .args(["-mon", "chardev=qmp,mode=control"]);
    let modules = kernel.display().to_string();
    let shared_path = shared.display().to_string();
    for (tag, path, access) in [
        ("root", "/", ",readonly=on,multidevs=remap"),
        (SHARED_TAG, shared_path.as_str(), ""),
        (MODULES_TAG, modules.as_str(), ",readonly=on"),
    ] {
        command
            .args(["-fsdev", &format!("local,id={tag},path={path},security_model=none{access}")])
            .args(["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
    }
    for (index, device) in options.devices.iter().enumerate() {
        let Some(argument) = device.argument() else { continue };
        let (id, slot) = (device_id(index), FIRST_SLOT + index);
        command.args(["-device", &format!("{argument},id={id},addr={slot:#x}")]);
        for head in 0..device.pluggable_heads() {
            let socket = head_socket(shared, index, head);
            command.args(["-vnc", &format!("unix:{},display={id},head={head}", socket.display())]);
        }
    }
    let with_gl = options.devices.iter().any(|device| device.has_gl());
    command.args(["-display", if with_gl { "sdl,gl=on" } else { "none" }]);
    if options.devices.iter().any(|device| device.needs_uefi()) {
        let [code, template] = FIRMWARE;
        let variables = at("firmware-variables");
        std::fs::copy(template, &variables)
            .with_context(|| format!("copy {template}; its package: tools/packages.sh qemu"))?;
        command
            .args(["-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={code}")])
            .args(["-drive", &format!("if=pflash,unit=1,format=raw,file={variables}")]);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    Ok(command)
}

/// Waits until QEMU connects to a socket.
fn accept(listener: &UnixListener, booting: &mut Booting) -> Result<UnixStream> {
    let deadline = Instant::now() + START_TIMEOUT;
    // QEMU's exit is no event of the socket.
    let interval = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    loop {
        if poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&interval))? > 0 {
            return Ok(listener.accept()?.0);
        }
        if let Some(status) = booting.0.as_mut().map(Child::try_wait).transpose()?.flatten() {
            bail!("QEMU has exited: {status}");
        }
        ensure!(Instant::now() < deadline, "QEMU did not start within {START_TIMEOUT:?}");
    }
}
