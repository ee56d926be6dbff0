//! Connections on the host, with virtual displays: the cost of heartbeats, the latency of a
//! request, and the time until an unresponsive client is detected. No peer has such a heartbeat to
//! compare with.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use geom_client::{Client, ConnectOptions};
use geom_ipc::{ConnectType, ConnectionState, Event, Request};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use crate::compositors::Compositor;
use crate::idle_connections::{connect, IdleConnections};
use crate::library_baseline;
use crate::report::Results;

const CONNECTIONS: usize = 10_000;
/// File descriptors that the bench needs: one per client, and some for itself.
const MIN_DESCRIPTORS: u64 = 11_000;
const ROUND_TRIPS: usize = 5000;
/// Seconds from a ping to the deadline of its answer: the default of `unresponsive`.
const UNRESPONSIVE_SECONDS: f64 = 10.0;
const CONFIG: &str =
    "[clients]\nconnections = 20000\nper_user = 20000\nper_process = 20000\naccept_rate = 40000\n";

/// Returns a process's resident memory in KiB.
pub fn resident(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    rss.split_whitespace().next().and_then(|word| word.parse().ok()).context("VmRSS")
}

/// A service of the bench's own, killed when dropped.
struct Service {
    process: Child,
    directory: tempfile::TempDir,
}

impl Service {
    fn start(compositor: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("bench.toml");
        std::fs::write(&config, CONFIG)?;
        let process = Command::new(compositor)
            .args(["--backend=headless", "--log=warn", "--config"])
            .arg(&config)
            .env("XDG_RUNTIME_DIR", directory.path())
            .env_remove("GEOM_COMPOSITOR_SOCKET")
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| compositor.display().to_string())?;
        let service = Self { process, directory };
        let deadline = Instant::now() + Duration::from_secs(10);
        while service.control().is_err() {
            ensure!(Instant::now() < deadline, "the service does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(service)
    }

    fn control(&self) -> Result<Client> {
        let socket = Some(self.directory.path().join(geom_ipc::SOCKET_NAME));
        // A kept session would count as a connection.
        let connect_type = Some(ConnectType::DISCONNECT_ONCE);
        let name = "bench".into();
        Ok(Client::connect(&ConnectOptions { socket, name, connect_type, ..ConnectOptions::default() })?)
    }

    fn descriptors(&self) -> Result<f64> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.process.id()))?.count() as f64)
    }

    /// Returns the CPU time used in seconds, and the resident memory in KiB.
    fn cost(&self) -> Result<(f64, f64)> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(((ticks(11) + ticks(12)) / 100.0, resident(self.process.id())?))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Measures everything about connections that needs no monitor.
pub fn measure(compositor: &Path, results: &mut Results) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < MIN_DESCRIPTORS) {
        bail!("10,000 clients need `ulimit -Hn {MIN_DESCRIPTORS}`");
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let service = Service::start(compositor)?;
    let mut control = service.control()?;
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        control.request(Request::Heartbeat)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let ours = Compositor::Ours;
    results.add("control request round trip, median", "µs", ours, times[times.len() / 2]);
    results.add("control request round trip, p99", "µs", ours, times[times.len() * 99 / 100]);

    // Before the service's own clients, because the descriptors do not suffice for both.
    let library = library_baseline::memory(CONNECTIONS)?;
    let address = control.status()?.wayland_display;
    let (_, before) = service.cost()?;
    let descriptors = service.descriptors()?;
    let mut clients = IdleConnections::new(&service.directory.path().join(address), CONNECTIONS)?;
    let (_, after) = service.cost()?;
    let each = (after - before) / CONNECTIONS as f64;
    results.add("memory per connection, library included", "KiB", ours, each);
    results.add("memory per connection, without the library", "KiB", ours, each - library);
    // The first round of heartbeats, after which the costs of connecting are over.
    clients.dispatch_for(Duration::from_secs(12))?;
    let (cpu, _) = service.cost()?;
    clients.answered = 0;
    let period = Duration::from_secs(48);
    clients.dispatch_for(period)?;
    ensure!(clients.answered >= 4 * CONNECTIONS, "only {} pings in {period:?}", clients.answered);
    let percent = (service.cost()?.0 - cpu) / period.as_secs_f64() * 100.0;
    results.add("10,000 idle connections", "% of a core", ours, percent);

    let delay = detection_delay(&mut control, &mut clients)?;
    results.add("unresponsive client detected after its deadline", "ms", ours, delay);

    // All disconnect, then as many connect and disconnect one after the other: nothing may remain.
    let socket = service.directory.path().join(control.status()?.wayland_display);
    drop(clients);
    for _ in 0..CONNECTIONS {
        connect(&socket)?;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while control.status()?.clients > 1 {
        ensure!(Instant::now() < deadline, "the service still has clients that disconnected");
        while control.next_event(Duration::from_millis(10))?.is_some() {}
    }
    // The service returns free memory to the kernel one second after the first disconnects.
    std::thread::sleep(Duration::from_secs(3));
    let left = service.descriptors()? - descriptors;
    results.add("descriptors left of 20,000 connections", "count", ours, left);
    let (_, rss) = service.cost()?;
    results.add("memory left of 20,000 connections", "KiB", ours, rss - before);
    Ok(())
}

/// Returns the milliseconds from a client's deadline until the service reports it as unresponsive.
fn detection_delay(control: &mut Client, clients: &mut IdleConnections) -> Result<f64> {
    control.subscribe()?;
    clients.unresponsive = Some(CONNECTIONS / 2);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut detected = None;
    loop {
        ensure!(Instant::now() < deadline, "the unresponsive client was not detected");
        clients.dispatch(Duration::from_millis(1))?;
        while let Some(event) = control.next_event(Duration::ZERO)? {
            let is_unresponsive = matches!(
                &event,
                Event::ClientState { client } if client.state == ConnectionState::Unresponsive
            );
            detected = detected.or(clients.pinged.filter(|_| is_unresponsive));
        }
        if let Some(pinged) = detected {
            return Ok((pinged.elapsed().as_secs_f64() - UNRESPONSIVE_SECONDS) * 1000.0);
        }
    }
}
