//! `geom-lab-client`: a Wayland client that shows one color and reports the events that it gets.
//!
//! Its report is one line per Wayland event on standard output. The format is known here only.

use anyhow::{ensure, Context, Result};
use geom_lab::{Machine, Program};

use super::SIGTERM;

/// A running test client.
pub struct TestClient<'a> {
    machine: &'a Machine,
    pub program: Program,
}

impl<'a> TestClient<'a> {
    pub fn new(machine: &'a Machine, program: Program) -> Self {
        Self { machine, program }
    }

    fn report(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.program.log)?)
    }

    /// How often the client reported this event.
    fn count(&self, event: &str) -> Result<usize> {
        Ok(self.report()?.lines().filter(|line| *line == event).count())
    }

    /// The error shows the report: a client that was refused has written the reason there.
    fn wait_until(&self, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
        let waited = self.machine.wait_until(what, |_| condition());
        waited.with_context(|| {
            format!("{}:\n{}", self.program.log.display(), self.report().unwrap_or_default())
        })
    }

    fn wait_for(&self, event: &str) -> Result<()> {
        self.wait_for_count(event, 1)
    }

    fn wait_for_count(&self, event: &str, count: usize) -> Result<()> {
        self.wait_until(&format!("{event:?} {count} times"), || Ok(self.count(event)? >= count))
    }

    /// Waits for an `xdg_toplevel` or layer surface configure of this size.
    pub fn wait_for_configured(&self, width: u32, height: u32) -> Result<()> {
        self.wait_for(&format!("configured {width}x{height}"))
    }

    /// Waits for the first configure, of any size.
    pub fn wait_for_any_configure(&self) -> Result<()> {
        self.wait_until("a configure", || Ok(self.report()?.contains("configured ")))
    }

    /// Waits for a `wl_output` of this name.
    pub fn wait_for_output(&self, name: &str) -> Result<()> {
        self.wait_for(&format!("output {name}"))
    }

    /// Waits for the removal of the `wl_output` of this name.
    pub fn wait_for_output_removed(&self, name: &str) -> Result<()> {
        self.wait_for(&format!("output removed {name}"))
    }

    /// Waits until the server has taken the window's image description.
    pub fn wait_for_image_description(&self) -> Result<()> {
        self.wait_for("image description set")
    }

    /// Waits until `count` menus of a client with `--menu` were configured.
    pub fn wait_for_menu(&self, count: usize) -> Result<()> {
        self.wait_for_count("menu configured", count)
    }

    /// Waits until `count` menus were dismissed.
    pub fn wait_for_menu_dismissed(&self, count: usize) -> Result<()> {
        self.wait_for_count("menu dismissed", count)
    }

    /// Waits until the pointer entered the window.
    pub fn wait_for_pointer(&self) -> Result<()> {
        self.wait_until("the pointer", || Ok(self.report()?.contains("pointer enter ")))
    }

    /// Waits until the pointer left the window.
    pub fn wait_for_pointer_left(&self) -> Result<()> {
        self.wait_for("pointer leave")
    }

    /// Waits for the keyboard focus.
    pub fn wait_until_focused(&self) -> Result<()> {
        self.wait_for("keyboard enter")
    }

    /// Waits for the loss of the keyboard focus.
    pub fn wait_until_unfocused(&self) -> Result<()> {
        self.wait_for("keyboard leave")
    }

    /// Waits until a key (linux/input-event-codes.h) was pressed `count` times.
    pub fn wait_for_key_pressed(&self, code: u16, count: usize) -> Result<()> {
        self.wait_for_count(&format!("key {code} down"), count)
    }

    /// Waits until a key was released.
    pub fn wait_for_key_released(&self, code: u16) -> Result<()> {
        self.wait_for(&format!("key {code} up"))
    }

    /// The client never got this key.
    pub fn ensure_no_key(&self, code: u16) -> Result<()> {
        let got = self.report()?.contains(&format!("key {code} "));
        ensure!(!got, "key {code} reached the client");
        Ok(())
    }

    /// Waits until a pointer button (linux/input-event-codes.h) was pressed.
    pub fn wait_for_button_pressed(&self, code: u16) -> Result<()> {
        self.wait_for(&format!("button {code} Pressed"))
    }

    /// The client never got a pointer button.
    pub fn ensure_no_button(&self) -> Result<()> {
        ensure!(!self.report()?.contains("button "), "a button reached the client");
        Ok(())
    }

    /// Waits for a step of the wheel.
    pub fn wait_for_wheel(&self) -> Result<()> {
        self.wait_until("a step of the wheel", || Ok(self.report()?.contains("wheel ")))
    }

    /// Waits until the pen (`--tablet`) is at a position, in surface coordinates.
    pub fn wait_for_pen(&self, x: i32, y: i32) -> Result<()> {
        self.wait_for(&format!("pen at {x} {y}"))
    }

    /// Waits until the pen pressed, and was lifted.
    pub fn wait_for_pen_tap(&self) -> Result<()> {
        self.wait_for("pen down")?;
        self.wait_for("pen up")
    }

    /// Waits until the pen was taken away.
    pub fn wait_for_pen_away(&self) -> Result<()> {
        self.wait_for("pen out")
    }

    /// The greatest pressure of the pen so far, from 0 to 65535.
    pub fn greatest_pen_pressure(&self) -> Result<u32> {
        let report = self.report()?;
        let values = report.lines().filter_map(|line| line.strip_prefix("pen pressure ")?.parse().ok());
        values.max().context("no pressure")
    }

    /// Positions of all touches so far, in surface coordinates.
    pub fn touches(&self) -> Result<Vec<(i32, i32)>> {
        let report = self.report()?;
        let positions = report.lines().filter_map(|line| line.strip_prefix("touch ")?.split_once(' '));
        Ok(positions.filter_map(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?))).collect())
    }

    /// Waits for a touch at this position.
    pub fn wait_for_touch(&self, x: i32, y: i32) -> Result<()> {
        self.wait_until(&format!("a touch at {x}, {y}"), || Ok(self.touches()?.contains(&(x, y))))
    }

    /// Waits until a finger was lifted.
    pub fn wait_for_touch_released(&self) -> Result<()> {
        self.wait_for("touch up")
    }

    /// Waits until all fingers were cancelled.
    pub fn wait_for_touch_cancelled(&self) -> Result<()> {
        self.wait_for("touch cancel")
    }

    /// Waits for steps of the wheel; positive is down.
    pub fn wait_for_wheel_steps(&self, steps: i32) -> Result<()> {
        self.wait_for(&format!("wheel {steps}"))
    }

    /// How often a finger was lifted.
    pub fn touches_released(&self) -> Result<usize> {
        self.count("touch up")
    }

    /// Waits until the main device of the server's dma-buf feedback (`--feedback`) is as expected;
    /// its number, such as `226:0`.
    pub fn wait_for_main_device(&self, what: &str, expected: impl Fn(&str) -> bool) -> Result<String> {
        let mut last = None;
        let waited = self.wait_until(what, || {
            let report = self.report()?;
            last = report.lines().rev().find_map(|line| line.strip_prefix("main device ").map(str::to_owned));
            Ok(last.as_deref().is_some_and(&expected))
        });
        waited.with_context(|| format!("the last main device: {last:?}"))?;
        last.context("a main device")
    }

    /// Waits until this buffer of a client with sync points is ready to be read; 1 is the first.
    pub fn wait_for_buffer_ready(&self, number: u32) -> Result<()> {
        self.wait_for(&format!("ready {number}"))
    }

    /// Waits until the release point of a buffer has come.
    pub fn wait_for_buffer_released(&self, number: u32) -> Result<()> {
        self.wait_for(&format!("released {number}"))
    }

    /// Waits for the summary of a client that ends after `frames` presented frames.
    pub fn wait_for_frames_presented(&self, frames: u32) -> Result<()> {
        let summary = format!("stats frames={frames}");
        self.wait_until(&summary, || Ok(self.report()?.contains(&summary)))
    }

    /// Waits for the summary of a client that ends after `frames` presented frames, and returns one
    /// of its values, such as `missed`.
    pub fn wait_for_statistic(&self, frames: u32, name: &str) -> Result<f64> {
        self.wait_for_frames_presented(frames)?;
        let report = self.report()?;
        let summary = report.lines().find(|line| line.starts_with("stats ")).context("no summary")?;
        let mut values = summary.split(' ').filter_map(|pair| pair.split_once('='));
        let value = values.find_map(|(known, value)| (known == name).then_some(value));
        value.with_context(|| format!("no {name}: {summary}"))?.parse().context("a number")
    }

    /// Waits until a client with a fence has committed the buffer that has it.
    pub fn wait_for_fence(&self) -> Result<()> {
        self.wait_for("fenced")
    }

    /// Waits until the first frame is presented.
    pub fn wait_for_first_frame(&self) -> Result<()> {
        self.wait_until("the first frame", || Ok(self.report()?.contains("first frame at ")))
    }

    /// Waits until the server has closed the connection of a client that sent garbage.
    pub fn wait_until_refused(&self) -> Result<()> {
        self.wait_until("the end of the connection", || Ok(self.report()?.contains("disconnected after")))
    }

    /// Asks the client to end (SIGTERM).
    pub fn terminate(&self) -> Result<()> {
        self.signal(SIGTERM)
    }

    /// Sends a signal by number (signal(7)).
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.machine.signal(&self.program, signal)
    }
}
