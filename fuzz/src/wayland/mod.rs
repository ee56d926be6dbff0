//! Requests of Wayland clients, and input, against the whole compositor in this process.
//!
//! The bytes decode to a sequence of operations. Arguments have the right kind in most cases, so
//! that the sequence goes deep; the rest is wrong in all ways that the wire allows. Whatever the
//! clients do, another client is served.

mod bytes;
mod client;
mod coverage;
mod files;
mod interfaces;
mod requests;
mod scenes;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use geom_compositor::internals::fuzzing::{Action, Host};
use rustix::time::{clock_gettime, ClockId};

use self::bytes::Bytes;
use self::client::{message, push_bytes, Client, REGISTRY};
pub use self::coverage::report as wayland_coverage;
use crate::Violation;

/// The processor time that an iteration may take. A debug build is some 10 times slower than the
/// service.
const MAX_ITERATION: Duration = Duration::from_secs(1);
/// Iterations until a well-behaved client must have its answer.
const MAX_WAIT: usize = 300;
/// Operations between two checks that the well-behaved client is served.
const CHECK_INTERVAL: usize = 24;
/// Clients that misbehave.
const CLIENTS: usize = 3;
/// Descriptors that a sequence may open: those of a connection in flight, of each client.
const MAX_DESCRIPTORS: usize = 4000;
/// Descriptors that may be there after the clients have ended and were not before: of caches.
const MAX_LEFT: usize = 12;

/// No exit chord, and clients that do not answer become unresponsive soon.
const CONFIG: &str = "renderer = \"pixman\"\nexit_keys = \"\"\n\
    [headless]\ndisplays = [\"640x480\", \"320x240\"]\n\
    [clients]\ninterval = 0.2\nunresponsive = 0.2\naccept_rate = 1000000\n";

struct Run<'a> {
    host: Host,
    bytes: Bytes<'a>,
    clients: Vec<Client>,
    witness: Client,
    is_plugged: [bool; 2],
    devices: (bool, bool),
    /// Descriptors of the process before the sequence.
    open_before: usize,
}

/// Checks a sequence of operations.
///
/// # Errors
/// If an iteration takes too long, a well-behaved client is not served, descriptors are left, or an
/// invariant of the clients is violated. A panic is not caught.
pub fn wayland(bytes: &[u8]) -> Result<(), Violation> {
    // Descriptors are counted for the whole process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut host = Host::new(CONFIG).map_err(|error| format!("{error:#}"))?;
    let witness = connect(&mut host, false, true)?.ok_or("the first client is refused")?;
    let mut run = Run {
        host,
        bytes: Bytes::new(bytes),
        clients: Vec::new(),
        witness,
        is_plugged: [true; 2],
        devices: (true, true),
        open_before: descriptors(),
    };
    run.host.set_devices(true, true);
    run.serve()?;
    let before = descriptors();
    let mut operations = 0;
    while !run.bytes.is_empty() {
        run.operation()?;
        operations += 1;
        if operations % CHECK_INTERVAL == 0 {
            run.serve()?;
        }
    }
    run.serve()?;
    run.clients.clear();
    // libwayland reads 4 KiB of each in an iteration, and sees their ends after that.
    for _ in 0..MAX_WAIT {
        run.iterate(Duration::from_millis(1))?;
        if run.host.counts() == (1, 0) {
            break;
        }
    }
    run.release_all();
    run.serve()?;
    match run.host.counts() {
        (1, 0) => {}
        (clients, windows) => {
            let left = run.host.describe();
            return Err(format!(
                "{clients} clients and {windows} windows after all have ended but one: {left}"
            ));
        }
    }
    run.free_devices()?;
    // Smithay unmaps pools on a thread of its own.
    for _ in 0..MAX_WAIT {
        if descriptors() <= before + MAX_LEFT {
            break;
        }
        run.iterate(Duration::from_millis(10))?;
    }
    let after = descriptors();
    if after > before + MAX_LEFT {
        return Err(format!(
            "{after} descriptors are open after all clients have ended, {before} before: {:?}",
            open_files()
        ));
    }
    Ok(())
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Returns the number of descriptors of each file or kind of file.
fn open_files() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let links = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    for file in links.filter_map(|entry| std::fs::read_link(entry.path()).ok()) {
        let name = file.to_string_lossy();
        let kind = name.split_once(":[").map_or(&*name, |(kind, _)| kind).to_owned();
        *found.entry(kind).or_default() += 1;
    }
    found
}

fn connect(host: &mut Host, is_sandboxed: bool, answers: bool) -> Result<Option<Client>, Violation> {
    let connected = host.connect(is_sandboxed).map_err(|error| error.to_string())?;
    Ok(connected.map(|(id, stream)| Client::new(id, stream, answers)))
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

impl Run<'_> {
    fn iterate(&mut self, timeout: Duration) -> Result<(), Violation> {
        let since = processor_time();
        self.host.iterate(timeout).map_err(|error| format!("{error:#}"))?;
        let took = processor_time().saturating_sub(since);
        if took > MAX_ITERATION {
            return Err(format!("an iteration takes {took:?}"));
        }
        self.host.check()?;
        self.witness.read();
        for client in &mut self.clients {
            client.read();
            coverage::add(client);
        }
        Ok(())
    }

    /// Waits until the well-behaved client has an answer, and the others have theirs or none.
    fn serve(&mut self) -> Result<(), Violation> {
        for client in &mut self.clients {
            client.sync();
        }
        self.witness.sync();
        for _ in 0..MAX_WAIT {
            self.iterate(Duration::from_millis(5))?;
            if self.witness.is_answered() {
                break;
            }
        }
        if self.witness.is_closed || !self.witness.is_answered() {
            return Err("a well-behaved client gets no answer".into());
        }
        self.clients.retain(|client| !client.is_closed && client.error.is_none());
        let open = descriptors();
        match open < self.open_before + MAX_DESCRIPTORS {
            true => Ok(()),
            false => Err(format!("{open} descriptors are open: {:?}", open_files())),
        }
    }

    /// Returns the index of a client that is connected.
    fn client(&mut self) -> Result<usize, Violation> {
        let index = self.bytes.below(CLIENTS);
        if index < self.clients.len() {
            return Ok(index);
        }
        let is_sandboxed = self.bytes.one_in(6);
        let answers = !self.bytes.one_in(6);
        let Some(mut client) = connect(&mut self.host, is_sandboxed, answers)? else {
            return Err("a client is refused".into());
        };
        for _ in 0..3 {
            self.iterate(Duration::ZERO)?;
            client.read();
        }
        self.clients.push(client);
        let index = self.clients.len() - 1;
        if !self.bytes.one_in(8) {
            self.bind_all(index);
        }
        Ok(index)
    }

    fn bind_all(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        coverage::note_globals(&client.globals);
        for (name, interface, version) in client.globals.clone() {
            bind(client, name, &interface, version);
        }
    }

    fn operation(&mut self) -> Result<(), Violation> {
        let kind = self.bytes.byte();
        match kind {
            0..130 => {
                let index = self.client()?;
                self.request(index);
            }
            130..160 => self.iterate(Duration::ZERO)?,
            160..178 => {
                let index = self.client()?;
                self.window(index)?;
            }
            178..204 => self.input(),
            204..228 => self.scene()?,
            228..232 => {
                let index = self.client()?;
                self.malformed(index);
            }
            232..236 => {
                let display = self.bytes.below(2);
                if let Some(plugged) = self.is_plugged.get_mut(display) {
                    *plugged = !*plugged;
                    let name = ["HEADLESS-1", "HEADLESS-2"].get(display).copied().unwrap_or_default();
                    self.host.plug(name, *plugged);
                }
            }
            236..240 => {
                match self.bytes.one_in(2) {
                    true => self.devices.0 = !self.devices.0,
                    false => self.devices.1 = !self.devices.1,
                }
                self.host.set_devices(self.devices.0, self.devices.1);
            }
            240..242 => {
                let index = self.client()?;
                if self.bytes.one_in(2) {
                    self.clients.swap_remove(index);
                } else if let Some(client) = self.clients.get(index) {
                    self.host.disconnect(client.id);
                }
            }
            242..248 => {
                let index = self.client()?;
                if let Some(client) = self.clients.get_mut(index) {
                    client.files.truncate(&mut self.bytes);
                }
            }
            248..254 => {
                let index = self.client()?;
                let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
                if let Some((name, interface, version)) = {
                    let index = self.bytes.below(client.globals.len());
                    client.globals.get(index).cloned()
                } {
                    let version = 1 + self.bytes.below(version as usize) as u32;
                    bind(client, name, &interface, version);
                }
            }
            // Time passes: frames are shown and, in rare cases, heartbeats are due.
            _ => {
                let long = if self.bytes.one_in(12) { 1 } else { 32 };
                let timeout = Duration::from_millis(u64::from(self.bytes.byte() / long));
                self.iterate(timeout)?;
            }
        }
        Ok(())
    }

    fn request(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if let Some(request) = requests::random(client, &mut self.bytes) {
            send(client, &request);
        }
    }

    /// Sends a request of an object by names.
    fn request_named(&mut self, index: usize, interface: &str, request: &str) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(object) = client.of(interface).last().copied() else { return };
        let opcode = object.interface.requests.iter().position(|desc| desc.name == request);
        if let Some(request) =
            opcode.and_then(|opcode| requests::named(client, &mut self.bytes, object, opcode))
        {
            send(client, &request);
        }
    }

    /// Maps a window, a popup, a layer or a subsurface, as well-behaved clients do.
    fn window(&mut self, index: usize) -> Result<(), Violation> {
        let role = match self.bytes.byte() {
            0..110 => "xdg_toplevel",
            110..170 => "xdg_popup",
            170..220 => "zwlr_layer_surface_v1",
            _ => "wl_subsurface",
        };
        self.map(index, role)
    }

    /// Maps a surface with a role.
    fn map(&mut self, index: usize, role: &str) -> Result<(), Violation> {
        self.request_named(index, "wl_compositor", "create_surface");
        let configured = match role {
            "xdg_toplevel" => {
                self.request_named(index, "xdg_wm_base", "get_xdg_surface");
                self.request_named(index, "xdg_surface", "get_toplevel");
                "xdg_surface"
            }
            "xdg_popup" => {
                self.request_named(index, "xdg_wm_base", "create_positioner");
                self.request_named(index, "xdg_positioner", "set_size");
                self.request_named(index, "xdg_positioner", "set_anchor_rect");
                self.popup(index);
                "xdg_surface"
            }
            "zwlr_layer_surface_v1" => {
                self.request_named(index, "zwlr_layer_shell_v1", "get_layer_surface");
                self.request_named(index, "zwlr_layer_surface_v1", "set_size");
                if self.bytes.one_in(2) {
                    self.request_named(index, "zwlr_layer_surface_v1", "set_anchor");
                }
                "zwlr_layer_surface_v1"
            }
            _ => {
                self.request_named(index, "wl_subcompositor", "get_subsurface");
                self.request_named(index, "wl_subsurface", "set_desync");
                ""
            }
        };
        self.request_named(index, "wl_surface", "commit");
        self.show(index, configured)
    }

    /// Attaches a buffer to the newest surface, which is configured if it must be.
    fn show(&mut self, index: usize, configured: &str) -> Result<(), Violation> {
        self.iterate(Duration::ZERO)?;
        self.iterate(Duration::ZERO)?;
        if !configured.is_empty() {
            self.request_named(index, configured, "ack_configure");
        }
        if self.clients.get(index).is_some_and(|client| client.of("wl_shm_pool").is_empty()) {
            self.request_named(index, "wl_shm", "create_pool");
        }
        self.request_named(index, "wl_shm_pool", "create_buffer");
        self.request_named(index, "wl_surface", "attach");
        self.request_named(index, "wl_surface", "damage_buffer");
        self.request_named(index, "wl_surface", "commit");
        self.iterate(Duration::ZERO)
    }

    /// Creates a popup whose parent is the xdg_surface before its own.
    fn popup(&mut self, index: usize) {
        let parent = self.last(index, "xdg_surface");
        self.request_named(index, "xdg_wm_base", "get_xdg_surface");
        let (Some(own), Some(positioner)) =
            (self.last(index, "xdg_surface"), self.last(index, "xdg_positioner"))
        else {
            return;
        };
        self.call(index, own, "get_popup", &[parent.map_or(0, |parent| parent.id), positioner.id]);
    }

    /// Releases buttons and fingers. Smithay's grabs keep the seat, which keeps them: they would
    /// be left after the compositor's end. They end with the first input after their clients' end.
    fn release_all(&mut self) {
        self.host.set_devices(true, true);
        for pressed in [true, false] {
            self.host.input(Action::Key { code: 36, pressed });
        }
        self.host.input(Action::Move { x: 1.0, y: 1.0 });
        for button in [0x110, 0x111] {
            self.host.input(Action::Button { button, pressed: false });
        }
        for slot in 0..3 {
            self.host.input(Action::TouchUp { slot });
        }
        self.host.input(Action::TouchCancel);
    }

    /// Lets the compositor free devices of ended clients, which keep the seat after its end: the
    /// next new devices do that.
    fn free_devices(&mut self) -> Result<(), Violation> {
        let Some(client) = connect(&mut self.host, false, true)? else { return Ok(()) };
        self.clients.push(client);
        self.settle()?;
        self.bind_all(0);
        for (manager, request, device, end) in [
            ("wl_data_device_manager", "get_data_device", "wl_data_device", "release"),
            (
                "zwp_primary_selection_device_manager_v1",
                "get_device",
                "zwp_primary_selection_device_v1",
                "destroy",
            ),
        ] {
            for _ in 0..4 {
                self.request_named(0, manager, request);
                self.request_named(0, device, end);
            }
        }
        self.settle()?;
        self.settle()?;
        self.clients.clear();
        self.serve()
    }

    /// Sends bytes that are no request.
    fn malformed(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let bytes = &mut self.bytes;
        let ids: Vec<u32> = client.objects.keys().copied().collect();
        let object = bytes.pick_recent(&ids).unwrap_or(1);
        let garbage: Vec<u8> = (0..bytes.below(40)).map(|_| bytes.byte()).collect();
        let sent = match bytes.byte() % 4 {
            0 => message(object, u16::from(bytes.byte() % 40), &garbage),
            1 => message(bytes.number(), u16::from(bytes.byte()), &garbage),
            2 => {
                let mut sent = object.to_ne_bytes().to_vec();
                sent.extend(bytes.word().to_ne_bytes());
                sent.extend(garbage);
                sent
            }
            // A part of a request; the rest never comes.
            _ => {
                let mut sent = message(object, 0, &[0; 16]);
                sent.truncate(bytes.below(24));
                sent
            }
        };
        if !sent.is_empty() {
            client.send(&sent, &[]);
        }
    }

    /// A person uses mouse, touchscreen and keyboard, on windows in most cases.
    fn input(&mut self) {
        let points = self.host.points();
        let bytes = &mut self.bytes;
        let (x, y) = match bytes.pick(&points) {
            Some((_, (x, y))) if !bytes.one_in(4) => {
                (x + f64::from(bytes.byte() % 64), y + f64::from(bytes.byte() % 64))
            }
            _ => (f64::from(bytes.byte()) * 4.0, f64::from(bytes.byte()) * 2.0),
        };
        let slot = u32::from(bytes.byte() % 3);
        let (button, pressed) = (0x110 + u32::from(bytes.byte() % 2), !bytes.one_in(2));
        let action = match bytes.byte() {
            0..70 => Action::Move { x, y },
            70..130 => {
                self.host.input(Action::Move { x, y });
                Action::Button { button, pressed }
            }
            130..145 => Action::Scroll { amount: f64::from(bytes.byte()) - 128.0 },
            // Letters, digits and modifiers: keys that no policy of the system takes.
            145..175 => Action::Key { code: 8 + u32::from(2 + bytes.byte() % 54), pressed },
            175..205 => Action::TouchDown { slot, x, y },
            205..225 => Action::TouchMove { slot, x, y },
            225..245 => Action::TouchUp { slot },
            245..252 => Action::TouchFrame,
            _ => Action::TouchCancel,
        };
        self.host.input(action);
    }
}

/// Sends a request if the socket takes it.
fn send(client: &mut Client, request: &requests::Request) {
    if client.send(&request.bytes, &request.files) {
        request.sent(client);
        coverage::count_sent();
    } else {
        // Its new id would be missing.
        client.is_closed = true;
    }
}

/// Binds a global, in the version that is known here at most.
fn bind(client: &mut Client, name: u32, interface: &str, version: u32) {
    let Some(known) = interfaces::global(interface) else { return };
    let version = version.min(known.version);
    let id = client.new_id();
    let mut body = name.to_ne_bytes().to_vec();
    push_bytes(&mut body, format!("{interface}\0").as_bytes());
    body.extend(version.to_ne_bytes());
    body.extend(id.to_ne_bytes());
    if client.send(&message(REGISTRY, 0, &body), &[]) {
        client.insert(id, known, version);
        client.note("wl_registry", "bind");
    } else {
        client.is_closed = true;
    }
}
