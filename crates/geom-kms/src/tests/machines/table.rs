//! The table of docs/gpus.md: what is chosen on each machine.

use std::fmt::Write;

use super::{Rig, MACHINES};
use crate::objects::PlaneKind;

/// The lines of docs/gpus.md around the table.
const BEGIN: &str = "<!-- machines: begin -->\n";
const END: &str = "<!-- machines: end -->\n";

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/gpus.md"));

fn table() -> String {
    let mut text = "| machine | output | CRTC | mode | plane | format | modifier | cursor |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for index in 0..MACHINES.len() {
        let mut rig = Rig::new(index);
        let mut assignments = rig.configure().assignments;
        assignments.sort_by_key(|found| found.request);
        for found in assignments {
            let (plane, layout) = rig.scanout(found.crtc);
            let kind = match rig.fake().plane_kind(plane) {
                Some(PlaneKind::Primary) => "primary",
                Some(PlaneKind::Overlay) => "overlay",
                _ => "cursor",
            };
            let number = rig.fake().planes().iter().position(|id| *id == plane).expect("a plane");
            let cursor = if rig.device.has_hardware_cursor(found.crtc) { "plane" } else { "drawn" };
            let (width, height) = (found.mode.width, found.mode.height);
            let refresh = (found.mode.refresh + 500) / 1000;
            let modifier = rig.machine.modifier_name(layout.modifier);
            writeln!(
                text,
                "| {} | {} | {} | {width}x{height}@{refresh} | {kind} {number} | {} | {modifier} | {cursor} |",
                rig.machine.title, rig.machine.outputs[found.request], found.crtc, layout.format,
            )
            .expect("text");
        }
    }
    text
}

#[test]
fn documentation_has_what_is_chosen() {
    let written = PAGE.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let (written, _) = written.expect("docs/gpus.md has a table between the two comments");
    let table = table();
    assert!(written == table, "the table of docs/gpus.md is stale; it has to be:\n{table}");
}
