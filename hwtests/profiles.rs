//! Users' wishes for monitors: each user's own, for each monitor wherever it is plugged in.

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{Ending, GpuSpec};

use crate::colour::{self, HDR};
use crate::identity::{command, display, edid, succeeds, AOC, LG};
use crate::world::{Bench, World, RED};

const USERDATA: &str = "/tmp/userdata";

fn profile(bench: &Bench, user: &str, text: &str) -> Result<()> {
    bench.machine.run(&format!("mkdir-{user}"), &["mkdir", "-p", &format!("{USERDATA}/{user}")])?;
    bench.machine.write(&format!("{USERDATA}/{user}/displays.toml"), text)
}

/// Resolution and colour space as the kernel has committed them.
fn committed(world: &World, log: &str, mode: &str, expected: &[(&str, &str)]) -> Result<()> {
    let card = world.gpus[0].card.trim_start_matches("card");
    let state = world.machine.read(&format!("/sys/kernel/debug/dri/{card}/state"))?;
    ensure!(state.contains(&format!("mode: \"{mode}\"")), "{log}: no {mode}:\n{state}");
    colour::expect(&world.machine, log, expected)
}

const ANN: [(&str, &str); 2] = [("Colorspace", "BT2020_RGB"), ("max bpc", "10")];
const BOB: [(&str, &str); 2] = [("Colorspace", "Default"), ("max bpc", "8")];

#[test]
fn each_user_has_resolution_and_colours_of_their_own() -> Result<()> {
    let bench = colour::bench(1, &[HDR])?;
    profile(&bench, "ann", "[displays.\"PHL *\"]\nmode = \"1920x1080\"\ncolor_space = \"bt2020-pq\"\n")?;
    profile(&bench, "bob", "[displays.\"PHL *\"]\nmode = \"1280x720\"\nscale = 1.5\n")?;
    let world = bench.start("", &["--userdata", USERDATA, "--user", "ann"])?;
    world.until_logged("mode set")?;
    committed(&world, "ann", "1920x1080", &ANN)?;
    let apply = |log: &str, user: &str| succeeds(&world, log, &["profile", "apply", "--user", user]);
    apply("to-bob", "bob")?;
    committed(&world, "bob", "1280x720", &BOB)?;
    ensure!(display(&world, "bob-scale", "Virtual-1")?["scale"] == 1.5);
    apply("to-ann", "ann")?;
    committed(&world, "ann-again", "1920x1080", &ANN)?;
    // Nothing is set anew where nothing differs.
    let set = world.count("mode set")?;
    apply("same", "ann")?;
    ensure!(world.count("mode set")? == set, "the same profile made the monitor flash");
    // Of somebody without a file nothing is wished; and no name leads out of the folder.
    apply("nobody", "carol")?;
    colour::expect(&world.machine, "carol", &BOB)?;
    let (ending, text) = command(&world, "escape", &["profile", "apply", "--user", "../ann"])?;
    ensure!(ending == Some(Ending::Exited(1)) && text.contains("no user's name"), "{ending:?}: {text}");
    world.finish()
}

/// Whoever has the seat's session has the monitors as they like them.
#[test]
fn the_seat_s_user_is_followed() -> Result<()> {
    let bench = colour::bench(1, &[HDR])?;
    profile(&bench, "daemon", "[displays.\"PHL *\"]\nmode = \"1920x1080\"\ncolor_space = \"bt2020-pq\"\n")?;
    profile(&bench, "games", "[displays.\"PHL *\"]\nmode = \"1280x720\"\n")?;
    bench.machine.run("seats", &["mkdir", "-p", "/run/systemd/seats"])?;
    let seat = |uid: &str| format!("IS_SEAT0=1\nACTIVE=c1\nACTIVE_UID={uid}\n");
    bench.machine.write("/run/systemd/seats/seat0", &seat("1"))?;
    let world = bench.start("", &["--userdata", USERDATA])?;
    world.until_logged("mode set")?;
    committed(&world, "daemon", "1920x1080", &ANN)?;
    world.machine.write("/run/systemd/seats/seat0", &seat("5"))?;
    world.until_logged("user=\"games\"")?;
    world.machine.until("their resolution", |_| Ok(committed(&world, "games", "1280x720", &BOB).is_ok()))?;
    // Nobody has it: the last one's stay.
    world.machine.write("/run/systemd/seats/seat0", "IS_SEAT0=1\n")?;
    world.machine.write("/run/systemd/seats/seat0", &seat("1"))?;
    world
        .machine
        .until("the first's again", |_| Ok(committed(&world, "daemon-again", "1920x1080", &ANN).is_ok()))?;
    world.finish()
}

#[test]
fn a_broken_profile_leaves_what_was_good() -> Result<()> {
    let bench = colour::bench(1, &[HDR])?;
    profile(&bench, "ann", "[displays.Virtual-1]\nmode = \"1280x720\"\n")?;
    let world = bench.start("", &["--userdata", USERDATA, "--user", "ann"])?;
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    let file = format!("{USERDATA}/ann/displays.toml");
    // The file is followed; what is no TOML is reported with its line.
    world.machine.write(&file, "[displays.Virtual-1]\nmode = \"1280x720\"\nscale = = 2\n")?;
    world.until_logged("displays.toml:3: not TOML")?;
    let shown = display(&world, "stays", "Virtual-1")?;
    ensure!(shown["mode"]["width"] == 1280 && shown["scale"] == 1.0, "{shown:#}");
    let (ending, text) = command(&world, "check", &["profile", "check"])?;
    ensure!(ending == Some(Ending::Exited(1)) && text.contains("displays.toml:3"), "{ending:?}: {text}");
    // One bad line costs only itself.
    world.machine.write(&file, "[displays.Virtual-1]\nmode = \"wide\"\nscale = 2\n")?;
    world.until_logged("displays.toml:2: displays.\"Virtual-1\".mode")?;
    let mut asked = 0;
    world.machine.until("the rest", |_| {
        asked += 1;
        Ok(display(&world, &format!("rest-{asked}"), "Virtual-1")?["scale"] == 2.0)
    })?;
    // Everything off is not what anybody means.
    world.machine.write(&file, "[displays.\"*\"]\npower = false\n")?;
    world.until_logged("Virtual-1 stays on")?;
    world.until_shows("Virtual-1", RED)?;
    succeeds(&world, "reset", &["profile", "reset"])
        .map_or(Ok(()), |_| anyhow::bail!("another user's file went"))?;
    world.finish()
}

/// Every order of four.
fn orders() -> Vec<[usize; 4]> {
    let all = (0..256).map(|number| [number & 3, number >> 2 & 3, number >> 4 & 3, number >> 6]);
    all.filter(|order| (0..4).all(|one| order.contains(&one))).collect()
}

/// The dock: four monitors, two of them twins down to their serial numbers, that come in every order, and those that have a name of their
/// own on other connectors too.
#[test]
fn each_monitor_comes_back_with_its_own_settings() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 4)])?;
    let twin = edid(HDR)?;
    let monitors = [edid(AOC)?, edid(LG)?, twin.clone(), twin];
    for (connector, monitor) in monitors.iter().enumerate() {
        bench.machine.set_monitor(&bench.gpus[0], connector, monitor)?;
    }
    profile(&bench, "ann", "# the desk\n")?;
    bench.machine.run("owner", &["chown", "-R", "nobody", &format!("{USERDATA}/ann")])?;
    let world = bench.start("", &["--userdata", USERDATA, "--user", "ann"])?;
    for (number, options) in
        [(1, ["--scale", "2"]), (2, ["--scale", "1.25"]), (3, ["--transform", "90"]), (4, ["--scale", "1.5"])]
    {
        let name = format!("Virtual-{number}");
        succeeds(&world, &format!("set-{number}"), &[&["set", &name], &options[..]].concat())?;
    }
    succeeds(&world, "save", &["profile", "save"])?;
    let saved = world.machine.read(&format!("{USERDATA}/ann/displays.toml"))?;
    ensure!(saved.starts_with("# the desk\n"), "{saved}");
    // What is expected of the monitors in their order.
    let expected =
        [("AOC", 2.0, "normal"), ("GSM", 1.25, "normal"), ("PHL", 1.0, "90"), ("PHL", 1.5, "normal")];
    for (round, order) in orders().into_iter().enumerate() {
        for connector in order {
            world.machine.unplug("gpu0", connector)?;
        }
        world.machine.until("darkness", |machine| {
            let card = world.gpus[0].card.trim_start_matches("card");
            Ok(!machine.read(&format!("/sys/kernel/debug/dri/{card}/state"))?.contains("\tactive=1"))
        })?;
        // The first two change places in every other round; twins are known by their connectors.
        let swapped = round % 2 == 0;
        let place = |monitor: usize| if swapped && monitor < 2 { 1 - monitor } else { monitor };
        for monitor in [0, 1] {
            world.machine.set_monitor(&world.gpus[0], place(monitor), &monitors[monitor])?;
        }
        for connector in order.into_iter().rev() {
            world.machine.plug("gpu0", connector)?;
        }
        let (mut wrong, mut asked) = (String::new(), 100 * round);
        let waited = world.machine.until("everyone's settings", |_| {
            wrong.clear();
            asked += 1;
            let all: Vec<serde_json::Value> =
                serde_json::from_str(&succeeds(&world, &format!("asked-{asked}"), &["displays", "--json"])?)?;
            for (monitor, (make, scale, transform)) in expected.iter().enumerate() {
                let name = format!("Virtual-{}", place(monitor) + 1);
                let shown = all.iter().find(|shown| shown["name"] == name.as_str()).context("a display")?;
                let good = shown["state"] == "lit"
                    && shown["monitor"]["make"] == *make
                    && shown["scale"] == *scale
                    && shown["transform"] == *transform;
                if !good {
                    wrong.push_str(&format!("{shown:#}"));
                }
            }
            Ok(wrong.is_empty())
        });
        waited.with_context(|| format!("round {round}, order {order:?}: {wrong}"))?;
    }
    world.finish()
}
