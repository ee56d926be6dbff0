//! Hostile clients: each kind does again and again what ends, stops or exhausts other display
//! servers. Prints how often.

use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use clap::{Parser, ValueEnum};
use geom_lab::HostileKind as Kind;
use geom_test_client::wire::{op, Arg, Wire, DISPLAY, MAX_FILES};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{memfd_create, MemfdFlags};

/// A hostile client for geom_compositor's tests and benchmark.
#[derive(Parser)]
struct Options {
    /// What it does; all kinds in turn if none is given.
    kind: Option<Kind>,
    /// For how long, each.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// Objects that a kind without end creates between two looks at the answers.
const BATCH: usize = 256;
/// The longest wait for an answer. It ends hostile clients only, and no test depends on it.
const ANSWER: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

fn main() -> Result<()> {
    let options = Options::parse();
    for kind in Kind::value_variants() {
        if options.kind.is_none_or(|wanted| wanted == *kind) {
            run(*kind, Instant::now() + Duration::from_secs_f64(options.seconds))?;
        }
    }
    Ok(())
}

/// Does what the kind does until `ends`, and prints how often, and how often the service ended it.
fn run(kind: Kind, ends: Instant) -> Result<()> {
    let (mut attempts, mut ended) = (0_u64, 0_u64);
    while Instant::now() < ends {
        attempts += 1;
        let was_ended = match kind {
            Kind::ControlLines => control_lines(ends)?,
            Kind::ControlConnections => control_connection()?,
            kind => match Hostile::connect(ends)? {
                None => true,
                Some(mut client) => {
                    client.attack(kind, ends)?;
                    client.wire.is_closed
                }
            },
        };
        ended += u64::from(was_ended);
    }
    println!("{kind}: attempts={attempts} ended={ended}");
    Ok(())
}

fn runtime_socket(name: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(std::env::var("XDG_RUNTIME_DIR").context("XDG_RUNTIME_DIR")?).join(name))
}

fn memfd(size: u64) -> Result<OwnedFd> {
    let file = memfd_create("hostile", MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, size)?;
    Ok(file)
}

/// Sends 1 MiB lines and reads no answer. Returns whether the service closed the connection.
fn control_lines(ends: Instant) -> Result<bool> {
    let mut stream = UnixStream::connect(runtime_socket("geom-compositor.sock")?)?;
    stream.set_nonblocking(true)?;
    let line = format!("{{\"id\":1,\"request\":\"{}\"}}\n", "x".repeat((1 << 20) - 64));
    let mut rest = line.as_bytes();
    while Instant::now() < ends {
        match stream.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&stream, PollFlags::OUT)], Some(&ANSWER))?;
            }
            Err(_) => return Ok(true),
        }
        if rest.is_empty() {
            rest = line.as_bytes();
        }
    }
    Ok(false)
}

/// Connects and leaves. Returns whether the service refused the connection.
fn control_connection() -> Result<bool> {
    Ok(UnixStream::connect(runtime_socket("geom-compositor.sock")?).is_err())
}

/// A Wayland client with the objects that most kinds need.
struct Hostile {
    wire: Wire,
    compositor: u32,
    wm_base: u32,
}

impl Hostile {
    /// Connects, or returns `None` if the service closes the connection.
    fn connect(ends: Instant) -> Result<Option<Self>> {
        let name = std::env::var("WAYLAND_DISPLAY").context("WAYLAND_DISPLAY")?;
        let Ok(stream) = UnixStream::connect(runtime_socket(&name)?) else { return Ok(None) };
        let mut wire = Wire::new(stream)?;
        while !wire.has_global("xdg_wm_base") && !wire.is_closed && Instant::now() < ends {
            exchange(&mut wire)?;
        }
        if !wire.has_global("xdg_wm_base") {
            return Ok(None);
        }
        let (compositor, wm_base) = (wire.bind("wl_compositor"), wire.bind("xdg_wm_base"));
        Ok(Some(Self { wire, compositor, wm_base }))
    }

    fn surface(&mut self) -> u32 {
        self.wire.create(self.compositor, op::CREATE_SURFACE, &[])
    }

    fn xdg_surface(&mut self) -> u32 {
        let surface = self.surface();
        self.wire.create(self.wm_base, op::GET_XDG_SURFACE, &[Arg::Uint(surface)])
    }

    fn toplevel(&mut self) -> u32 {
        let xdg_surface = self.xdg_surface();
        self.wire.create(xdg_surface, op::GET_TOPLEVEL, &[])
    }

    fn positioner(&mut self) -> u32 {
        let positioner = self.wire.create(self.wm_base, op::CREATE_POSITIONER, &[]);
        self.wire.send(positioner, op::POSITIONER_SET_SIZE, &[Arg::Int(1), Arg::Int(1)]);
        let rectangle = [0, 0, 1, 1].map(Arg::Int);
        self.wire.send(positioner, op::POSITIONER_SET_ANCHOR_RECT, &rectangle);
        positioner
    }

    fn popup(&mut self, xdg_surface: u32, parent: u32, positioner: u32) -> u32 {
        self.wire.create(xdg_surface, op::GET_POPUP, &[Arg::Uint(parent), Arg::Uint(positioner)])
    }

    fn pool(&mut self, shm: u32, size: i32) -> Result<u32> {
        let (pool, file) = (self.wire.id(), memfd(size as u64)?);
        let args = [Arg::Uint(pool), Arg::Int(size)];
        // A full socket drops the request, and the next object's id is wrong: an error like others.
        let _ = self.wire.send_with(shm, op::CREATE_POOL, &args, &[file.as_fd()]);
        Ok(pool)
    }

    /// Repeats `step` until the client is ended or the time is over.
    fn without_end(&mut self, ends: Instant, mut step: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        while !self.wire.is_closed && Instant::now() < ends {
            for _ in 0..BATCH {
                step(self)?;
            }
            exchange(&mut self.wire)?;
        }
        Ok(())
    }

    /// Does once what the kind does, and waits for the answer.
    fn attack(&mut self, kind: Kind, ends: Instant) -> Result<()> {
        match kind {
            Kind::PopupCycle => {
                let (own, positioner) = (self.xdg_surface(), self.positioner());
                self.popup(own, own, positioner);
            }
            Kind::EmptyPool => {
                let shm = self.wire.bind("wl_shm");
                let pool = self.pool(shm, 4096)?;
                self.wire.send(pool, op::POOL_RESIZE, &[Arg::Int(0)]);
            }
            Kind::NullString => {
                let toplevel = self.toplevel();
                self.wire.send(toplevel, op::TOPLEVEL_SET_TITLE, &[Arg::Null]);
            }
            Kind::UnnamedGlobal => {
                let name = self.wire.global_name("wl_compositor").context("wl_compositor")?;
                let id = self.wire.id();
                let args = [Arg::Uint(name), Arg::Null, Arg::Uint(1), Arg::Uint(id)];
                self.wire.send(geom_test_client::wire::REGISTRY, op::BIND, &args);
            }
            Kind::SubsurfaceCycle => {
                let subcompositor = self.wire.bind("wl_subcompositor");
                let (parent, child) = (self.surface(), self.surface());
                let args = [Arg::Uint(child), Arg::Uint(parent)];
                let subsurface = self.wire.create(subcompositor, op::GET_SUBSURFACE, &args);
                self.wire.send(subsurface, op::SUBSURFACE_PLACE_ABOVE, &[Arg::Uint(child)]);
            }
            Kind::CursorShape => {
                let seat = self.wire.bind("wl_seat");
                let manager = self.wire.bind("wp_cursor_shape_manager_v1");
                let pointer = self.wire.create(seat, op::GET_POINTER, &[]);
                self.wire.create(manager, op::SHAPE_GET_POINTER, &[Arg::Uint(pointer)]);
            }
            Kind::Requests => return self.requests(ends, false),
            Kind::NeverReads => return self.requests(ends, true),
            Kind::Descriptors => return self.descriptors(ends),
            Kind::Surfaces => {
                return self.without_end(ends, |client| {
                    client.surface();
                    Ok(())
                })
            }
            Kind::ShortLivedSurfaces => self.short_lived_surfaces(ends)?,
            Kind::Pools => {
                let shm = self.wire.bind("wl_shm");
                return self.without_end(ends, |client| client.pool(shm, 4096).map(|_| ()));
            }
            Kind::Dialogs => {
                let mut parent = 0;
                return self.without_end(ends, |client| {
                    let toplevel = client.toplevel();
                    client.wire.send(toplevel, op::TOPLEVEL_SET_PARENT, &[Arg::Uint(parent)]);
                    parent = toplevel;
                    Ok(())
                });
            }
            Kind::Subsurfaces => {
                let subcompositor = self.wire.bind("wl_subcompositor");
                let mut parent = self.surface();
                return self.without_end(ends, |client| {
                    let child = client.surface();
                    let args = [Arg::Uint(child), Arg::Uint(parent)];
                    client.wire.create(subcompositor, op::GET_SUBSURFACE, &args);
                    client.wire.send(child, op::SURFACE_COMMIT, &[]);
                    parent = child;
                    Ok(())
                });
            }
            Kind::Popups => {
                let positioner = self.positioner();
                let mut parent = self.xdg_surface();
                self.wire.create(parent, op::GET_TOPLEVEL, &[]);
                return self.without_end(ends, |client| {
                    let next = client.xdg_surface();
                    client.popup(next, parent, positioner);
                    parent = next;
                    Ok(())
                });
            }
            Kind::Region => {
                let region = self.wire.create(self.compositor, op::CREATE_REGION, &[]);
                let mut x = 0;
                return self.without_end(ends, |client| {
                    x += 2;
                    client.wire.send(region, op::REGION_ADD, &[x, x, 1, 1].map(Arg::Int));
                    Ok(())
                });
            }
            Kind::PopupGrab => {
                let (seat, positioner) = (self.wire.bind("wl_seat"), self.positioner());
                let parent = self.xdg_surface();
                self.wire.create(parent, op::GET_TOPLEVEL, &[]);
                let own = self.xdg_surface();
                let popup = self.popup(own, parent, positioner);
                self.wire.send(popup, op::POPUP_GRAB, &[Arg::Uint(seat), Arg::Uint(1)]);
            }
            Kind::Garbage => {
                let mut bytes = [0; 4096];
                fastrand::fill(&mut bytes);
                self.wire.try_send(&bytes, &[]);
            }
            Kind::ControlLines | Kind::ControlConnections => {}
        }
        self.answer(ends)
    }

    /// Waits until all requests are answered, or the client is ended.
    fn answer(&mut self, ends: Instant) -> Result<()> {
        let callback = self.wire.create(DISPLAY, op::SYNC, &[]);
        while !self.wire.is_closed && self.wire.event(callback, 0).is_none() && Instant::now() < ends {
            exchange(&mut self.wire)?;
        }
        self.wire.events.clear();
        Ok(())
    }

    /// Sends as much as the socket takes, and reads nothing.
    fn requests(&mut self, ends: Instant, asks_for_answers: bool) -> Result<()> {
        let toplevel = self.toplevel();
        self.answer(ends)?;
        let block = match asks_for_answers {
            false => Wire::request(toplevel, op::TOPLEVEL_SET_TITLE, &[Arg::Text("title")]).repeat(2000),
            true => (0..16_000)
                .flat_map(|_| Wire::request(DISPLAY, op::SYNC, &[Arg::Uint(self.wire.id())]))
                .collect(),
        };
        let mut stream = self.wire.stream();
        let mut rest = &block[..];
        while Instant::now() < ends {
            match stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&stream, PollFlags::OUT)], Some(&ANSWER))?;
                }
                Err(_) => break,
            }
            if rest.is_empty() && asks_for_answers {
                break;
            }
            if rest.is_empty() {
                rest = &block;
            }
        }
        Ok(())
    }

    fn descriptors(&mut self, ends: Instant) -> Result<()> {
        let file = memfd(1)?;
        let files: [BorrowedFd<'_>; MAX_FILES] = [file.as_fd(); MAX_FILES];
        while !self.wire.is_closed && Instant::now() < ends {
            let sync = Wire::request(DISPLAY, op::SYNC, &[Arg::Uint(self.wire.id())]);
            let (first, second) = sync.split_at(4);
            while !self.wire.try_send(first, &files) && Instant::now() < ends {
                exchange(&mut self.wire)?;
            }
            self.wire.try_send(second, &[]);
        }
        Ok(())
    }

    fn short_lived_surfaces(&mut self, ends: Instant) -> Result<()> {
        const SURFACES: usize = 80_000;
        /// Under the limit of surfaces that exist at a time.
        const AT_A_TIME: usize = 1000;
        for _ in 0..SURFACES / AT_A_TIME {
            let surfaces: Vec<u32> = (0..AT_A_TIME).map(|_| self.surface()).collect();
            for surface in &surfaces {
                self.wire.send(*surface, op::SURFACE_DESTROY, &[]);
            }
            self.answer(ends)?;
            ensure!(self.wire.error.is_none(), "refused: {:?}", self.wire.error);
            // Ids of destroyed objects are used again.
            self.wire.free(&surfaces);
        }
        Ok(())
    }
}

/// Waits for events or for space in the socket, then sends and reads.
fn exchange(wire: &mut Wire) -> Result<()> {
    wire.exchange();
    if !wire.is_closed {
        let awaited = if wire.has_unsent() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        poll(&mut [PollFd::new(wire.stream(), awaited)], Some(&ANSWER))?;
        wire.exchange();
    }
    Ok(())
}
