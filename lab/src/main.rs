//! `geom-lab`: a virtual machine with virtual monitors, driven by commands.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use clap::{Parser, Subcommand};
use geom_lab::protocol::{GpuSpec, USER_NAME};
use geom_lab::{BootOptions, Machine};

/// Boots a virtual machine with virtual GPUs and monitors.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the path of the lab's kernel; build it first if there is none.
    Kernel,
    /// Boot a machine, run commands from standard input, and power off at their end.
    ///
    /// Commands: `plug N`, `unplug N`, `user PROGRAM ARGUMENT…`, `root PROGRAM ARGUMENT…`,
    /// `type TEXT`, `shot CONNECTOR FILE.png`, `cat FILE`, `vt N`, `wait SECONDS`, `warnings`.
    Shell {
        /// Number of connectors of the virtual GPU.
        #[arg(long, default_value_t = 3)]
        connectors: usize,
        /// Program to copy into the guest's /run/bin; may be repeated.
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
        let name = program.file_name().and_then(|name| name.to_str()).context("the program's file name")?;
        machine.install(program, &format!("/run/bin/{name}"))?;
    }
    if seatd {
        let daemon = machine.spawn_as_root("seatd", &["seatd", "-u", USER_NAME], &[])?;
        machine.wait_for_log(&daemon, "seatd started")?;
    }
    let keyboard = machine.keyboard("keyboard")?;
    println!("booted in {:?}: {} with {}", start.elapsed(), names.card, names.connectors.join(", "));
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Err(error) = run(&machine, &keyboard, number, &words) {
            println!("{line}: {error:#}");
        }
    }
    Ok(())
}

/// Runs one command of the shell; `number` names the log of the program that it starts.
fn run(machine: &Machine, keyboard: &geom_lab::Keyboard<'_>, number: usize, words: &[&str]) -> Result<()> {
    match words {
        [] => {}
        ["plug", connector] => machine.plug("gpu0", connector.parse()?)?,
        ["unplug", connector] => machine.unplug("gpu0", connector.parse()?)?,
        ["type", text @ ..] => keyboard.type_text(&format!("{}\n", text.join(" ")))?,
        ["user", argv @ ..] => {
            let display = [("WAYLAND_DISPLAY", "wayland-1")];
            let program = machine.spawn_as_user(&format!("{number}"), argv, &display)?;
            println!("process {}, log {}", program.pid, program.log.display());
        }
        ["root", argv @ ..] => {
            let program = machine.spawn_as_root(&format!("{number}"), argv, &[])?;
            let status = machine.wait(&program, Duration::from_secs(10))?;
            print!("{}", std::fs::read_to_string(&program.log)?);
            ensure!(status.is_some(), "still running as process {}", program.pid);
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
