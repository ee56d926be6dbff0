//! Flips pages at every vblank and does nothing else: the best result that the lab's kernel and its
//! host allow, as the floor for what `make bench` measures of compositors.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use drm::buffer::DrmFourcc;
use drm::control::{connector, Device as ControlDevice, Event, PageFlipFlags};
use geom_lab::Card;

/// Flips between two buffers on the first connected monitor and prints how many frames were late.
#[derive(Parser)]
struct Options {
    /// The card's device file.
    #[arg(long, default_value = "/dev/dri/card0")]
    card: String,
    /// Number of page flips.
    #[arg(long, default_value_t = 300)]
    frames: u32,
    /// Copy a whole image into each frame, as a compositor does for a fullscreen client.
    #[arg(long)]
    copy: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let card = Card::open(&options.card)?;
    let resources = card.resource_handles()?;
    let mut connectors = resources.connectors().iter().map(|handle| card.get_connector(*handle, true));
    let connector = connectors
        .find_map(|info| info.ok().filter(|info| info.state() == connector::State::Connected))
        .context("no monitor is connected")?;
    let mode = *connector.modes().first().context("the monitor has no mode")?;
    let crtc = *resources.crtcs().first().context("the card has no CRTC")?;
    let (width, height) = mode.size();
    let size = (u32::from(width), u32::from(height));
    let mut buffers = Vec::new();
    for _ in 0..2 {
        let buffer = card.create_dumb_buffer(size, DrmFourcc::Xrgb8888, 32)?;
        let framebuffer = card.add_framebuffer(&buffer, 24, 32)?;
        buffers.push((buffer, framebuffer));
    }
    let mut buffers = <[_; 2]>::try_from(buffers).ok().context("two buffers")?;
    let framebuffers = [buffers[0].1, buffers[1].1];
    let [first, second] = &mut buffers;
    let mut mappings = [card.map_dumb_buffer(&mut first.0)?, card.map_dumb_buffer(&mut second.0)?];
    let image = vec![0x5a; mappings[0].len()];
    for mapping in &mut mappings {
        mapping.copy_from_slice(&image);
    }
    card.set_crtc(crtc, Some(framebuffers[0]), (0, 0), &[connector.handle()], Some(mode))?;

    let interval = Duration::from_secs(1) / mode.vrefresh().max(1);
    let mut flips: Vec<Duration> = Vec::new();
    for frame in 0..=options.frames as usize {
        let next = (frame + 1) % 2;
        if options.copy {
            mappings[next].copy_from_slice(&image);
        }
        card.page_flip(crtc, framebuffers[next], PageFlipFlags::EVENT, None)?;
        'flip: loop {
            for event in card.receive_events()? {
                if let Event::PageFlip(flip) = event {
                    flips.push(flip.duration);
                    break 'flip;
                }
            }
        }
    }
    let mut gaps: Vec<f64> =
        flips.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64()).collect();
    let missed: f64 = gaps.iter().map(|gap| (gap / interval.as_secs_f64()).round() - 1.0).sum();
    gaps.sort_by(f64::total_cmp);
    let at = |quantile: f64| gaps[((gaps.len() - 1) as f64 * quantile).round() as usize] * 1000.0;
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu = (used.tv_sec as f64 + used.tv_nsec as f64 / 1e9) * 1000.0 / f64::from(options.frames);
    println!(
        "stats frames={} median_ms={:.3} p99_ms={:.3} missed={missed} cpu_ms={cpu:.3}",
        gaps.len(),
        at(0.5),
        at(0.99),
    );
    Ok(())
}
