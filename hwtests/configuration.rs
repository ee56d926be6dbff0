//! Errors in the configuration: each is reported with file and line, and the rest applies.

use anyhow::{ensure, Result};

use crate::support::harness::Setup;
use crate::support::{shows_notices, COMPOSITOR, CONFIG, RED};

#[test]
fn broken_configuration_still_enables_displays() -> Result<()> {
    let config = "renderer = \"vulkan\"\n[displays.Virtual-1]\nmode = \"1x1\"\nscale = \"big\"\n";
    let service = Setup::with_monitors(2)?.start(config, &[])?;
    // Each error names the file, the line, the key and what is allowed.
    let notices = service.status()?.notices;
    for named in [
        vec![format!("{CONFIG}:1"), "renderer".into(), "\"vulkan\"".into(), "\"auto\"".into()],
        vec![format!("{CONFIG}:4"), "scale".into(), "\"big\"".into(), "0.25".into(), "8".into()],
        vec!["Virtual-1".into(), "1x1".into(), "1024x768@60.00".into()],
    ] {
        let names_all = |notice: &String| named.iter().all(|name| notice.contains(name));
        ensure!(notices.iter().any(names_all), "no notice of {named:?} in {notices:#?}");
    }
    service.wait_for_pixels("Virtual-1", "the notices", shows_notices)?;
    // A file that is no TOML: the last good configuration stays.
    let events = service.subscribe()?;
    service.machine.write(CONFIG, "renderer = [\n")?;
    events.wait_for_config_error(&["geom_compositor.toml:", "TOML"])?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

#[test]
fn missing_configuration_is_reported() -> Result<()> {
    let setup = Setup::with_monitors(1)?;
    let argv = [COMPOSITOR, "--config", "/nowhere/file.toml"];
    let compositor = setup.machine.spawn_as_user("compositor", &argv, &[("NO_COLOR", "1")])?;
    let service = setup.into_service(compositor)?;
    service.wait_for_enabled_displays()?;
    service.wait_for_notice("/nowhere/file.toml")?;
    Ok(())
}
