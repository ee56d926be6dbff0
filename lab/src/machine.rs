//! A virtual machine from boot to power off.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use rustix::process::{kill_process_group, Pid, Signal};

use crate::protocol::{
    ExitStatus, GpuNames, GpuSpec, Measurement, ProgramSpec, Request, Response, Trigger, VtState, SHARED,
};
use crate::serial::SerialLine;
use crate::{Keyboard, Lid, Pen, Pointer, Screenshot, Touch};

/// Upper limit for a single step of a UML machine, far above what one takes on a loaded host.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// How fast a machine is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Upper limit for a single step.
    pub step_timeout: Duration,
    /// Time between two checks of a condition: each is a request, which costs the guest time.
    pub poll_interval: Duration,
}

/// How long a guest may take to power off before its kernel is killed.
const POWER_OFF_TIMEOUT: Duration = Duration::from_secs(3);

/// How much of each log [`Machine::wait_until`] prints when it fails.
const LOG_TAIL_LINES: usize = 25;

/// How many logs it prints: those that were written last.
const PRINTED_LOGS: usize = 12;

/// What to boot.
#[derive(Debug, Clone)]
pub struct BootOptions {
    /// Memory in MiB; the host provides only the pages that the guest touches.
    pub memory_mib: u32,
    /// Number of CPUs.
    pub processors: u32,
    /// If set, Debian's systemd is process 1.
    pub systemd: Option<SystemdOptions>,
}

/// A guest that boots with systemd.
#[derive(Debug, Clone)]
pub struct SystemdOptions {
    /// A directory whose usr/local and etc are copied over the guest's.
    pub root: PathBuf,
    /// Units to enable before the boot.
    pub enabled_units: Vec<String>,
    /// Number of monitors of the GPU that exists at boot.
    pub monitors: usize,
    /// Additional arguments of the kernel's command line.
    pub kernel_args: Vec<String>,
}

impl Default for BootOptions {
    fn default() -> Self {
        Self { memory_mib: 1536, processors: 2, systemd: None }
    }
}

/// Returns the path of the lab's kernel: `LAB_KERNEL`, or the cached one, which is built first if
/// there is none.
///
/// # Errors
/// If the build fails.
pub fn kernel() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LAB_KERNEL") {
        return Ok(path.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel/build.sh");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| script.display().to_string())?;
    ensure!(output.status.success(), "{}: {}", script.display(), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// Returns the guest's process 1: in the directory of this program, or one up if this is a test.
pub(crate) fn guest_program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    for directory in own.ancestors().skip(1).take(2) {
        let path = directory.join("geom-lab-guest");
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("no geom-lab-guest next to {}; build it: cargo build -p geom-lab", own.display())
}

/// A program in the guest.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its process id in the guest.
    pub pid: u32,
    /// The file on the host that gets its standard output and error.
    pub log: PathBuf,
}

/// A booted guest. Dropping it powers it off.
pub struct Machine {
    line: SerialLine,
    /// The process that runs the guest: UML's kernel, or QEMU.
    process: Child,
    shared_dir: tempfile::TempDir,
    pace: Pace,
    screenshots: std::sync::atomic::AtomicU32,
}

impl Machine {
    /// Boots a guest and waits for udev and the guest's services.
    ///
    /// # Errors
    /// If there is no kernel or the guest does not boot; the error contains the guest's console.
    pub fn boot(options: &BootOptions) -> Result<Self> {
        let kernel = kernel()?;
        let shared_dir = tempfile::Builder::new().prefix("geom-lab-").tempdir()?;
        let (host_end, guest_end) = UnixStream::pair()?;
        let console = File::create(shared_dir.path().join("console.log"))?;
        let mut systemd = Vec::new();
        if let Some(wanted) = &options.systemd {
            let copied = Command::new("cp")
                .arg("-a")
                .arg(&wanted.root)
                .arg(shared_dir.path().join("root"))
                .status()?;
            ensure!(copied.success(), "copy {}: {copied}", wanted.root.display());
            systemd.push(format!("geomlab.systemd={}", wanted.enabled_units.join(",")));
            systemd.push(format!("geomlab.monitors={}", wanted.monitors));
            let quiet = ["systemd.unit=graphical.target", "systemd.getty_auto=no", "systemd.show_status=no"];
            systemd.extend(quiet.map(str::to_owned));
            systemd.extend(wanted.kernel_args.iter().cloned());
        }
        let mut command = Command::new(kernel);
        command
            .arg("seccomp=on")
            .arg(format!("ncpus={}", options.processors))
            .arg(format!("mem={}M", options.memory_mib))
            .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
            .arg(format!("init={}", guest_program()?.display()))
            .args(["con=null", "ssl=null", "ssl0=null,fd:1", "ssl1=fd:3,fd:3", "console=ttyS0", "quiet"])
            .arg("vkms.create_default_dev=0")
            .args(systemd)
            .arg(format!("uml_dir={}", shared_dir.path().display()))
            .arg("umid=uml")
            .arg(format!("geomlab.dir={}", shared_dir.path().display()))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", shared_dir.path())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .process_group(0);
        let line = guest_end.as_raw_fd();
        // SAFETY: the closure makes only async-signal-safe system calls, and `guest_end` lives
        // until the child runs.
        unsafe {
            command.pre_exec(move || {
                let line = std::os::fd::BorrowedFd::borrow_raw(line);
                if line.as_raw_fd() == 3 {
                    rustix::io::fcntl_setfd(line, rustix::io::FdFlags::empty())?;
                } else {
                    let mut third = <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(3);
                    rustix::io::dup2(line, &mut third)?;
                    std::mem::forget(third);
                }
                Ok(())
            });
        }
        let child = command.spawn().context("start the lab's kernel")?;
        drop(guest_end);
        let pace = Pace { step_timeout: STEP_TIMEOUT, poll_interval: Duration::from_millis(10) };
        Self::wait_for_boot(Booting(Some(child)), host_end, shared_dir, STEP_TIMEOUT, pace)
    }

    /// Waits until the guest of a new process answers on its serial line.
    pub(crate) fn wait_for_boot(
        mut booting: Booting,
        line: UnixStream,
        shared_dir: tempfile::TempDir,
        timeout: Duration,
        pace: Pace,
    ) -> Result<Self> {
        let line = SerialLine::open(line, timeout).with_context(|| {
            let console = std::fs::read_to_string(shared_dir.path().join("console.log")).unwrap_or_default();
            format!("boot the lab; its console:\n{console}")
        })?;
        let process = booting.0.take().context("the lab's kernel has exited")?;
        Ok(Self { line, process, shared_dir, pace, screenshots: Default::default() })
    }

    /// Returns the directory that host and guest share; the guest mounts it at [`SHARED`].
    ///
    /// It also has the logs: `console.log` of the guest's kernel and `<name>.log` of each program.
    /// It is a temporary directory that is removed with the machine; with `LAB_KEEP=1` in the
    /// environment it stays, and its path is printed.
    pub fn shared_dir(&self) -> &Path {
        self.shared_dir.path()
    }

    fn call(&self, request: Request) -> Result<Response> {
        self.line.call(request, self.pace.step_timeout)
    }

    /// Sends a request without a result.
    pub(crate) fn execute(&self, request: Request) -> Result<()> {
        self.call(request).map(drop)
    }

    fn text(&self, request: Request) -> Result<String> {
        match self.call(request)? {
            Response::Text(text) => Ok(text),
            other => bail!("unexpected response {other:?}"),
        }
    }

    pub(crate) fn names(&self, request: Request) -> Result<Vec<String>> {
        match self.call(request)? {
            Response::Names(names) => Ok(names),
            other => bail!("unexpected response {other:?}"),
        }
    }

    /// Creates a virtual GPU.
    ///
    /// # Errors
    /// If the kernel does not accept the description.
    pub fn create_gpu(&self, spec: &GpuSpec) -> Result<GpuNames> {
        match self.call(Request::CreateGpu(spec.clone()))? {
            Response::Gpu(names) => Ok(names),
            other => bail!("unexpected response {other:?}"),
        }
    }

    /// Removes a GPU, as if it were unplugged.
    ///
    /// # Errors
    /// If there is no such GPU.
    pub fn remove_gpu(&self, name: &str) -> Result<()> {
        self.execute(Request::RemoveGpu { name: name.into() })
    }

    /// Connects a monitor to the connector of that index.
    ///
    /// # Errors
    /// If there is no such connector.
    pub fn plug(&self, gpu: &str, connector: usize) -> Result<()> {
        self.execute(Request::SetConnected { gpu: gpu.into(), connector, connected: true })
    }

    /// Disconnects the monitor of the connector of that index.
    ///
    /// # Errors
    /// If there is no such connector.
    pub fn unplug(&self, gpu: &str, connector: usize) -> Result<()> {
        self.execute(Request::SetConnected { gpu: gpu.into(), connector, connected: false })
    }

    /// Sets the EDID that the connector's next probe finds (debugfs' edid_override).
    ///
    /// # Errors
    /// If there is no such connector or the kernel refuses the EDID.
    pub fn set_monitor(&self, gpu: &GpuNames, connector: usize, edid: &[u8]) -> Result<()> {
        let name = gpu.connectors.get(connector).context("the GPU has no such connector")?;
        let file = format!("edid-{name}");
        std::fs::write(self.shared_dir.path().join(&file), edid)?;
        let card = gpu.card.trim_start_matches("card");
        let to = format!("/sys/kernel/debug/dri/{card}/{name}/edid_override");
        self.run_as_root(&file, &["cp", &format!("{SHARED}/{file}"), &to])
    }

    /// Creates a keyboard.
    ///
    /// # Errors
    /// If the name is in use.
    pub fn keyboard(&self, name: &str) -> Result<Keyboard<'_>> {
        Keyboard::create(self, name)
    }

    /// Creates a mouse.
    ///
    /// # Errors
    /// If the name is in use.
    pub fn pointer(&self, name: &str) -> Result<Pointer<'_>> {
        Pointer::create(self, name)
    }

    /// Creates the switch of a laptop's lid.
    ///
    /// # Errors
    /// If the name is in use.
    pub fn lid(&self, name: &str) -> Result<Lid<'_>> {
        Lid::create(self, name)
    }

    /// Creates a touchscreen.
    ///
    /// # Errors
    /// If the name is in use.
    pub fn touch(&self, name: &str) -> Result<Touch<'_>> {
        Touch::create(self, name)
    }

    /// Creates a pen display with a pen.
    ///
    /// # Errors
    /// If the name is in use.
    pub fn pen(&self, name: &str) -> Result<Pen<'_>> {
        Pen::create(self, name)
    }

    /// Starts a program.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn spawn(&self, spec: ProgramSpec) -> Result<Program> {
        let log = self.shared_dir.path().join(format!("{}.log", spec.log));
        match self.call(Request::Spawn(spec))? {
            Response::Pid(pid) => Ok(Program { pid, log }),
            other => bail!("unexpected response {other:?}"),
        }
    }

    /// Measures the time from a trigger until a file of the guest contains `text` at least `count`
    /// times.
    ///
    /// # Errors
    /// If the trigger fails or the text does not appear within 30 s.
    pub fn measure(&self, trigger: Trigger, path: &str, text: &str, count: usize) -> Result<Measurement> {
        let timeout_ms = self.pace.step_timeout.as_millis() as u64;
        let request = Request::Measure { trigger, path: path.into(), text: text.into(), count, timeout_ms };
        match self.line.call(request, self.pace.step_timeout * 2)? {
            Response::Measured(measurement) => Ok(measurement),
            other => bail!("unexpected response {other:?}"),
        }
    }

    /// Starts a program as the guest's ordinary user; its output goes to `<log>.log`.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn spawn_as_user(&self, log: &str, argv: &[&str], env: &[(&str, &str)]) -> Result<Program> {
        self.spawn(spec(log, argv, env, false))
    }

    /// Starts a program as root; its output goes to `<log>.log`.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn spawn_as_root(&self, log: &str, argv: &[&str], env: &[(&str, &str)]) -> Result<Program> {
        self.spawn(spec(log, argv, env, true))
    }

    /// Returns how a program exited, or `None` if it still runs after `timeout`.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn wait(&self, program: &Program, timeout: Duration) -> Result<Option<ExitStatus>> {
        let request = Request::Wait { pid: program.pid, timeout_ms: timeout.as_millis() as u64 };
        match self.line.call(request, timeout + self.pace.step_timeout)? {
            Response::Exited(status) => Ok(status),
            other => bail!("unexpected response {other:?}"),
        }
    }

    /// Runs a program as root until it exits.
    ///
    /// # Errors
    /// If it does not exit with status 0.
    pub fn run_as_root(&self, log: &str, argv: &[&str]) -> Result<()> {
        let program = self.spawn_as_root(log, argv, &[])?;
        match self.wait(&program, self.pace.step_timeout)? {
            Some(ExitStatus::Exited(0)) => Ok(()),
            other => {
                bail!("{argv:?}: {other:?}: {}", std::fs::read_to_string(&program.log).unwrap_or_default())
            }
        }
    }

    /// Sends a signal by number (signal(7)).
    ///
    /// # Errors
    /// If the program has exited.
    pub fn signal(&self, program: &Program, signal: i32) -> Result<()> {
        self.execute(Request::Signal { pid: program.pid, signal })
    }

    /// Returns what a connector's monitor shows now.
    ///
    /// # Errors
    /// If the connector has no CRTC.
    pub fn screenshot(&self, connector: &str) -> Result<Screenshot> {
        let number = self.screenshots.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let file = format!("screenshot-{number}.rgba");
        let response = self.call(Request::Screenshot { connector: connector.into(), file: file.clone() })?;
        let Response::Screenshot { width, height } = response else {
            bail!("unexpected response {response:?}")
        };
        let path = self.shared_dir.path().join(file);
        let rgba = std::fs::read(&path)?;
        std::fs::remove_file(path)?;
        Screenshot::new(width, height, rgba)
    }

    /// Reads a file of the guest; invalid UTF-8 is replaced.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, path: &str) -> Result<String> {
        self.text(Request::ReadFile { path: path.into() })
    }

    /// Reads a symbolic link of the guest.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn read_link(&self, path: &str) -> Result<String> {
        self.text(Request::ReadLink { path: path.into() })
    }

    /// Writes a file of the guest.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &str, contents: &str) -> Result<()> {
        self.execute(Request::WriteFile { path: path.into(), contents: contents.into() })
    }

    /// Copies a program of the host into the guest, executable for the ordinary user.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn install(&self, from: &Path, to: &str) -> Result<()> {
        // Through the shared directory, because the guest's own /tmp hides the host's.
        let name = from.file_name().and_then(|name| name.to_str()).context("the program's file name")?;
        let copy = self.shared_dir.path().join(name);
        std::fs::copy(from, &copy).with_context(|| from.display().to_string())?;
        self.execute(Request::Install { from: format!("{SHARED}/{name}"), to: to.into() })?;
        Ok(std::fs::remove_file(copy)?)
    }

    /// Returns the sorted names in a directory of the guest.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_dir(&self, path: &str) -> Result<Vec<String>> {
        self.names(Request::ReadDir { path: path.into() })
    }

    /// Switches to a VT and waits until it is active.
    ///
    /// # Errors
    /// If the active VT's process does not release it within 10 s.
    pub fn activate_vt(&self, vt: u32) -> Result<()> {
        self.execute(Request::ActivateVt { vt })
    }

    /// Returns the state of a VT.
    ///
    /// # Errors
    /// If there is no such VT.
    pub fn vt_state(&self, vt: u32) -> Result<VtState> {
        match self.call(Request::VtState { vt })? {
            Response::Vt(state) => Ok(state),
            other => bail!("unexpected response {other:?}"),
        }
    }

    /// Returns the kernel's messages since boot that report a bug of the kernel or of a program.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn kernel_warnings(&self) -> Result<Vec<String>> {
        self.names(Request::KernelWarnings)
    }

    /// Polls until `condition` returns true.
    ///
    /// # Errors
    /// If that does not happen within 30 s, or 60 s in QEMU. The error names `what`, and the ends
    /// of the newest logs go to standard error.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let timeout = self.pace.step_timeout;
        let deadline = Instant::now() + timeout;
        loop {
            let last = match condition(self) {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) => Some(error),
            };
            if Instant::now() > deadline {
                self.print_logs();
                let why = last.map(|error| format!(": {error:#}")).unwrap_or_default();
                bail!("timed out after {timeout:?} waiting for: {what}{why}");
            }
            std::thread::sleep(self.pace.poll_interval);
        }
    }

    /// Waits for a text in a program's output.
    ///
    /// # Errors
    /// If it does not appear within 30 s.
    pub fn wait_for_log(&self, program: &Program, text: &str) -> Result<()> {
        self.wait_until(&format!("{text:?} in {}", program.log.display()), |machine| {
            let log = std::fs::read_to_string(&program.log)?;
            if log.contains(text) {
                return Ok(true);
            }
            if let Some(status) = machine.wait(program, Duration::ZERO)? {
                let log = std::fs::read_to_string(&program.log)?;
                ensure!(log.contains(text), "the program exited: {status:?}; its output:\n{log}");
            }
            Ok(false)
        })
    }

    /// Prints the ends of the programs' and the kernel's logs, for a test that failed.
    fn print_logs(&self) {
        let Ok(entries) = std::fs::read_dir(self.shared_dir.path()) else { return };
        let mut logs: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .map(|path| (path.metadata().and_then(|data| data.modified()).ok(), path))
            .collect();
        // A test that polls a command has hundreds of them.
        logs.sort();
        for (_, path) in &logs[logs.len().saturating_sub(PRINTED_LOGS)..] {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let tail: Vec<_> = text.lines().rev().take(LOG_TAIL_LINES).collect();
            let _ = writeln!(std::io::stderr(), "--- {}", path.display());
            for line in tail.iter().rev() {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }
}

fn spec(log: &str, argv: &[&str], env: &[(&str, &str)], root: bool) -> ProgramSpec {
    ProgramSpec {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        root,
        log: log.into(),
        tty: None,
    }
}

/// Kills a kernel that does not finish its boot.
pub(crate) struct Booting(pub(crate) Option<Child>);

impl Drop for Booting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            kill(child);
        }
    }
}

fn kill(process: &mut Child) {
    if let Some(group) = Pid::from_raw(process.id() as i32) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = process.wait();
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.line.post(Request::PowerOff);
        let deadline = Instant::now() + POWER_OFF_TIMEOUT;
        while Instant::now() < deadline && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        kill(&mut self.process);
        if std::env::var_os("LAB_KEEP").is_some_and(|value| value == "1") {
            self.shared_dir.disable_cleanup(true);
            let _ = writeln!(std::io::stderr(), "lab: kept {}", self.shared_dir.path().display());
        }
    }
}
