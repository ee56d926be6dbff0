//! Connections on the host, on virtual displays: what a heartbeat costs, how fast a request is answered, how soon
//! a hung client is seen. There is no peer to compare with: nobody else watches clients.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use geom_client::{Client, ConnectOptions};
use geom_ipc::{ConnectType, ConnectionState, Event, Request};
use rustix::event::epoll;
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use crate::bare;
use crate::contestants::Contestant;
use crate::report::Results;

const CONNECTIONS: usize = 10_000;
/// One a client, and some.
const DESCRIPTORS: u64 = 11_000;
const CONFIG: &str =
    "[clients]\nconnections = 20000\nper_user = 20000\nper_process = 20000\naccept_rate = 20000\n";

/// Kilobytes of a process's resident memory.
pub fn resident(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    rss.split_whitespace().next().and_then(|word| word.parse().ok()).context("VmRSS")
}

/// A service of our own, ended when dropped.
struct Service {
    process: Child,
    folder: tempfile::TempDir,
}

impl Service {
    fn start(compositor: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("bench.toml");
        std::fs::write(&config, CONFIG)?;
        let process = Command::new(compositor)
            .args(["--backend=headless", "--log=warn", "--config"])
            .arg(&config)
            .env("XDG_RUNTIME_DIR", folder.path())
            .env_remove("GEOM_COMPOSITOR_SOCKET")
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| compositor.display().to_string())?;
        let service = Self { process, folder };
        let deadline = Instant::now() + Duration::from_secs(10);
        while service.control().is_err() {
            ensure!(Instant::now() < deadline, "the service does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(service)
    }

    fn control(&self) -> Result<Client> {
        let socket = Some(self.folder.path().join(geom_ipc::SOCKET_NAME));
        // Its session is not to be kept: it would be counted.
        let connect_type = Some(ConnectType::DISCONNECT_ONCE);
        let name = "bench".into();
        Ok(Client::connect(&ConnectOptions { socket, name, connect_type, ..ConnectOptions::default() })?)
    }

    fn descriptors(&self) -> Result<f64> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.process.id()))?.count() as f64)
    }

    /// Processor seconds, and kilobytes of resident memory.
    fn cost(&self) -> Result<(f64, f64)> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(((ticks(11) + ticks(12)) / 100.0, resident(self.process.id())?))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Idle Wayland clients, as bytes: they bind xdg_wm_base and answer its pings, and do nothing else.
pub struct Crowd {
    epoll: std::os::fd::OwnedFd,
    streams: Vec<UnixStream>,
    /// Who has bound; and who does not answer.
    bound: usize,
    deaf: Option<usize>,
    /// When the deaf one was pinged.
    pinged: Option<Instant>,
    answered: usize,
}

fn message(object: u32, opcode: u32, words: &[u32]) -> Vec<u8> {
    let size = (8 + words.len() * 4) as u32;
    let head = [object, size << 16 | opcode];
    head.iter().chain(words).flat_map(|word| word.to_ne_bytes()).collect()
}

const REGISTRY: u32 = 2;
const WM_BASE: u32 = 3;

impl Crowd {
    pub fn new(socket: &Path, count: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut crowd = Self { epoll, streams: Vec::new(), bound: 0, deaf: None, pinged: None, answered: 0 };
        for index in 0..count {
            let mut stream = UnixStream::connect(socket)?;
            stream.write_all(&message(1, 1, &[REGISTRY]))?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&crowd.epoll, stream.as_fd(), data, epoll::EventFlags::IN)?;
            crowd.streams.push(stream);
            // Not to overrun the listening socket's queue.
            if index % 64 == 63 {
                while crowd.bound + 64 < crowd.streams.len() {
                    crowd.turn(Duration::from_secs(5))?;
                }
            }
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while crowd.bound < count {
            ensure!(Instant::now() < deadline, "{} of {count} clients got their globals", crowd.bound);
            crowd.turn(Duration::from_secs(1))?;
        }
        Ok(crowd)
    }

    fn turn(&mut self, wait: Duration) -> Result<()> {
        let mut events = Vec::with_capacity(256);
        let left = rustix::event::Timespec {
            tv_sec: wait.as_secs().try_into()?,
            tv_nsec: wait.subsec_nanos().into(),
        };
        let buffer = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&self.epoll, buffer, Some(&left))?;
        for event in events {
            self.read(usize::try_from(event.data.u64())?)?;
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let stream = self.streams.get_mut(index).context("a stream")?;
        let mut bytes = [0u8; 8192];
        let count = match stream.read(&mut bytes) {
            Ok(0) => bail!("client {index} was cut"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut rest = bytes.get(..count).unwrap_or_default();
        while rest.len() >= 8 {
            let word = |at: usize| {
                rest.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_ne_bytes)
            };
            let (object, opcode, size) = (word(0), word(4) & 0xffff, (word(4) >> 16) as usize);
            // The service writes whole messages, and few enough to be read at once.
            ensure!(size >= 8 && size <= rest.len(), "a message of {size} bytes in {} bytes", rest.len());
            let name = b"xdg_wm_base\0";
            if object == REGISTRY && opcode == 0 && rest.get(16..28) == Some(name) {
                let mut bind = message(REGISTRY, 0, &[word(8), 12, 0, 0, 0, 1, WM_BASE]);
                bind.get_mut(16..28).context("room")?.copy_from_slice(name);
                stream.write_all(&bind)?;
                self.bound += 1;
            } else if object == WM_BASE && opcode == 0 {
                if self.deaf == Some(index) {
                    self.pinged.get_or_insert_with(Instant::now);
                } else {
                    stream.write_all(&message(WM_BASE, 3, &[word(8)]))?;
                    self.answered += 1;
                }
            }
            rest = rest.get(size..).unwrap_or_default();
        }
        Ok(())
    }

    fn attend(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left)?;
        }
        Ok(())
    }
}

/// Everything about connections that needs no monitor.
pub fn connections(compositor: &Path, results: &mut Results) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < DESCRIPTORS) {
        bail!("10,000 clients need `ulimit -Hn {DESCRIPTORS}`");
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let service = Service::start(compositor)?;
    let mut control = service.control()?;
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..5000 {
        let start = Instant::now();
        control.request(Request::Heartbeat)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let ours = Contestant::Ours;
    results.add("control request round trip, median", "µs", ours, times[times.len() / 2]);
    results.add("control request round trip, p99", "µs", ours, times[times.len() * 99 / 100]);

    // Before the service's own crowd: descriptors do not suffice for both.
    let library = bare::memory(CONNECTIONS)?;
    let address = control.status()?.wayland_display;
    let (_, before) = service.cost()?;
    let descriptors = service.descriptors()?;
    let mut crowd = Crowd::new(&service.folder.path().join(address), CONNECTIONS)?;
    let (_, after) = service.cost()?;
    let each = (after - before) / CONNECTIONS as f64;
    results.add("memory a connection, library included", "KiB", ours, each);
    results.add("memory a connection, the manager's own", "KiB", ours, each - library);
    // A minute: connecting is over by the first round of heartbeats.
    crowd.attend(Duration::from_secs(12))?;
    let (cpu, _) = service.cost()?;
    crowd.answered = 0;
    let counted = Duration::from_secs(48);
    crowd.attend(counted)?;
    ensure!(crowd.answered >= 4 * CONNECTIONS, "only {} pings in {counted:?}", crowd.answered);
    let share = (service.cost()?.0 - cpu) / counted.as_secs_f64() * 100.0;
    results.add("10,000 idle connections", "% of a core", ours, share);

    control.subscribe()?;
    crowd.deaf = Some(CONNECTIONS / 2);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut seen = None;
    let late = loop {
        ensure!(Instant::now() < deadline, "the deaf client was not noticed");
        crowd.turn(Duration::from_millis(1))?;
        while let Some(event) = control.next_event(Duration::ZERO)? {
            let hung = matches!(&event, Event::ClientState { client } if client.state == ConnectionState::Unresponsive);
            seen = seen.or(crowd.pinged.filter(|_| hung));
        }
        if let Some(since) = seen {
            break (since.elapsed().as_secs_f64() - 10.0) * 1000.0;
        }
    };
    results.add("hung client seen after its deadline", "ms", ours, late);

    // All leave, as many come and go one after the other, and nothing of them stays.
    let socket = service.folder.path().join(control.status()?.wayland_display);
    drop(crowd);
    for _ in 0..CONNECTIONS {
        let mut stream = UnixStream::connect(&socket)?;
        stream.write_all(&message(1, 1, &[REGISTRY]))?;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while control.status()?.clients > 1 {
        ensure!(Instant::now() < deadline, "clients that left are connected still");
        while control.next_event(Duration::from_millis(10))?.is_some() {}
    }
    // A second after the first departures it gives memory back.
    std::thread::sleep(Duration::from_secs(3));
    let left = service.descriptors()? - descriptors;
    results.add("descriptors left of 20,000 connections", "count", ours, left);
    let (_, rss) = service.cost()?;
    results.add("memory left of 20,000 connections", "KiB", ours, rss - before);
    Ok(())
}
