//! Timings of Video Identification Codes (CTA-861-H, tables 1 to 3): progressive ones up to
//! 4096x2160 that monitors and televisions commonly have.

use super::timing::{Source, Timing};

/// Pixel clock in kHz, active pixels, front porch, sync pulse and blanking of a line.
type Horizontal = (u32, u32, u32, u32, u32);
/// Active lines, front porch, sync pulse and blanking of a frame; whether sync pulses are positive.
type Vertical = (u32, u32, u32, u32, bool);

const LINES_480: Vertical = (480, 9, 6, 45, false);
const LINES_576: Vertical = (576, 5, 5, 49, false);
const LINES_720: Vertical = (720, 5, 5, 30, true);
const LINES_1080: Vertical = (1080, 4, 5, 45, true);
const LINES_2160: Vertical = (2160, 8, 10, 90, true);

/// Returns the timing of a code; `None` for interlaced ones, those with repeated pixels, and rare
/// ones.
pub fn timing(code: u8) -> Option<Timing> {
    let (horizontal, vertical): (Horizontal, Vertical) = match code {
        1 => ((25_175, 640, 16, 96, 160), (480, 10, 2, 45, false)),
        2 | 3 => ((27_000, 720, 16, 62, 138), LINES_480),
        4 => ((74_250, 1280, 110, 40, 370), LINES_720),
        16 => ((148_500, 1920, 88, 44, 280), LINES_1080),
        17 | 18 => ((27_000, 720, 12, 64, 144), LINES_576),
        19 => ((74_250, 1280, 440, 40, 700), LINES_720),
        31 => ((148_500, 1920, 528, 44, 720), LINES_1080),
        32 => ((74_250, 1920, 638, 44, 830), LINES_1080),
        33 => ((74_250, 1920, 528, 44, 720), LINES_1080),
        34 => ((74_250, 1920, 88, 44, 280), LINES_1080),
        41 => ((148_500, 1280, 440, 40, 700), LINES_720),
        47 => ((148_500, 1280, 110, 40, 370), LINES_720),
        63 => ((297_000, 1920, 88, 44, 280), LINES_1080),
        64 => ((297_000, 1920, 528, 44, 720), LINES_1080),
        93 => ((297_000, 3840, 1276, 88, 1660), LINES_2160),
        94 => ((297_000, 3840, 1056, 88, 1440), LINES_2160),
        95 => ((297_000, 3840, 176, 88, 560), LINES_2160),
        96 => ((594_000, 3840, 1056, 88, 1440), LINES_2160),
        97 => ((594_000, 3840, 176, 88, 560), LINES_2160),
        98 => ((297_000, 4096, 1020, 88, 1404), LINES_2160),
        99 => ((297_000, 4096, 968, 88, 1184), LINES_2160),
        100 => ((297_000, 4096, 88, 88, 304), LINES_2160),
        101 => ((594_000, 4096, 968, 88, 1184), LINES_2160),
        102 => ((594_000, 4096, 88, 88, 304), LINES_2160),
        _ => return None,
    };
    let (clock_khz, width, h_front, h_sync, h_blank) = horizontal;
    let (height, v_front, v_sync, v_blank, is_positive) = vertical;
    Some(Timing {
        source: Source::Cta,
        clock_khz,
        width,
        h_front,
        h_sync,
        h_blank,
        height,
        v_front,
        v_sync,
        v_blank,
        interlaced: false,
        h_positive: is_positive,
        v_positive: is_positive,
        millimeters: None,
        preferred: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_refresh_rates() {
        for (code, width, height, hertz) in [
            (1, 640, 480, 59.94),
            (3, 720, 480, 59.94),
            (4, 1280, 720, 60.0),
            (16, 1920, 1080, 60.0),
            (18, 720, 576, 50.0),
            (19, 1280, 720, 50.0),
            (31, 1920, 1080, 50.0),
            (32, 1920, 1080, 24.0),
            (33, 1920, 1080, 25.0),
            (34, 1920, 1080, 30.0),
            (41, 1280, 720, 100.0),
            (47, 1280, 720, 120.0),
            (63, 1920, 1080, 120.0),
            (64, 1920, 1080, 100.0),
            (93, 3840, 2160, 24.0),
            (94, 3840, 2160, 25.0),
            (95, 3840, 2160, 30.0),
            (96, 3840, 2160, 50.0),
            (97, 3840, 2160, 60.0),
            (98, 4096, 2160, 24.0),
            (99, 4096, 2160, 25.0),
            (100, 4096, 2160, 30.0),
            (101, 4096, 2160, 50.0),
            (102, 4096, 2160, 60.0),
        ] {
            let timing = timing(code).unwrap_or_else(|| panic!("{code} has a timing"));
            assert_eq!((timing.width, timing.height), (width, height), "{code}");
            assert!((timing.refresh() - hertz).abs() < 0.01, "{code}: {}", timing.refresh());
            assert!(timing.h_front + timing.h_sync < timing.h_blank, "{code}");
            assert!(timing.v_front + timing.v_sync < timing.v_blank, "{code}");
        }
    }

    #[test]
    fn interlaced_and_unknown_codes_have_none() {
        for code in [0, 5, 20, 200, 255] {
            assert_eq!(timing(code), None, "{code}");
        }
    }
}
