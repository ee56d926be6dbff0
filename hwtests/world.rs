//! A machine with monitors on which the compositor runs as a user runs it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{Ending, GpuNames, GpuSpec};
use geom_lab::{BootOptions, Machine, Picture, Program};

pub const COMPOSITOR: &str = "/run/bin/geom_compositor";
pub const CLIENT: &str = "/run/bin/geom-lab-client";
pub const CONFIG: &str = "/run/lab/geom_compositor.toml";

pub const RED: [u8; 3] = [0xff, 0, 0];
pub const GREEN: [u8; 3] = [0, 0xff, 0];
pub const BLUE: [u8; 3] = [0, 0, 0xff];
/// The diagnostic screen's ground.
pub const GROUND: [u8; 3] = [0x10, 0x14, 0x1a];

/// A booted machine with its seat daemon and programs, before the compositor starts.
pub struct Bench {
    pub machine: Machine,
    pub gpus: Vec<GpuNames>,
}

impl Bench {
    pub fn new(gpus: &[GpuSpec]) -> Result<Self> {
        let bench = Self::without_seat(gpus)?;
        let seatd = bench.machine.root("seatd", &["seatd", "-u", "nobody"], &[])?;
        bench.machine.until_logged(&seatd, "seatd started")?;
        Ok(bench)
    }

    pub fn without_seat(gpus: &[GpuSpec]) -> Result<Self> {
        let machine = Machine::boot(&BootOptions::default())?;
        let gpus = gpus.iter().map(|gpu| machine.create_gpu(gpu)).collect::<Result<Vec<_>>>()?;
        machine.install(Path::new(env!("CARGO_BIN_EXE_geom_compositor")), COMPOSITOR)?;
        machine.install(&lab_program("geom-lab-client")?, CLIENT)?;
        Ok(Self { machine, gpus })
    }

    /// Starts the compositor as the ordinary user; `config` is written where `--config` finds it.
    pub fn launch(&self, config: &str, arguments: &[&str], env: &[(&str, &str)]) -> Result<Program> {
        std::fs::write(self.machine.folder().join("geom_compositor.toml"), config)?;
        let mut argv = vec![COMPOSITOR, "--backend=kms", "--config", CONFIG];
        argv.extend(arguments);
        let mut all =
            vec![("GEOM_COMPOSITOR_LOG", "debug,smithay=warn"), ("NO_COLOR", "1"), ("RUST_BACKTRACE", "1")];
        all.extend(env);
        self.machine.user("compositor", &argv, &all)
    }

    pub fn start(self, config: &str, arguments: &[&str]) -> Result<World> {
        self.start_with(config, arguments, &[])
    }

    pub fn start_with(self, config: &str, arguments: &[&str], env: &[(&str, &str)]) -> Result<World> {
        let compositor = self.launch(config, arguments, env)?;
        self.machine.until_logged(&compositor, "displays lit")?;
        Ok(World { machine: self.machine, gpus: self.gpus, compositor })
    }
}

/// Waits for a program's end, which has to be status 1 with all of this said.
pub fn refused(machine: &Machine, program: &Program, texts: &[&str]) -> Result<()> {
    let ending = machine.wait(program, Duration::from_secs(30))?;
    let log = std::fs::read_to_string(&program.log)?;
    ensure!(ending == Some(Ending::Exited(1)), "{ending:?}: {log}");
    for text in texts {
        ensure!(log.contains(text), "no {text:?} in:\n{log}");
    }
    Ok(())
}

/// A program of the lab's, built beside the compositor.
pub fn lab_program(name: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_geom_compositor")).with_file_name(name);
    ensure!(path.is_file(), "no {}; build it: cargo build -p geom-lab", path.display());
    Ok(path)
}

/// The compositor at work.
pub struct World {
    pub machine: Machine,
    pub gpus: Vec<GpuNames>,
    pub compositor: Program,
}

impl World {
    /// One Gpu with so many monitors, all plugged in.
    pub fn monitors(count: usize) -> Result<Self> {
        Bench::new(&[GpuSpec::new("gpu0", count)])?.start("", &[])
    }

    /// Starts the test client; its log is named `name`.
    pub fn client(&self, name: &str, arguments: &[&str]) -> Result<Program> {
        let mut argv = vec![CLIENT];
        argv.extend(arguments);
        self.program(name, &argv)
    }

    /// Starts any Wayland program.
    pub fn program(&self, name: &str, argv: &[&str]) -> Result<Program> {
        self.machine.user(name, argv, &[("WAYLAND_DISPLAY", "wayland-1")])
    }

    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(&self.compositor.log).context("the compositor's log")
    }

    pub fn until_logged(&self, text: &str) -> Result<()> {
        self.machine.until_logged(&self.compositor, text)
    }

    /// Waits until a monitor shows a colour nearly everywhere.
    pub fn until_shows(&self, connector: &str, color: [u8; 3]) -> Result<Picture> {
        self.until_picture(connector, &format!("colour {color:02x?}"), |picture| {
            picture.share(|pixel| pixel == color) > 0.97
        })
    }

    /// Waits until a monitor's picture is as wanted; a picture that stays wrong is kept for a look.
    pub fn until_picture(
        &self,
        connector: &str,
        what: &str,
        wanted: impl Fn(&Picture) -> bool,
    ) -> Result<Picture> {
        let mut found = None;
        let waited = self.machine.until(&format!("{connector}: {what}"), |machine| {
            let picture = machine.screenshot(connector)?;
            let good = wanted(&picture);
            found = Some(picture);
            Ok(good)
        });
        if let (Err(_), Some(picture)) = (&waited, &found) {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wrong-{connector}.png"));
            picture.save(&path)?;
            eprintln!("{connector} showed instead: {}", path.display());
        }
        waited?;
        found.context("a picture")
    }

    /// How many lines of the log have this text.
    pub fn count(&self, text: &str) -> Result<usize> {
        Ok(self.log()?.matches(text).count())
    }

    /// Ends the compositor and looks at what it left: status 0, a quiet kernel.
    pub fn finish(self) -> Result<()> {
        self.end()
    }

    /// As [`Self::finish`], with the machine still there to look at.
    pub fn end(&self) -> Result<()> {
        self.machine.signal(&self.compositor, 15)?;
        let ending = self.machine.wait(&self.compositor, Duration::from_secs(30))?;
        ensure!(ending == Some(Ending::Exited(0)), "the compositor ended with {ending:?}");
        self.quiet()
    }

    /// The kernel and the compositor report no bug.
    pub fn quiet(&self) -> Result<()> {
        let warnings = self.machine.kernel_warnings()?;
        ensure!(warnings.is_empty(), "the guest's kernel complains: {warnings:#?}");
        let log = self.log()?;
        let errors: Vec<_> =
            log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
        ensure!(errors.is_empty(), "the compositor reports bugs of its own: {errors:#?}");
        Ok(())
    }
}
