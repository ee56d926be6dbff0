//! `geom-lab`: a machine with virtual monitors to play with.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use clap::{Parser, Subcommand};
use geom_lab::protocol::GpuSpec;
use geom_lab::{BootOptions, Machine};

/// Boots a virtual machine with virtual GPUs and monitors, and pulls their cables.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the path of the lab's kernel, building it first where there is none.
    Kernel,
    /// Boots a machine, runs commands from standard input and powers it off at their end.
    ///
    /// Commands: `plug N`, `unplug N`, `user PROGRAM ARGUMENT…`, `root PROGRAM ARGUMENT…`,
    /// `type TEXT`, `shot CONNECTOR FILE.png`, `cat FILE`, `vt N`, `wait SECONDS`, `warnings`.
    Shell {
        /// Connectors of the virtual GPU.
        #[arg(long, default_value_t = 3)]
        connectors: usize,
        /// Programs to copy into the guest's /run/bin.
        #[arg(long)]
        install: Vec<PathBuf>,
        /// Start a seat daemon for the ordinary user.
        #[arg(long)]
        seatd: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Kernel => println!("{}", geom_lab::kernel()?.display()),
        Command::Shell { connectors, install, seatd } => shell(connectors, &install, seatd)?,
    }
    Ok(())
}

fn shell(connectors: usize, install: &[PathBuf], seatd: bool) -> Result<()> {
    let start = Instant::now();
    let machine = Machine::boot(&BootOptions::default())?;
    let names = machine.create_gpu(&GpuSpec::new("gpu0", connectors))?;
    for program in install {
        let name = program.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
        machine.install(program, &format!("/run/bin/{name}"))?;
    }
    if seatd {
        let daemon = machine.root("seatd", &["seatd", "-u", "nobody"], &[])?;
        machine.until_logged(&daemon, "seatd started")?;
    }
    let keyboard = machine.keyboard("keyboard")?;
    println!("up after {:?}: {} with {}", start.elapsed(), names.card, names.connectors.join(", "));
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Err(error) = step(&machine, &keyboard, number, &words) {
            println!("{line}: {error:#}");
        }
    }
    Ok(())
}

fn step(machine: &Machine, keyboard: &geom_lab::Keyboard<'_>, number: usize, words: &[&str]) -> Result<()> {
    match words {
        [] => {}
        ["plug", connector] => machine.plug("gpu0", connector.parse()?)?,
        ["unplug", connector] => machine.unplug("gpu0", connector.parse()?)?,
        ["type", text @ ..] => keyboard.type_text(&format!("{}\n", text.join(" ")))?,
        ["user", argv @ ..] => {
            let display = [("WAYLAND_DISPLAY", "wayland-1")];
            let program = machine.user(&format!("{number}"), argv, &display)?;
            println!("process {}, log {}", program.pid, program.log.display());
        }
        ["root", argv @ ..] => {
            let program = machine.root(&format!("{number}"), argv, &[])?;
            let ending = machine.wait(&program, Duration::from_secs(10))?;
            print!("{}", std::fs::read_to_string(&program.log)?);
            ensure!(ending.is_some(), "still running as process {}", program.pid);
        }
        ["shot", connector, file] => machine.screenshot(connector)?.save(file.as_ref())?,
        ["cat", file] => print!("{}", machine.read(file)?),
        ["vt", vt] => machine.activate_vt(vt.parse()?)?,
        ["wait", seconds] => std::thread::sleep(Duration::from_secs_f64(seconds.parse()?)),
        ["warnings"] => println!("{:#?}", machine.kernel_warnings()?),
        other => bail!("unknown command {other:?}; see geom-lab shell --help"),
    }
    Ok(())
}
