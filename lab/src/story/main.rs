//! `make run` on a machine without monitors: the compositor in the lab, with real programs, typed
//! text and pulled cables, told on one page with a picture of each monitor at each step.

mod page;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use clap::Parser;
use geom_lab::protocol::{Ending, GpuSpec};
use geom_lab::{BootOptions, Keyboard, Machine, Picture, Program};

use page::{Page, Step};

/// Shows geom_compositor in the lab and leaves a page about it.
#[derive(Parser)]
struct Options {
    #[arg(long)]
    compositor: PathBuf,
    /// Where index.html and its pictures go.
    #[arg(long)]
    out: PathBuf,
}

const COMPOSITOR: &str = "/run/bin/geom_compositor";
const CONFIG: &str = "/run/lab/geom_compositor.toml";
const MONITORS: [&str; 3] = ["Virtual-1", "Virtual-2", "Virtual-3"];
const TYPED: &str = "echo \"Hello from the lab's keyboard\"";

/// Which program goes to which monitor.
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

struct Story<'a> {
    machine: &'a Machine,
    page: Page,
    plugged: [bool; 3],
    start: Instant,
}

impl Story<'_> {
    /// Waits until a monitor looks as it should.
    fn until(&self, monitor: usize, what: &str, right: impl Fn(&Picture) -> bool) -> Result<()> {
        self.machine.until(&format!("{}: {what}", MONITORS[monitor]), |machine| {
            Ok(right(&machine.screenshot(MONITORS[monitor])?))
        })
    }

    /// Keeps a picture of every monitor.
    fn step(&mut self, title: &str, text: &str) -> Result<()> {
        let mut step = Step::new(title, text, self.start.elapsed());
        for (monitor, plugged) in MONITORS.iter().zip(self.plugged) {
            let picture = if plugged { Some(self.machine.screenshot(monitor)?) } else { None };
            step.add(&mut self.page, monitor, picture)?;
        }
        println!("run: {:5.1} s  {title}", self.start.elapsed().as_secs_f64());
        self.page.steps.push(step);
        Ok(())
    }

    fn tell(mut self, compositor: &Program, keyboard: &Keyboard<'_>) -> Result<()> {
        let ground = |picture: &Picture| picture.share(|pixel| pixel == [0x10, 0x14, 0x1a]) > 0.9;
        for monitor in [0, 1] {
            self.until(monitor, "its diagnostic screen", ground)?;
        }
        self.step(
            "Two monitors are plugged in",
            "geom_compositor starts as an ordinary user. Displays without a program show their name and mode.",
        )?;

        self.program("foot", &["foot"])?;
        self.program("gtk3-demo", &["gtk3-demo"])?;
        self.program("weston-simple-shm", &["weston-simple-shm"])?;
        self.machine.until_logged(compositor, "app_id=\"org.freedesktop.weston.simple-shm\"")?;
        self.until(0, "foot", |picture| is_foot(picture) || is_shm(picture))?;
        self.until(1, "gtk3-demo", |picture| is_gtk(picture) || is_shm(picture))?;
        self.step(
            "Three programs of Debian",
            "A rule sends foot to Virtual-1, gtk3-demo to Virtual-2 and weston-simple-shm to Virtual-3, which is \
             not plugged in: that window waits on another display.",
        )?;

        self.machine.plug("gpu0", 2)?;
        self.plugged[2] = true;
        self.until(2, "weston-simple-shm", is_shm)?;
        self.until(0, "foot", is_foot)?;
        self.until(1, "gtk3-demo", is_gtk)?;
        self.step(
            "The third monitor is plugged in",
            "It lights up, and the window that waited for it comes home.",
        )?;

        // A click would do as well; the display whose window is newest has the focus.
        self.focus_foot(compositor)?;
        let before = ink(&self.machine.screenshot(MONITORS[0])?);
        keyboard.type_text(&format!("{TYPED}\n"))?;
        // Ten bright pixels a letter at least, whatever pointer and cursor take.
        let letters = TYPED.len() as f64 * 10.0 / (1024.0 * 768.0);
        self.until(0, "the typed line and its echo", |picture| ink(picture) > before + letters)?;
        self.step("Typing into foot", "Keys of the lab's keyboard arrive in the terminal.")?;

        self.machine.unplug("gpu0", 0)?;
        self.plugged[0] = false;
        self.machine.until_logged(compositor, "monitor gone; its windows wait display=\"Virtual-1\"")?;
        self.until(1, "foot on the neighbour", is_foot)?;
        self.step("The first monitor is unplugged", "Its window is kept and shown on the neighbour.")?;

        self.machine.plug("gpu0", 0)?;
        self.plugged[0] = true;
        self.until(0, "foot", is_foot)?;
        self.until(1, "gtk3-demo", is_gtk)?;
        self.until(2, "weston-simple-shm", is_shm)?;
        self.step("It is plugged in again", "Everything is where it was, the typed line included.")?;
        self.page.write()
    }

    /// Gives foot the focus by a click on its display.
    fn focus_foot(&self, compositor: &Program) -> Result<()> {
        let pointer = self.machine.pointer("lab mouse")?;
        // Nobody hears a click of a device that is not open yet.
        self.machine.until_logged(compositor, "input device added device=\"lab mouse\"")?;
        pointer.motion(1, 1)?;
        pointer.click()?;
        pointer.motion(-3000, 3000)?;
        Ok(())
    }

    fn program(&self, name: &str, argv: &[&str]) -> Result<Program> {
        self.machine.user(name, argv, &[("WAYLAND_DISPLAY", "wayland-1")])
    }
}

/// foot's dark ground, with letters on it.
fn is_foot(picture: &Picture) -> bool {
    picture.share(|pixel| pixel == [0x11; 3]) > 0.9 && ink(picture) > 0.0
}

/// The share of foot's pixels that are letters.
fn ink(picture: &Picture) -> f64 {
    picture.share(|pixel| pixel.iter().all(|channel| *channel > 0x90))
}

fn is_gtk(picture: &Picture) -> bool {
    picture.share(|pixel| pixel.iter().all(|channel| *channel > 0xe0)) > 0.5
}

/// A square of 250 pixels in the middle of black.
fn is_shm(picture: &Picture) -> bool {
    let black = picture.share(|pixel| pixel == [0; 3]);
    picture.pixel(512, 384) != [0; 3] && picture.pixel(20, 20) == [0; 3] && black > 0.85
}

fn main() -> Result<()> {
    let options = Options::parse();
    let start = Instant::now();
    let machine = Machine::boot(&BootOptions::default())?;
    let spec = GpuSpec { connectors: vec![true, true, false], ..GpuSpec::new("gpu0", 3) };
    machine.create_gpu(&spec)?;
    machine.install(&options.compositor, COMPOSITOR)?;
    let seatd = machine.root("seatd", &["seatd", "-u", "nobody"], &[])?;
    machine.until_logged(&seatd, "seatd started")?;
    let keyboard = machine.keyboard("lab keyboard")?;
    machine.write(CONFIG, RULES)?;
    println!("run: {:5.1} s  the lab is up", start.elapsed().as_secs_f64());

    let argv = [COMPOSITOR, "--backend=kms", "--config", CONFIG];
    let compositor = machine.user("compositor", &argv, &[("NO_COLOR", "1")])?;
    machine.until_logged(&compositor, "displays lit")?;
    let page = Page::new(&options.out)?;
    let story = Story { machine: &machine, page, plugged: [true, true, false], start };
    story.tell(&compositor, &keyboard)?;

    machine.signal(&compositor, 15)?;
    let ending = machine.wait(&compositor, Duration::from_secs(20))?;
    ensure!(ending == Some(Ending::Exited(0)), "the compositor ended with {ending:?}");
    let warnings = machine.kernel_warnings()?;
    ensure!(warnings.is_empty(), "the guest's kernel complains: {warnings:#?}");
    println!(
        "run: {:5.1} s  see {}",
        start.elapsed().as_secs_f64(),
        options.out.join("index.html").display()
    );
    Ok(())
}
