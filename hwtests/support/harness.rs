//! The lab machine with the service on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{ExitStatus, GpuNames, GpuSpec};
use geom_lab::{BootOptions, Machine, Program, Screenshot};

use super::client::TestClient;
use super::host::Host;
use super::{COMPOSITOR, CONFIG, SIGTERM, TEST_CLIENT};

/// The service's log in the lab: all levels that a person may need after a failed test.
const LOG: [(&str, &str); 3] =
    [("GEOM_COMPOSITOR_LOG", "debug,smithay=warn"), ("NO_COLOR", "1"), ("RUST_BACKTRACE", "1")];

/// How long a program may take to end after it was asked to.
pub const EXIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A name for a log that no other program of this test run has.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The folder of the programs that are tested: `HWTESTS_PROGRAMS`, or where cargo has built them.
pub fn programs() -> PathBuf {
    let built = || Path::new(env!("CARGO_BIN_EXE_geom_compositor")).parent().map(Path::to_owned);
    std::env::var_os("HWTESTS_PROGRAMS").map(PathBuf::from).or_else(built).unwrap_or_default()
}

/// A program, or library, of the workspace.
pub fn built_program(name: &str) -> Result<PathBuf> {
    let path = programs().join(name);
    ensure!(path.is_file(), "no {}; build it: cargo build --workspace", path.display());
    Ok(path)
}

/// Copies a program of the workspace into the guest, without its debug information: that is most of
/// the file, and copying it takes as long as booting. Symbols stay, for crash reports.
pub fn install_program(machine: &Machine, name: &str, to: &str) -> Result<()> {
    machine.install(&stripped_program(name)?, to)
}

/// A program of the workspace without debug information, made by the first call of each test run.
fn stripped_program(name: &str) -> Result<PathBuf> {
    static STRIPPED: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut stripped = STRIPPED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = stripped.get(name) {
        return Ok(path.clone());
    }
    let program = built_program(name)?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripped");
    std::fs::create_dir_all(&folder)?;
    // Named after the original, and renamed when it is complete: another test run may use it.
    let path = folder.join(program.display().to_string().replace('/', "-"));
    let new = folder.join(format!("{name}.{}", std::process::id()));
    let mut strip = Command::new("strip");
    strip.args(["--strip-debug", "-o"]).args([&new, &program]);
    let status = strip.status().context("strip, of the package binutils")?;
    ensure!(status.success(), "{strip:?}: {status}");
    std::fs::rename(new, &path)?;
    stripped.insert(name.to_owned(), path.clone());
    Ok(path)
}

/// Whether a Unix socket of the guest accepts connections: `/proc/net/unix` has its path with the
/// flag `__SO_ACCEPTCON` (include/linux/net.h).
fn is_listening(machine: &dyn Host, path: &str) -> Result<bool> {
    let sockets = machine.read_file("/proc/net/unix")?;
    let listens = |line: &str| line.split_whitespace().nth(3) == Some("00010000") && line.ends_with(path);
    Ok(sockets.lines().any(listens))
}

/// Waits until a Unix socket of the guest accepts connections.
pub fn wait_until_listening(machine: &Machine, path: &str) -> Result<()> {
    machine.wait_until(&format!("a listener at {path}"), |machine| is_listening(machine, path))
}

/// A booted machine with GPUs and a seat daemon, before the service starts.
pub struct Setup {
    pub machine: Machine,
    pub gpus: Vec<GpuNames>,
}

impl Setup {
    pub fn new(gpus: &[GpuSpec]) -> Result<Self> {
        let setup = Self::without_seat(gpus)?;
        setup.start_seat_daemon("nobody")?;
        Ok(setup)
    }

    /// Starts a seat daemon that serves this user.
    pub fn start_seat_daemon(&self, user: &str) -> Result<Program> {
        start_seat_daemon(&self.machine, user)
    }

    /// One GPU with `count` monitors, all plugged in.
    pub fn with_monitors(count: usize) -> Result<Self> {
        Self::new(&[GpuSpec::new("gpu0", count)])
    }

    /// Without a seat daemon.
    pub fn without_seat(gpus: &[GpuSpec]) -> Result<Self> {
        let machine = Machine::boot(&BootOptions::default())?;
        let gpus = gpus.iter().map(|gpu| machine.create_gpu(gpu)).collect::<Result<Vec<_>>>()?;
        install_program(&machine, "geom_compositor", COMPOSITOR)?;
        install_program(&machine, "geom-lab-client", TEST_CLIENT)?;
        Ok(Self { machine, gpus })
    }

    /// Spawns the service as the ordinary user. `config` is written to the file that `--config`
    /// names.
    pub fn launch(&self, config: &str, arguments: &[&str], env: &[(&str, &str)]) -> Result<Program> {
        std::fs::write(self.machine.shared_dir().join("geom_compositor.toml"), config)?;
        let mut argv = vec![COMPOSITOR, "--backend=kms", "--config", CONFIG];
        argv.extend(arguments);
        self.machine.spawn_as_user("compositor", &argv, &[&LOG, env].concat())
    }

    /// Starts the service and waits until it has enabled a display.
    pub fn start(self, config: &str, arguments: &[&str]) -> Result<Service> {
        self.start_with(config, arguments, &[])
    }

    /// As [`Self::start`], with environment variables.
    pub fn start_with(self, config: &str, arguments: &[&str], env: &[(&str, &str)]) -> Result<Service> {
        let service = self.start_idle(config, arguments, env)?;
        service.wait_for_enabled_displays()?;
        Ok(service)
    }

    /// Starts the service and waits until it answers, with or without displays.
    pub fn start_idle(self, config: &str, arguments: &[&str], env: &[(&str, &str)]) -> Result<Service> {
        let compositor = self.launch(config, arguments, env)?;
        self.into_service(compositor)
    }

    /// Takes a program that was spawned on this machine as its service, once it answers.
    pub fn into_service(self, compositor: Program) -> Result<Service> {
        let service = Service { machine: self.machine, gpus: self.gpus, compositor };
        service.wait_until_answering()?;
        Ok(service)
    }
}

/// Starts a seat daemon that serves a user.
pub fn start_seat_daemon(machine: &Machine, user: &str) -> Result<Program> {
    let daemon = machine.spawn_as_root(&unique("seatd"), &["seatd", "-u", user], &[])?;
    wait_until_listening(machine, "/run/seatd.sock")?;
    Ok(daemon)
}

/// The running service. Its machine is a lab machine, except in [`crate::real_monitors`].
pub struct Service<H: Host = Machine> {
    pub machine: H,
    /// The lab's GPUs.
    pub gpus: Vec<GpuNames>,
    pub compositor: Program,
}

impl<H: Host> Service<H> {
    /// Waits until the control socket is there and the event loop serves it: the first answer comes
    /// after the displays were configured.
    pub fn wait_until_answering(&self) -> Result<()> {
        let socket = format!("{}/{}", self.machine.runtime_dir(), geom_ipc::SOCKET_NAME);
        self.machine.poll("the control socket", &mut || {
            let status = self.machine.wait_for_exit(&self.compositor, Duration::ZERO)?;
            ensure!(status.is_none(), "the service ended with {status:?}");
            is_listening(&self.machine as &dyn Host, &socket)
        })?;
        self.status().map(drop)
    }

    /// Waits until at least one display is enabled.
    pub fn wait_for_enabled_displays(&self) -> Result<()> {
        self.wait_for_status("an enabled display", |status| status.enabled_displays > 0).map(drop)
    }

    /// Stops the service by SIGTERM; it ends with status 0.
    pub fn stop(&self) -> Result<()> {
        self.machine.send_signal(self.compositor.pid, SIGTERM)?;
        self.wait_until_ended()
    }

    /// Waits until the service has ended with status 0.
    pub fn wait_until_ended(&self) -> Result<()> {
        let status = self.machine.wait_for_exit(&self.compositor, EXIT_TIMEOUT)?;
        ensure!(status == Some(ExitStatus::Exited(0)), "the service ended with {status:?}");
        Ok(())
    }

    /// The service reported no bug of its own. By level, not by wording: `error!` is a bug
    /// (DESIGN.md section 7).
    pub fn ensure_no_errors_logged(&self) -> Result<()> {
        let log = std::fs::read_to_string(&self.compositor.log).context("the service's log")?;
        let is_bug = |line: &&str| line.contains("ERROR") || line.contains("panicked");
        let errors: Vec<_> = log.lines().filter(is_bug).collect();
        ensure!(errors.is_empty(), "the service reports bugs of its own: {errors:#?}");
        Ok(())
    }
}

impl Service {
    /// One GPU with `count` monitors, all plugged in, and the default configuration.
    pub fn with_monitors(count: usize) -> Result<Self> {
        Setup::with_monitors(count)?.start("", &[])
    }

    /// Starts the test client; its log is named `name`.
    pub fn client(&self, name: &str, arguments: &[&str]) -> Result<TestClient<'_>> {
        let mut argv = vec![TEST_CLIENT];
        argv.extend(arguments);
        Ok(TestClient::new(&self.machine, self.program(name, &argv)?))
    }

    /// Starts any Wayland program.
    pub fn program(&self, name: &str, argv: &[&str]) -> Result<Program> {
        self.machine.spawn_as_user(name, argv, &[("WAYLAND_DISPLAY", "wayland-1")])
    }

    /// Runs a Wayland program to its end; its exit status and output.
    pub fn run_program(&self, argv: &[&str]) -> Result<(Option<ExitStatus>, String)> {
        let program = self.program(&unique("program"), argv)?;
        let status = self.machine.wait(&program, EXIT_TIMEOUT)?;
        Ok((status, std::fs::read_to_string(&program.log)?))
    }

    /// Whether a program still runs.
    pub fn is_running(&self, program: &Program) -> Result<bool> {
        Ok(self.machine.wait(program, Duration::ZERO)?.is_none())
    }

    /// Waits until a monitor shows one color nearly everywhere.
    pub fn wait_for_color(&self, connector: &str, color: [u8; 3]) -> Result<Screenshot> {
        self.wait_for_pixels(connector, &format!("the color {color:02x?}"), |screenshot| {
            screenshot.fraction(|pixel| pixel == color) > 0.97
        })
    }

    /// Waits until what a monitor shows is as expected. The last wrong screenshot is saved.
    pub fn wait_for_pixels(
        &self,
        connector: &str,
        what: &str,
        expected: impl Fn(&Screenshot) -> bool,
    ) -> Result<Screenshot> {
        wait_for_pixels(&self.machine, connector, what, expected)
    }

    /// The devices that a process has open: the targets of its file descriptors.
    pub fn open_files(&self) -> Result<Vec<String>> {
        let folder = format!("/proc/{}/fd", self.compositor.pid);
        let links = self.machine.read_dir(&folder)?;
        // A descriptor may be closed while the folder is read.
        Ok(links.iter().filter_map(|fd| self.machine.read_link(&format!("{folder}/{fd}")).ok()).collect())
    }

    /// Waits until the service has, or no longer has, a GPU open.
    pub fn wait_until_gpu_open(&self, card: &str, open: bool) -> Result<()> {
        let path = format!("/dev/dri/{card}");
        self.machine.wait_until(&format!("{path} open: {open}"), |_| {
            // The kernel appends " (deleted)" once the node is gone.
            Ok(self.open_files()?.iter().any(|file| file.starts_with(&path)) == open)
        })
    }

    /// Stops the service and checks what it leaves: status 0, no error of its own or of the kernel.
    pub fn finish(self) -> Result<()> {
        self.end()
    }

    /// As [`Self::finish`]; the machine stays for further checks.
    pub fn end(&self) -> Result<()> {
        self.stop()?;
        self.ensure_no_errors()
    }

    /// As [`Self::finish`]; the machine stays for another start.
    pub fn into_setup(self) -> Result<Setup> {
        self.end()?;
        Ok(Setup { machine: self.machine, gpus: self.gpus })
    }

    /// Neither the kernel nor the service reported a bug.
    pub fn ensure_no_errors(&self) -> Result<()> {
        let warnings = self.machine.kernel_warnings()?;
        ensure!(warnings.is_empty(), "the guest's kernel reports: {warnings:#?}");
        self.ensure_no_errors_logged()
    }
}

/// As [`Service::wait_for_pixels`], for machines without one.
pub fn wait_for_pixels(
    machine: &Machine,
    connector: &str,
    what: &str,
    expected: impl Fn(&Screenshot) -> bool,
) -> Result<Screenshot> {
    let mut found = None;
    let waited = machine.wait_until(&format!("{connector}: {what}"), |machine| {
        let screenshot = machine.screenshot(connector)?;
        let good = expected(&screenshot);
        found = Some(screenshot);
        Ok(good)
    });
    if let (Err(_), Some(screenshot)) = (&waited, &found) {
        save_wrong(screenshot, connector)?;
    }
    waited?;
    found.context("a screenshot")
}

/// Saves the screenshot of a display that does not show what a test expects.
pub fn save_wrong(screenshot: &Screenshot, display: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wrong-{display}.png"));
    screenshot.save(&path)?;
    eprintln!("{display} showed instead: {}", path.display());
    Ok(())
}

/// Waits for the end of a program that must refuse to run: status 1, and a message that names
/// everything in `named`.
pub fn refuses(machine: &Machine, program: &Program, named: &[&str]) -> Result<()> {
    let status = machine.wait(program, EXIT_TIMEOUT)?;
    let message = std::fs::read_to_string(&program.log)?;
    ensure!(status == Some(ExitStatus::Exited(1)), "{status:?}: {message}");
    for name in named {
        ensure!(message.contains(name), "the message does not name {name:?}:\n{message}");
    }
    Ok(())
}
