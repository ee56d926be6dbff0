//! `make run` on a machine without monitors: runs the compositor in the lab with real programs,
//! typed text and hotplug, and writes a page with a screenshot of each monitor at each step.

mod page;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use clap::Parser;
use geom_lab::protocol::{ExitStatus, GpuSpec, USER_NAME};
use geom_lab::{BootOptions, Keyboard, Machine, Program, Screenshot};

use page::{Page, Step};

/// Shows geom_compositor in the lab and writes a page about it.
#[derive(Parser)]
struct Options {
    /// The compositor's binary.
    #[arg(long)]
    compositor: PathBuf,
    /// Directory for index.html and its screenshots.
    #[arg(long)]
    out: PathBuf,
}

const COMPOSITOR: &str = "/run/bin/geom_compositor";
const CONFIG: &str = "/run/lab/geom_compositor.toml";
const MONITORS: [&str; 3] = ["Virtual-1", "Virtual-2", "Virtual-3"];
const TYPED: &str = "echo \"Hello from the lab's keyboard\"";

/// Window rules: one program for each monitor.
const RULES: &str = r#"
[[rules]]
app_id = "foot"
display = "Virtual-1"

[[rules]]
app_id = "*gtk3*"
display = "Virtual-2"

[[rules]]
app_id = "*simple-shm"
display = "Virtual-3"
"#;

/// The demo's state.
struct Demo<'a> {
    machine: &'a Machine,
    /// Number of control commands so far; each has its own log.
    commands: Cell<usize>,
    page: Page,
    plugged: [bool; 3],
    start: Instant,
}

impl Demo<'_> {
    /// Waits until a monitor shows what is expected.
    fn wait_until(&self, monitor: usize, what: &str, expected: impl Fn(&Screenshot) -> bool) -> Result<()> {
        self.machine.wait_until(&format!("{}: {what}", MONITORS[monitor]), |machine| {
            Ok(expected(&machine.screenshot(MONITORS[monitor])?))
        })
    }

    /// Adds a step with a screenshot of each connected monitor.
    fn step(&mut self, title: &str, text: &str) -> Result<()> {
        let mut step = Step::new(title, text, self.start.elapsed());
        for (monitor, plugged) in MONITORS.iter().zip(self.plugged) {
            let screenshot = if plugged { Some(self.machine.screenshot(monitor)?) } else { None };
            step.add(&mut self.page, monitor, screenshot)?;
        }
        println!("run: {:5.1} s  {title}", self.start.elapsed().as_secs_f64());
        self.page.steps.push(step);
        Ok(())
    }

    /// Runs all steps and writes the page.
    fn run(mut self, compositor: &Program, keyboard: &Keyboard<'_>) -> Result<()> {
        let background = |image: &Screenshot| image.fraction(|pixel| pixel == [0x10, 0x14, 0x1a]) > 0.9;
        for monitor in [0, 1] {
            self.wait_until(monitor, "the diagnostic screen", background)?;
        }
        self.step(
            "Two monitors are connected",
            "geom_compositor starts as an ordinary user. Displays without a program show their name and mode.",
        )?;

        let foot = self.program("foot", &["foot"])?;
        self.program("gtk3-demo", &["gtk3-demo"])?;
        self.program("weston-simple-shm", &["weston-simple-shm"])?;
        self.machine.wait_until("the window of weston-simple-shm", |_| {
            Ok(self.clients()?.contains("org.freedesktop.weston.simple-shm"))
        })?;
        self.wait_until(0, "foot", |image| is_foot(image) || is_shm(image))?;
        self.wait_until(1, "gtk3-demo", |image| is_gtk(image) || is_shm(image))?;
        self.step(
            "Three programs from Debian",
            "A rule sends foot to Virtual-1, gtk3-demo to Virtual-2 and weston-simple-shm to Virtual-3, which is \
             not connected: its window is shown on another display meanwhile.",
        )?;

        self.machine.plug("gpu0", 2)?;
        self.plugged[2] = true;
        self.wait_until(2, "weston-simple-shm", is_shm)?;
        self.wait_until(0, "foot", is_foot)?;
        self.wait_until(1, "gtk3-demo", is_gtk)?;
        self.step(
            "The third monitor is connected",
            "It is enabled, and the window assigned to it moves there.",
        )?;

        // The display of the newest window has the focus.
        self.focus_foot(compositor)?;
        let before = text_fraction(&self.machine.screenshot(MONITORS[0])?);
        keyboard.type_text(&format!("{TYPED}\n"))?;
        // A letter has at least ten bright pixels, even if the pointer or the text cursor covers
        // some.
        let letters = TYPED.len() as f64 * 10.0 / (1024.0 * 768.0);
        // Without foot, the diagnostic screen's text would count as typed text.
        self.machine.wait_until("the typed line and its echo", |machine| {
            let status = machine.wait(&foot, Duration::ZERO)?;
            ensure!(status.is_none(), "foot exited: {status:?}");
            let image = machine.screenshot(MONITORS[0])?;
            Ok(is_foot(&image) && text_fraction(&image) > before + letters)
        })?;
        self.step("Typing into foot", "The terminal receives the keys of the lab's keyboard.")?;

        self.machine.unplug("gpu0", 0)?;
        self.plugged[0] = false;
        self.wait_until(1, "foot on another display", is_foot)?;
        self.step("The first monitor is disconnected", "Its window is kept and shown on another display.")?;

        self.machine.plug("gpu0", 0)?;
        self.plugged[0] = true;
        self.wait_until(0, "foot", is_foot)?;
        self.wait_until(1, "gtk3-demo", is_gtk)?;
        self.wait_until(2, "weston-simple-shm", is_shm)?;
        self.step(
            "It is connected again",
            "Each window is back on its display, and the terminal still has the typed line.",
        )?;
        self.page.write()
    }

    /// Gives foot the focus by a click on its display.
    fn focus_foot(&self, compositor: &Program) -> Result<()> {
        let pointer = self.machine.pointer("lab mouse")?;
        // The compositor does not get events of a device that it has not opened yet.
        self.machine.wait_for_log(compositor, "input device added device=\"lab mouse\"")?;
        pointer.motion(1, 1)?;
        pointer.click()?;
        pointer.motion(-3000, 3000)?;
        Ok(())
    }

    /// Returns the output of `geom_compositor clients`.
    fn clients(&self) -> Result<String> {
        let log = format!("clients-{}", self.commands.replace(self.commands.get() + 1));
        let command = self.machine.spawn_as_user(&log, &[COMPOSITOR, "clients", "--json"], &[])?;
        self.machine.wait(&command, Duration::from_secs(20))?;
        Ok(std::fs::read_to_string(&command.log)?)
    }

    fn program(&self, name: &str, argv: &[&str]) -> Result<Program> {
        self.machine.spawn_as_user(name, argv, &[("WAYLAND_DISPLAY", "wayland-1")])
    }
}

/// Whether the image is foot: its gray background with text.
fn is_foot(image: &Screenshot) -> bool {
    image.fraction(|pixel| pixel == [0x11; 3]) > 0.9 && text_fraction(image) > 0.0
}

/// Returns the fraction of foot's pixels that are text.
fn text_fraction(image: &Screenshot) -> f64 {
    image.fraction(|pixel| pixel.iter().all(|channel| *channel > 0x90))
}

/// Whether the image is gtk3-demo's window: mostly near white.
fn is_gtk(image: &Screenshot) -> bool {
    image.fraction(|pixel| pixel.iter().all(|channel| *channel > 0xe0)) > 0.5
}

/// Whether the image is weston-simple-shm: a square of 250 pixels in the middle of black.
fn is_shm(image: &Screenshot) -> bool {
    let black = image.fraction(|pixel| pixel == [0; 3]);
    image.pixel(512, 384) != [0; 3] && image.pixel(20, 20) == [0; 3] && black > 0.85
}

fn main() -> Result<()> {
    let options = Options::parse();
    let start = Instant::now();
    let machine = Machine::boot(&BootOptions::default())?;
    let spec = GpuSpec { connectors: vec![true, true, false], ..GpuSpec::new("gpu0", 3) };
    machine.create_gpu(&spec)?;
    machine.install(&options.compositor, COMPOSITOR)?;
    let seatd = machine.spawn_as_root("seatd", &["seatd", "-u", USER_NAME], &[])?;
    machine.wait_for_log(&seatd, "seatd started")?;
    let keyboard = machine.keyboard("lab keyboard")?;
    machine.write(CONFIG, RULES)?;
    println!("run: {:5.1} s  the lab has booted", start.elapsed().as_secs_f64());

    let argv = [COMPOSITOR, "--backend=kms", "--config", CONFIG];
    let compositor = machine.spawn_as_user("compositor", &argv, &[("NO_COLOR", "1")])?;
    let page = Page::new(&options.out)?;
    let demo = Demo { machine: &machine, commands: Cell::new(0), page, plugged: [true, true, false], start };
    demo.run(&compositor, &keyboard)?;

    machine.signal(&compositor, 15)?;
    let status = machine.wait(&compositor, Duration::from_secs(20))?;
    ensure!(status == Some(ExitStatus::Exited(0)), "the compositor exited: {status:?}");
    let warnings = machine.kernel_warnings()?;
    ensure!(warnings.is_empty(), "the guest's kernel reports bugs: {warnings:#?}");
    println!(
        "run: {:5.1} s  see {}",
        start.elapsed().as_secs_f64(),
        options.out.join("index.html").display()
    );
    Ok(())
}
