//! A virtual machine from boot to power off.

use std::collections::BTreeMap;
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

use crate::link::Link;
use crate::protocol::{
    Answer, Deed, Ending, GpuNames, GpuSpec, Measurement, ProgramSpec, Request, VtState, SHARED,
};
use crate::{Keyboard, Lid, Picture, Pointer, Touch};

/// How long any single step may take. Far above what one takes on a loaded machine.
const BOUND: Duration = Duration::from_secs(30);

/// What to boot.
#[derive(Debug, Clone)]
pub struct BootOptions {
    /// Megabytes of memory; the host gives only what is touched.
    pub memory: u32,
    pub processors: u32,
    /// Debian's own process 1, where it is wanted, and what it has.
    pub systemd: Option<SystemdOptions>,
}

/// A guest that boots with systemd.
#[derive(Debug, Clone)]
pub struct SystemdOptions {
    /// A folder whose usr/local and etc are laid over the guest's.
    pub root: PathBuf,
    /// Units that are enabled before it boots.
    pub enabled: Vec<String>,
    /// Monitors of the GPU that is there at boot.
    pub monitors: usize,
    /// More words of the kernel's command line.
    pub words: Vec<String>,
}

impl Default for BootOptions {
    fn default() -> Self {
        Self { memory: 1536, processors: 2, systemd: None }
    }
}

/// The path of the lab's kernel: `LAB_KERNEL`, or the cached one, built where there is none yet.
pub fn kernel() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LAB_KERNEL") {
        return Ok(path.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel/build.sh");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| script.display().to_string())?;
    ensure!(output.status.success(), "{} ended with {}", script.display(), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// The guest's process 1: beside this program, or one folder up where this is a test.
fn guest_program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    for folder in own.ancestors().skip(1).take(2) {
        let path = folder.join("geom-lab-guest");
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("no geom-lab-guest beside {}; build it: cargo build -p geom-lab", own.display())
}

/// A running program of the guest.
#[derive(Debug, Clone)]
pub struct Program {
    pub pid: u32,
    /// Its output, on the host.
    pub log: PathBuf,
}

/// A booted guest. Dropping it powers it off.
pub struct Machine {
    link: Link,
    kernel: Child,
    folder: tempfile::TempDir,
    shots: std::sync::atomic::AtomicU32,
}

impl Machine {
    /// Boots and waits for udev and the guest's services.
    pub fn boot(options: &BootOptions) -> Result<Self> {
        let kernel = kernel()?;
        let folder = tempfile::Builder::new().prefix("geom-lab-").tempdir()?;
        let (ours, theirs) = UnixStream::pair()?;
        let console = File::create(folder.path().join("console.log"))?;
        let mut systemd = Vec::new();
        if let Some(wanted) = &options.systemd {
            let copied =
                Command::new("cp").arg("-a").arg(&wanted.root).arg(folder.path().join("root")).status()?;
            ensure!(copied.success(), "copy {}: {copied}", wanted.root.display());
            systemd.push(format!("geomlab.systemd={}", wanted.enabled.join(",")));
            systemd.push(format!("geomlab.monitors={}", wanted.monitors));
            let quiet = ["systemd.unit=graphical.target", "systemd.getty_auto=no", "systemd.show_status=no"];
            systemd.extend(quiet.map(str::to_owned));
            systemd.extend(wanted.words.iter().cloned());
        }
        let mut command = Command::new(kernel);
        command
            .arg("seccomp=on")
            .arg(format!("ncpus={}", options.processors))
            .arg(format!("mem={}M", options.memory))
            .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
            .arg(format!("init={}", guest_program()?.display()))
            .args(["con=null", "ssl=null", "ssl0=null,fd:1", "ssl1=fd:3,fd:3", "console=ttyS0", "quiet"])
            .arg("vkms.create_default_dev=0")
            .args(systemd)
            .arg(format!("uml_dir={}", folder.path().display()))
            .arg("umid=uml")
            .arg(format!("geomlab.dir={}", folder.path().display()))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", folder.path())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .process_group(0);
        let line = theirs.as_raw_fd();
        // SAFETY: only system calls that are safe between fork and exec; `theirs` lives until the
        // child runs.
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
        drop(theirs);
        let mut starting = Starting(Some(child));
        let link = Link::open(ours, BOUND).with_context(|| {
            let console = std::fs::read_to_string(folder.path().join("console.log")).unwrap_or_default();
            format!("boot the lab; its console says:\n{console}")
        })?;
        let kernel = starting.0.take().context("the lab's kernel is gone")?;
        Ok(Self { link, kernel, folder, shots: Default::default() })
    }

    /// The folder that host and guest share; the guest sees it at [`crate::protocol::SHARED`].
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn call(&self, request: Request) -> Result<Answer> {
        self.link.call(request, BOUND)
    }

    pub(crate) fn done(&self, request: Request) -> Result<()> {
        self.call(request).map(drop)
    }

    fn text(&self, request: Request) -> Result<String> {
        match self.call(request)? {
            Answer::Text(text) => Ok(text),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    pub fn create_gpu(&self, spec: &GpuSpec) -> Result<GpuNames> {
        match self.call(Request::CreateGpu(spec.clone()))? {
            Answer::Gpu(names) => Ok(names),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// Unplugs a whole GPU.
    pub fn remove_gpu(&self, name: &str) -> Result<()> {
        self.done(Request::RemoveGpu { name: name.into() })
    }

    /// Plugs a monitor into the GPU's connector of that index.
    pub fn plug(&self, gpu: &str, connector: usize) -> Result<()> {
        self.done(Request::SetConnected { gpu: gpu.into(), connector, connected: true })
    }

    pub fn unplug(&self, gpu: &str, connector: usize) -> Result<()> {
        self.done(Request::SetConnected { gpu: gpu.into(), connector, connected: false })
    }

    /// Makes a monitor of this EDID what is plugged in at the connector's next probe (debugfs' edid_override).
    pub fn set_monitor(&self, gpu: &GpuNames, connector: usize, edid: &[u8]) -> Result<()> {
        let name = gpu.connectors.get(connector).context("the GPU has no such connector")?;
        let file = format!("edid-{name}");
        std::fs::write(self.folder.path().join(&file), edid)?;
        let card = gpu.card.trim_start_matches("card");
        let to = format!("/sys/kernel/debug/dri/{card}/{name}/edid_override");
        self.run(&file, &["cp", &format!("{SHARED}/{file}"), &to])
    }

    pub fn keyboard(&self, name: &str) -> Result<Keyboard<'_>> {
        Keyboard::create(self, name)
    }

    pub fn pointer(&self, name: &str) -> Result<Pointer<'_>> {
        Pointer::create(self, name)
    }

    pub fn lid(&self, name: &str) -> Result<Lid<'_>> {
        Lid::create(self, name)
    }

    pub fn touch(&self, name: &str) -> Result<Touch<'_>> {
        Touch::create(self, name)
    }

    pub fn spawn(&self, spec: ProgramSpec) -> Result<Program> {
        let log = self.folder.path().join(format!("{}.log", spec.log));
        match self.call(Request::Spawn(spec))? {
            Answer::Pid(pid) => Ok(Program { pid, log }),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// Does something and measures how long it takes until a file of the guest has `text` at
    /// least `count` times.
    pub fn timed(&self, deed: Deed, path: &str, text: &str, count: usize) -> Result<Measurement> {
        let millis = BOUND.as_millis() as u64;
        let request = Request::Timed { deed, path: path.into(), text: text.into(), count, millis };
        match self.link.call(request, BOUND * 2)? {
            Answer::Measured(measurement) => Ok(measurement),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// Starts a program as the guest's ordinary user; its log is named after `log`.
    pub fn user(&self, log: &str, argv: &[&str], env: &[(&str, &str)]) -> Result<Program> {
        self.spawn(spec(log, argv, env, false))
    }

    /// Starts a program as root.
    pub fn root(&self, log: &str, argv: &[&str], env: &[(&str, &str)]) -> Result<Program> {
        self.spawn(spec(log, argv, env, true))
    }

    /// How a program ended, or `None` where it still runs after `bound`.
    pub fn wait(&self, program: &Program, bound: Duration) -> Result<Option<Ending>> {
        let request = Request::Wait { pid: program.pid, millis: bound.as_millis() as u64 };
        match self.link.call(request, bound + BOUND)? {
            Answer::Ended(ending) => Ok(ending),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// Runs a program as root to its end; an error where it does not end with status 0.
    pub fn run(&self, log: &str, argv: &[&str]) -> Result<()> {
        let program = self.root(log, argv, &[])?;
        match self.wait(&program, BOUND)? {
            Some(Ending::Exited(0)) => Ok(()),
            other => {
                bail!("{argv:?}: {other:?}: {}", std::fs::read_to_string(&program.log).unwrap_or_default())
            }
        }
    }

    /// Sends a signal by number (signal(7)).
    pub fn signal(&self, program: &Program, signal: i32) -> Result<()> {
        self.done(Request::Signal { pid: program.pid, signal })
    }

    /// What a connector's monitor shows now.
    pub fn screenshot(&self, connector: &str) -> Result<Picture> {
        let number = self.shots.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let file = format!("shot-{number}.rgba");
        let answer = self.call(Request::Screenshot { connector: connector.into(), file: file.clone() })?;
        let Answer::Picture { width, height } = answer else { bail!("unexpected answer {answer:?}") };
        let path = self.folder.path().join(file);
        let rgba = std::fs::read(&path)?;
        std::fs::remove_file(path)?;
        Picture::new(width, height, rgba)
    }

    pub fn read(&self, path: &str) -> Result<String> {
        self.text(Request::ReadFile { path: path.into() })
    }

    pub fn read_link(&self, path: &str) -> Result<String> {
        self.text(Request::ReadLink { path: path.into() })
    }

    pub fn write(&self, path: &str, contents: &str) -> Result<()> {
        self.done(Request::WriteFile { path: path.into(), contents: contents.into() })
    }

    /// Copies a program of the host to where the guest's ordinary user may run it.
    pub fn install(&self, from: &Path, to: &str) -> Result<()> {
        // By the shared folder: the guest's own /tmp hides what lies under the host's.
        let name = from.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
        let passed = self.folder.path().join(name);
        std::fs::copy(from, &passed).with_context(|| from.display().to_string())?;
        self.done(Request::Install { from: format!("{SHARED}/{name}"), to: to.into() })?;
        Ok(std::fs::remove_file(passed)?)
    }

    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        match self.call(Request::ReadDir { path: path.into() })? {
            Answer::Names(names) => Ok(names),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// Switches to a VT and waits until it is the active one.
    pub fn activate_vt(&self, vt: u32) -> Result<()> {
        self.done(Request::ActivateVt { vt })
    }

    pub fn vt(&self, vt: u32) -> Result<VtState> {
        match self.call(Request::VtState { vt })? {
            Answer::Vt(state) => Ok(state),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// What the guest's kernel said since boot that tells of a bug, there or in a program.
    pub fn kernel_warnings(&self) -> Result<Vec<String>> {
        match self.call(Request::KernelWarnings)? {
            Answer::Names(lines) => Ok(lines),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// Looks until `condition` holds, and says what was waited for where it does not within the bound.
    pub fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + BOUND;
        loop {
            let last = match condition(self) {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) => Some(error),
            };
            if Instant::now() > deadline {
                self.tell_story();
                let why = last.map(|error| format!(": {error:#}")).unwrap_or_default();
                bail!("waited {BOUND:?} in vain for: {what}{why}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a line in a program's output.
    pub fn until_logged(&self, program: &Program, text: &str) -> Result<()> {
        self.until(&format!("{text:?} in {}", program.log.display()), |machine| {
            let log = std::fs::read_to_string(&program.log)?;
            if log.contains(text) {
                return Ok(true);
            }
            if let Some(ending) = machine.wait(program, Duration::ZERO)? {
                let log = std::fs::read_to_string(&program.log)?;
                ensure!(log.contains(text), "the program ended with {ending:?}; it said:\n{log}");
            }
            Ok(false)
        })
    }
}

fn spec(log: &str, argv: &[&str], env: &[(&str, &str)], root: bool) -> ProgramSpec {
    ProgramSpec {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect::<BTreeMap<_, _>>(),
        root,
        log: log.into(),
        tty: None,
    }
}

/// Ends a kernel that did not come up.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(kernel: &mut Child) {
    if let Some(group) = Pid::from_raw(kernel.id() as i32) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = kernel.wait();
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.link.post(Request::PowerOff);
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline && matches!(self.kernel.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        end(&mut self.kernel);
    }
}

impl Machine {
    /// What waited in vain shows what the programs and the guest's kernel said.
    fn tell_story(&self) {
        let Ok(entries) = std::fs::read_dir(self.folder.path()) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "log") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let tail: Vec<_> = text.lines().rev().take(25).collect();
                let _ = writeln!(std::io::stderr(), "--- {}", path.display());
                for line in tail.iter().rev() {
                    let _ = writeln!(std::io::stderr(), "{line}");
                }
            }
        }
    }
}
