//! GPUs that take long to test commits, and to look for monitors.

use anyhow::{ensure, Result};
use geom_ipc::DisplayState;
use geom_lab::protocol::GpuSpec;

use crate::support::harness::{Service, Setup};
use crate::support::kms::{read_switch, set_switch, settle};

/// Each test commit takes 20 ms, and the GPU has bandwidth for two of four monitors in their best
/// modes: the search ends in time, and enables all four.
#[test]
fn search_with_slow_test_commits_ends_in_time() -> Result<()> {
    const TEST_MS: u32 = 20;
    /// What a search may take (docs/gpus.md), the test that runs when it ends, the commit, and what
    /// is not a search: the commits that take over and leave.
    const LIMIT_MS: u32 = 300 + 4 * TEST_MS;
    let setup = Setup::with_monitors(4)?;
    let gpu = &setup.gpus[0];
    set_switch(&setup.machine, gpu, "max_khz", "150000")?;
    set_switch(&setup.machine, gpu, "test_ms", &TEST_MS.to_string())?;
    let service = setup.start("", &[])?;
    let tests = read_switch(&service.machine, &service.gpus[0], "tests")?;
    println!("{tests} test commits of {TEST_MS} ms");
    ensure!(tests > 2, "the kernel accepted the first choice");
    ensure!(tests * TEST_MS <= LIMIT_MS, "{tests} test commits of {TEST_MS} ms");
    let displays = service.displays()?;
    ensure!(displays.iter().all(|display| display.state == DisplayState::Enabled), "{displays:#?}");
    service.finish()
}

/// How long the probe of the slow connector takes.
const PROBE_MS: u32 = 300;

/// Frames of an animated client on the first display.
const FRAMES: u32 = 60;

/// Prints how many of its frames a client misses while something happens. No test depends on that:
/// a busy host adds to them.
fn count_missed(service: &Service, name: &str, call: impl Fn() -> Result<()>) -> Result<()> {
    let arguments = ["--fullscreen", "Virtual-1", "--animate", "small", "--frames", "60"];
    let client = service.client(name, &arguments)?;
    client.wait_for_first_frame()?;
    call()?;
    settle(service)?;
    println!("{name}: {} frames missed", client.wait_for_statistic(FRAMES, "missed")?);
    Ok(())
}

/// The second connector takes 300 ms to say whether it has a monitor. An event of the third one
/// alone does not ask it. One that names no connector asks it once; frames stop for that time.
#[test]
fn slow_connector_is_not_probed_for_an_event_of_another_one() -> Result<()> {
    let spec = GpuSpec { connectors: vec![true, true, false], ..GpuSpec::new("gpu0", 3) };
    let service = Setup::new(&[spec])?.start("", &[])?;
    let (machine, gpu) = (&service.machine, &service.gpus[0]);
    let probes = || read_switch(machine, gpu, "slow_probes");
    set_switch(machine, gpu, "slow_connectors", "2")?;
    set_switch(machine, gpu, "probe_ms", &PROBE_MS.to_string())?;
    count_missed(&service, "no-event", || Ok(()))?;
    let before = probes()?;
    // It has no monitor, so that its link needs no modeset.
    count_missed(&service, "event-of-another", || set_switch(machine, gpu, "link_bad", "4"))?;
    ensure!(probes()? == before, "the slow connector was probed");
    // Nothing has changed, but the event does not say so.
    count_missed(&service, "event-of-any", || machine.unplug("gpu0", 2))?;
    ensure!(probes()? == before + 1, "{} probes for one event", probes()? - before);
    service.finish()
}
