//! `geom_compositor set`: changes a display, and asks the user to confirm a new mode.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use geom_client::Client;
use geom_display::output_config::Position;
use geom_ipc::{DisplayChange, Request, Response, Vrr, VrrCondition};

use super::error::Error;
use super::{connect, tables};

/// What to change of a display.
#[derive(Debug, Clone, Args)]
pub struct Set {
    display: String,
    /// A mode of the monitor (1920x1080 or 1920x1080@59.94), "1920x1080@60 cvt" (cvt-rb, cvt-rb2),
    /// a modeline, or preferred
    #[arg(long)]
    mode: Option<String>,
    /// Device pixels per logical pixel
    #[arg(long)]
    scale: Option<f64>,
    /// normal, 90, 180, 270, flipped, flipped-90, flipped-180 or flipped-270
    #[arg(long)]
    transform: Option<String>,
    /// X,Y of the top left corner, or "right-of DISPLAY", left-of, above, below
    #[arg(long, allow_hyphen_values = true)]
    position: Option<Position>,
    /// Show the content of another display; "" ends that
    #[arg(long, value_name = "DISPLAY")]
    mirror: Option<String>,
    /// Whether it is part of the layout: on or off; `blank` powers it down and keeps it there
    #[arg(long, alias = "power", value_parser = on_off)]
    enabled: Option<bool>,
    /// srgb, display-p3, bt2020, bt2020-pq, bt2020-hlg, native, or the path of an ICC profile
    #[arg(long)]
    color_space: Option<String>,
    /// Bits per color channel on the link
    #[arg(long)]
    bit_depth: Option<u8>,
    /// automatic, full or limited
    #[arg(long)]
    rgb_range: Option<String>,
    /// none, graphics, photo, cinema or game
    #[arg(long)]
    content_type: Option<String>,
    /// How a panel shows modes other than its native one: none, full, center or aspect
    #[arg(long)]
    scaling: Option<String>,
    /// Variable refresh rate: on, off or fullscreen
    #[arg(long, value_parser = vrr)]
    vrr: Option<Vrr>,
    /// White point in kelvin, from 1000 to 10000
    #[arg(long)]
    white_point: Option<u16>,
    /// Fraction of the maximum, from 0.1 to 1
    #[arg(long)]
    brightness: Option<f64>,
    /// Whether the configured night light applies to it: on or off
    #[arg(long, value_parser = on_off)]
    night_light: Option<bool>,
    /// Ask whether to keep the change, and roll it back after this time without an answer [default:
    /// 15 for a new mode at a terminal]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "15",
        value_parser = clap::value_parser!(u32).range(1..=600)
    )]
    confirm: Option<u32>,
}

/// Asks at the terminal. Without an answer in time, the service rolls the change back by itself.
fn confirm(service: &mut Client, display: String, seconds: u32) -> Result<(), Error> {
    write!(io::stderr(), "Keep this? Type y and Enter within {seconds} s: ")?;
    let (answer, answered) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        // Fails if the time is over.
        let _ = answer.send(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"));
    });
    let Ok(keep) = answered.recv_timeout(Duration::from_secs(seconds.into())) else {
        return Err(Error::NotConfirmed);
    };
    service.request(Request::ConfirmDisplay { display, keep })?;
    match keep {
        true => Ok(()),
        false => Err(Error::Rejected),
    }
}

fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

fn vrr(text: &str) -> Result<Vrr, String> {
    match text {
        "fullscreen" => Ok(Vrr::When(VrrCondition::Fullscreen)),
        _ => on_off(text).map(Vrr::Always).map_err(|_| "write on, off or fullscreen".to_owned()),
    }
}

/// Changes the display and prints its new state.
///
/// # Errors
/// If the service refuses the change, or the user does not confirm it.
pub fn run(set: Set) -> Result<(), Error> {
    let (position, relative_position) = match set.position {
        Some(Position::At(x, y)) => (Some((x, y)), None),
        Some(relative) => (None, Some(relative.to_string())),
        None => (None, None),
    };
    // A relative path is relative to the user's working directory, not the service's.
    let absolute = |name: String| match std::fs::canonicalize(&name) {
        Ok(path) if path.is_file() => path.display().to_string(),
        _ => name,
    };
    let change = Box::new(DisplayChange {
        mode: set.mode,
        scale: set.scale,
        transform: set.transform,
        position,
        relative_position,
        mirror: set.mirror,
        enabled: set.enabled,
        color_space: set.color_space.map(absolute),
        bit_depth: set.bit_depth,
        rgb_range: set.rgb_range,
        content_type: set.content_type,
        scaling: set.scaling,
        vrr: set.vrr,
        white_point: set.white_point,
        brightness: set.brightness,
        night_light: set.night_light,
    });
    let is_asked = change.mode.is_some() && io::stdin().is_terminal();
    let confirm_within = set.confirm.or(is_asked.then_some(15));
    let display = set.display.clone();
    let mut service = connect()?;
    let request = Request::SetDisplay { display: set.display, change, confirm_within };
    if let Response::Displays(displays) = service.request(request)? {
        writeln!(io::stdout(), "{}", tables::displays(&displays))?;
    }
    confirm_within.map_or(Ok(()), |seconds| confirm(&mut service, display, seconds))
}
