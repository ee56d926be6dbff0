//! User profiles: each user's own settings, for each monitor wherever it is plugged in.

use anyhow::{ensure, Result};
use geom_ipc::DisplayState;

use crate::support::edids::{edid, AOC, HDR, LG};
use crate::support::harness::{install_program, wait_until_listening, Service, Setup};
use crate::support::kms::{self, atomic_state, ensure_properties};
use crate::support::RED;

const USERDATA: &str = "/tmp/userdata";

fn write_profile(setup: &Setup, user: &str, text: &str) -> Result<()> {
    let folder = format!("{USERDATA}/{user}");
    setup.machine.run_as_root(&format!("mkdir-{user}"), &["mkdir", "-p", &folder])?;
    setup.machine.write(&format!("{folder}/displays.toml"), text)
}

/// The kernel has committed this mode and these properties.
fn ensure_committed(service: &Service, mode: &str, expected: &[(&str, &str)]) -> Result<()> {
    let state = atomic_state(&service.machine, &service.gpus[0])?;
    ensure!(state.contains(&format!("mode: \"{mode}\"")), "no {mode}:\n{state}");
    ensure_properties(&service.machine, expected)
}

const WIDE: [(&str, &str); 2] = [("Colorspace", "BT2020_RGB"), ("max bpc", "10")];
const NARROW: [(&str, &str); 2] = [("Colorspace", "Default"), ("max bpc", "8")];

#[test]
fn each_user_has_their_own_resolution_and_color_space() -> Result<()> {
    let setup = kms::setup(1, &[HDR])?;
    write_profile(
        &setup,
        "ann",
        "[displays.\"PHL *\"]\nmode = \"1920x1080\"\ncolor_space = \"bt2020-pq\"\n",
    )?;
    write_profile(&setup, "bob", "[displays.\"PHL *\"]\nmode = \"1280x720\"\nscale = 1.5\n")?;
    let service = setup.start("", &["--userdata", USERDATA, "--user", "ann"])?;
    ensure_committed(&service, "1920x1080", &WIDE)?;
    let apply = |user: &str| service.command(&["profile", "apply", "--user", user]);
    apply("bob")?;
    ensure_committed(&service, "1280x720", &NARROW)?;
    ensure!(service.display("Virtual-1")?.scale == 1.5);
    apply("ann")?;
    ensure_committed(&service, "1920x1080", &WIDE)?;
    // If nothing differs, no mode is set.
    let modesets = service.count_modesets()?;
    ensure!(modesets >= 3, "{modesets} modesets were counted");
    apply("ann")?;
    ensure!(service.count_modesets()? == modesets, "the same profile caused a modeset");
    // A user without a file has no settings, and no name leads out of the folder.
    apply("carol")?;
    ensure_properties(&service.machine, &NARROW)?;
    service.try_command(&["profile", "apply", "--user", "../ann"])?.ensure_fails(1, &["../ann"])?;
    service.finish()
}

/// The profile of the user who has the seat's active session applies.
#[test]
fn profile_follows_the_active_session_of_the_seat() -> Result<()> {
    const LOGIND: &str = "/run/bin/geom-lab-logind";
    const ACTIVE_USER: &str = "/tmp/active-user";
    const BUS: (&str, &str) = ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/tmp/system-bus");
    let setup = kms::setup(1, &[HDR])?;
    write_profile(
        &setup,
        "daemon",
        "[displays.\"PHL *\"]\nmode = \"1920x1080\"\ncolor_space = \"bt2020-pq\"\n",
    )?;
    write_profile(&setup, "games", "[displays.\"PHL *\"]\nmode = \"1280x720\"\n")?;
    // A session bus, because the system bus's policy lets no one but root be logind.
    let bus = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--address", BUS.1];
    setup.machine.spawn_as_user("bus", &bus, &[])?;
    wait_until_listening(&setup.machine, "/tmp/system-bus")?;
    install_program(&setup.machine, "geom-lab-logind", LOGIND)?;
    setup.machine.write(ACTIVE_USER, "daemon")?;
    let argv = [LOGIND, "--users=daemon,games", ACTIVE_USER];
    let logind = setup.machine.spawn_as_user("logind", &argv, &[BUS])?;
    setup.machine.wait_for_log(&logind, "serving")?;
    let service = setup.start_with("", &["--userdata", USERDATA], &[BUS])?;
    ensure_committed(&service, "1920x1080", &WIDE)?;
    service.machine.write(ACTIVE_USER, "games")?;
    service.wait_for_status("the second user", |status| status.user == "games")?;
    service.machine.wait_until("the second user's settings", |_| {
        ensure_committed(&service, "1280x720", &NARROW).map(|()| true)
    })?;
    // Without an active session the last user's settings stay.
    service.machine.write(ACTIVE_USER, "")?;
    service.machine.write(ACTIVE_USER, "daemon")?;
    service.machine.wait_until("the first user's settings", |_| {
        ensure_committed(&service, "1920x1080", &WIDE).map(|()| true)
    })?;
    service.finish()
}

#[test]
fn errors_in_a_profile_leave_the_rest() -> Result<()> {
    let setup = kms::setup(1, &[HDR])?;
    write_profile(&setup, "ann", "[displays.Virtual-1]\nmode = \"1280x720\"\n")?;
    let service = setup.start("", &["--userdata", USERDATA, "--user", "ann"])?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    let events = service.subscribe()?;
    let file = format!("{USERDATA}/ann/displays.toml");
    // Changes of the file apply. If it is no TOML, the error has the line, and the last settings
    // stay.
    service.machine.write(&file, "[displays.Virtual-1]\nmode = \"1280x720\"\nscale = = 2\n")?;
    events.wait_for_config_error(&["displays.toml:3"])?;
    let display = service.display("Virtual-1")?;
    ensure!(display.mode.is_some_and(|mode| mode.width == 1280) && display.scale == 1.0, "{display:#?}");
    service.try_command(&["profile", "check"])?.ensure_fails(1, &["displays.toml:3"])?;
    // One bad line costs only itself.
    service.machine.write(&file, "[displays.Virtual-1]\nmode = \"wide\"\nscale = 2\n")?;
    events.wait_for_config_error(&["displays.toml:2", "Virtual-1", "mode"])?;
    service.wait_for_display("Virtual-1", "the other line", |display| display.scale == 2.0)?;
    // A profile can not disable every display.
    service.machine.write(&file, "[displays.\"*\"]\nenabled = false\n")?;
    service.wait_for_notice("Virtual-1 stays")?;
    service.wait_for_color("Virtual-1", RED)?;
    ensure!(service.command(&["profile", "reset"]).is_err(), "another user's file was removed");
    service.finish()
}

/// Every order of four.
fn orders() -> Vec<[usize; 4]> {
    let all = (0..256).map(|number| [number & 3, number >> 2 & 3, number >> 4 & 3, number >> 6]);
    all.filter(|order| (0..4).all(|one| order.contains(&one))).collect()
}

/// A dock with four monitors that come in every order. Two have the same EDID down to the serial
/// number; the others also change connectors.
#[test]
fn each_monitor_gets_its_own_settings_back() -> Result<()> {
    let setup = Setup::with_monitors(4)?;
    let twin = edid(HDR)?;
    let monitors = [edid(AOC)?, edid(LG)?, twin.clone(), twin];
    for (connector, monitor) in monitors.iter().enumerate() {
        setup.machine.set_monitor(&setup.gpus[0], connector, monitor)?;
    }
    write_profile(&setup, "ann", "# the desk\n")?;
    setup.machine.run_as_root("owner", &["chown", "-R", "nobody", &format!("{USERDATA}/ann")])?;
    let service = setup.start("", &["--userdata", USERDATA, "--user", "ann"])?;
    for (number, options) in
        [(1, ["--scale", "2"]), (2, ["--scale", "1.25"]), (3, ["--transform", "90"]), (4, ["--scale", "1.5"])]
    {
        let name = format!("Virtual-{number}");
        service.command(&[&["set", &name], &options[..]].concat())?;
    }
    service.command(&["profile", "save"])?;
    let saved = service.machine.read(&format!("{USERDATA}/ann/displays.toml"))?;
    ensure!(saved.starts_with("# the desk\n"), "{saved}");
    // In the order of `monitors`.
    let expected =
        [("AOC", 2.0, "normal"), ("GSM", 1.25, "normal"), ("PHL", 1.0, "90"), ("PHL", 1.5, "normal")];
    for (round, order) in orders().into_iter().enumerate() {
        for connector in order {
            service.machine.unplug("gpu0", connector)?;
        }
        service.wait_for_active_crtcs(0)?;
        // The first two change places in every other round; the twins are identified by connector.
        let swapped = round % 2 == 0;
        let place = |monitor: usize| if swapped && monitor < 2 { 1 - monitor } else { monitor };
        for monitor in [0, 1] {
            service.machine.set_monitor(&service.gpus[0], place(monitor), &monitors[monitor])?;
        }
        for connector in order.into_iter().rev() {
            service.machine.plug("gpu0", connector)?;
        }
        let what = format!("everyone's settings in round {round}, order {order:?}");
        service.wait_for_answer(
            &what,
            || service.displays(),
            |displays| {
                expected.iter().enumerate().all(|(monitor, (make, scale, transform))| {
                    let name = format!("Virtual-{}", place(monitor) + 1);
                    displays.iter().find(|display| display.name == name).is_some_and(|display| {
                        display.state == DisplayState::Enabled
                            && display.monitor.as_ref().is_some_and(|monitor| monitor.make == *make)
                            && display.scale == *scale
                            && display.transform == *transform
                    })
                })
            },
        )?;
    }
    service.finish()
}
