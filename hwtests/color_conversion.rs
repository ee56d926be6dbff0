//! Color conversion of what clients show, by the renderer, by the CRTC or by planes.

use std::path::Path;

use anyhow::{ensure, Context, Result};
use geom_lab::{Machine, Screenshot};

use crate::color::DEFAULTS;
use crate::support::edids::HDR;
use crate::support::harness::Service;
use crate::support::kms::{crtc_output, ensure_properties, lut, setup, Properties};
use crate::support::RED;

/// sRGB's red in BT.2020.
const RED_IN_BT2020: [u8; 3] = [208, 74, 35];
/// The same in Display P3.
const RED_IN_DISPLAY_P3: [u8; 3] = [234, 51, 35];

fn is_near(pixel: [u8; 3], expected: [u8; 3], tolerance: u8) -> bool {
    pixel.iter().zip(expected).all(|(one, other)| one.abs_diff(other) <= tolerance)
}

/// Within one code: blue lies half way between two.
fn wait_for_red_in_bt2020(service: &Service) -> Result<()> {
    service.wait_for_pixels("Virtual-1", "sRGB's red in BT.2020", |screenshot| {
        screenshot.fraction(|pixel| is_near(pixel, RED_IN_BT2020, 1)) > 0.97
    })?;
    Ok(())
}

#[test]
fn pixman_converts_for_the_monitor() -> Result<()> {
    ensure_renderer_converts("pixman")
}

#[test]
fn gles_converts_for_the_monitor() -> Result<()> {
    ensure_renderer_converts("llvmpipe")
}

fn ensure_renderer_converts(renderer: &str) -> Result<()> {
    let service = setup(1, &[HDR])?.start("hardware_color = false\n", &["--renderer", renderer])?;
    let client = service.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.command(&["set", "Virtual-1", "--color-space", "bt2020"])?;
    // All but the square that changes with each frame, in every buffer of the swapchain.
    for _ in 0..20 {
        wait_for_red_in_bt2020(&service)?;
    }
    // A screenshot is sRGB.
    let shot = service.screenshot("Virtual-1")?;
    ensure!(shot.fraction(|pixel| pixel == RED) > 0.97, "the screenshot is not sRGB");
    // The cursor is converted too, so it is drawn instead of having a plane.
    let pointer = service.pointer("pointer")?;
    pointer.motion(7, 5)?;
    wait_for_red_in_bt2020(&service)?;
    let all = Properties::read(&service.machine)?;
    ensure!(all.values("Colorspace") == ["BT2020_RGB"], "{all:#?}");
    service.command(&["set", "Virtual-1", "--color-space", "srgb"])?;
    service.wait_for_color("Virtual-1", RED)?;
    client.terminate()?;
    service.finish()
}

/// The CRTC converts by its tables and matrix; buffers stay as clients drew them.
#[test]
fn crtc_converts_if_it_can() -> Result<()> {
    let service = setup(1, &[HDR])?.start("", &[])?;
    let machine = &service.machine;
    service.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    service.wait_for_color("Virtual-1", RED)?;
    ensure_properties(machine, &DEFAULTS)?;
    let set = |option: &str, value: &str| service.command(&["set", "Virtual-1", option, value]);
    set("--color-space", "bt2020")?;
    service.wait_for_color("Virtual-1", RED)?;
    let all = Properties::read(machine)?;
    ensure!(all.values("Colorspace") == ["BT2020_RGB"], "{:?}", all.values("Colorspace"));
    let output = crtc_output(&all, RED)?;
    ensure!(is_near(output, RED_IN_BT2020, 1), "{output:?}");
    ensure!(crtc_output(&all, [255; 3])? == [255; 3]);

    // An ICC profile of a matrix and curves needs no more than that.
    let curve =
        lcms2::ToneCurve::new_parametric(4, &[2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045])?;
    write_display_p3(machine, "p3.icc", &curve)?;
    set("--color-space", "/tmp/p3.icc")?;
    machine.wait_until("red in the ICC profile", |machine| {
        Ok(is_near(crtc_output(&Properties::read(machine)?, RED)?, RED_IN_DISPLAY_P3, 1))
    })?;
    service.wait_for_color("Virtual-1", RED)?;
    set("--color-space", "bt2020")?;

    // Brightness is in the same tables. For sRGB, GAMMA_LUT alone has it.
    set("--brightness", "0.5")?;
    machine.wait_until("half the brightness", |machine| {
        Ok(crtc_output(&Properties::read(machine)?, [255; 3])? == [188; 3])
    })?;
    set("--color-space", "srgb")?;
    let white = |all: &Properties| -> Result<[f64; 3]> {
        lut(all.first("GAMMA_LUT")?)?.last().copied().context("an empty GAMMA_LUT")
    };
    machine.wait_until("GAMMA_LUT alone", |machine| {
        let all = Properties::read(machine)?;
        Ok(all.values("CTM") == ["0"] && (white(&all)?[0] - 0.735).abs() < 0.001)
    })?;
    service.command(&["set", "Virtual-1", "--brightness", "1", "--white-point", "3400"])?;
    machine.wait_until("a warm white", |machine| {
        let white = white(&Properties::read(machine)?)?;
        Ok(white[0] == 1.0 && white[2] < 0.7)
    })?;
    let signal = service.display("Virtual-1")?.signal.context("a signal")?;
    ensure!(signal.white_point == Some(3400), "{signal:#?}");
    service.end()?;
    ensure_properties(machine, &DEFAULTS)
}

/// If the CRTC's tables are not to be used, the primary plane's color pipeline converts.
#[test]
fn plane_color_pipeline_converts_if_configured() -> Result<()> {
    let setup = setup(1, &[HDR])?;
    // Another display server's leftovers, in each plane's pipeline.
    Properties::set(&setup.machine, &["COLOR_PIPELINE=Color Pipeline"])?;
    let left = Properties::read(&setup.machine)?;
    ensure!(left.values("COLOR_PIPELINE").iter().all(|value| *value != "Bypass"), "{left:#?}");
    let service = setup.start("hardware_color = \"planes\"\n", &[])?;
    let machine = &service.machine;
    service.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let is_bypassed = || -> Result<bool> {
        Ok(Properties::read(machine)?.values("COLOR_PIPELINE").iter().all(|value| *value == "Bypass"))
    };
    ensure!(is_bypassed()?, "leftovers stay");
    let pointer = service.pointer("pointer")?;
    pointer.motion(7, 5)?;
    let set = |value: &str| service.command(&["set", "Virtual-1", "--color-space", value]);
    set("bt2020")?;
    machine.wait_until("the plane's pipeline", |_| Ok(!is_bypassed()?))?;
    let all = Properties::read(machine)?;
    // Only the primary plane's, and of its four operations both curves and one matrix.
    let used = all.values("COLOR_PIPELINE").into_iter().filter(|value| *value != "Bypass").count();
    ensure!(used == 1, "{all:#?}");
    ensure!(all.values("CTM") == ["0"] && all.values("DEGAMMA_LUT") == ["0"], "{all:#?}");
    ensure!(all.objects("colorop", "BYPASS", "0").len() == 3, "{all:#?}");
    // BT.2020's red has 0.6274 of sRGB's, in 31.32 bits.
    let matrix = all.values("DATA").into_iter().find(|data| data.len() == 2 * 96).context("a matrix")?;
    let first = u64::from_str_radix(&matrix[..16], 16)?.swap_bytes() as f64 / 2f64.powi(32);
    ensure!((first - 0.6274).abs() < 1e-3, "{first}");
    // Buffers stay sRGB, the cursor's included.
    service.wait_for_color("Virtual-1", RED)?;
    set("srgb")?;
    machine.wait_until("no pipeline", |_| is_bypassed())?;
    set("bt2020")?;
    machine.wait_until("the plane's pipeline again", |_| Ok(!is_bypassed()?))?;
    service.end()?;
    ensure!(is_bypassed()?, "a pipeline is left for the next program");
    Ok(())
}

/// Writes an ICC profile of Display P3's primaries and a curve to the guest's /tmp.
fn write_display_p3(machine: &Machine, name: &str, curve: &lcms2::ToneCurve) -> Result<()> {
    let point = |x, y| lcms2::CIExyY { x, y, Y: 1.0 };
    let primaries =
        lcms2::CIExyYTRIPLE { Red: point(0.68, 0.32), Green: point(0.265, 0.69), Blue: point(0.15, 0.06) };
    let profile = lcms2::Profile::new_rgb(&point(0.3127, 0.329), &primaries, &[curve, curve, curve])?;
    std::fs::write(machine.shared_dir().join(name), profile.icc()?)?;
    let to = Path::new("/tmp").join(name);
    machine.run_as_root(name, &["cp", &format!("/run/lab/{name}"), &to.display().to_string()])
}

#[test]
fn icc_profile_is_applied_by_pixman() -> Result<()> {
    ensure_icc_profile_applies("pixman")
}

#[test]
fn icc_profile_is_applied_by_gles() -> Result<()> {
    ensure_icc_profile_applies("llvmpipe")
}

/// A file that is no ICC profile is reported; a good one is applied and removed.
fn ensure_icc_profile_applies(renderer: &str) -> Result<()> {
    let setup = setup(1, &[HDR])?;
    setup.machine.write("/tmp/none.icc", "no profile")?;
    // Wide, and with a simple gamma: sRGB's red is not its full red.
    write_display_p3(&setup.machine, "wide.icc", &lcms2::ToneCurve::new(2.2))?;
    let service = setup.start(
        "hardware_color = false\n[displays.Virtual-1]\ncolor_space = \"/tmp/none.icc\"\n",
        &["--renderer", renderer],
    )?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    // The file is read outside the event loop.
    service.wait_for_display("Virtual-1", "a warning about its ICC profile", |display| {
        display.warnings.iter().any(|warning| warning.contains("/tmp/none.icc") && warning.contains("ICC"))
    })?;
    service.command(&["set", "Virtual-1", "--color-space", "/tmp/wide.icc"])?;
    service.wait_for_pixels("Virtual-1", "red in the ICC profile", |screenshot| {
        let [red, green, blue] = screenshot.pixel(500, 500);
        red.abs_diff(235) <= 3 && green.abs_diff(53) <= 8 && blue.abs_diff(41) <= 8
    })?;
    let signal = service.display("Virtual-1")?.signal.context("a signal")?;
    ensure!(signal.color_space == "/tmp/wide.icc", "{signal:#?}");
    service.command(&["set", "Virtual-1", "--color-space", "srgb"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

#[test]
fn surface_with_an_image_description_is_converted_by_pixman() -> Result<()> {
    ensure_image_description_applies("pixman")
}

#[test]
fn surface_with_an_image_description_is_converted_by_gles() -> Result<()> {
    ensure_image_description_applies("llvmpipe")
}

/// While a surface with its own color space is shown, the renderer converts everything; the CRTC
/// does before and after.
fn ensure_image_description_applies(renderer: &str) -> Result<()> {
    let config = "[displays.\"*\"]\ncolor_space = \"bt2020\"\n";
    let service = setup(1, &[HDR])?.start(config, &["--renderer", renderer])?;
    let machine = &service.machine;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let crtc_converts = || -> Result<bool> { Ok(Properties::read(machine)?.values("CTM") != ["0"]) };
    ensure!(crtc_converts()?, "the CRTC does not convert");
    // sRGB's red, in Display P3.
    let film = service.client(
        "film",
        &["--fullscreen", "Virtual-1", "--color", "ea3323", "--colors", "display-p3", "--animate", "small"],
    )?;
    film.wait_for_image_description()?;
    let is_converted =
        |screenshot: &Screenshot| screenshot.fraction(|pixel| is_near(pixel, RED_IN_BT2020, 2)) > 0.97;
    for _ in 0..10 {
        service.wait_for_pixels("Virtual-1", "the film's red in BT.2020", is_converted)?;
    }
    machine.wait_until("no conversion by the CRTC", |_| Ok(!crtc_converts()?))?;
    film.terminate()?;
    service.wait_for_color("Virtual-1", RED)?;
    machine.wait_until("conversion by the CRTC", |_| crtc_converts())?;
    service.finish()
}
