//! Requests with arguments that are right in most cases.

use std::os::fd::OwnedFd;

use geom_compositor::internals::fuzzing::wayland_server::backend::protocol::{
    AllowNull, ArgumentType, Interface, MessageDesc,
};

use super::bytes::Bytes;
use super::client::{message, push_bytes, Client, Object};

/// An interface, a request, and the ranges of its numbers.
type Ranges = (&'static str, &'static str, &'static [(i32, i32)]);

/// The size of a pool, which holds a buffer of any of [`SIDES`].
const POOL: (i32, i32) = (1 << 18, 1 << 18);

/// Ranges of the numbers of requests that need certain ones. Other numbers are small.
const RANGES: &[Ranges] = &[
    ("wl_shm", "create_pool", &[POOL]),
    ("wl_shm_pool", "resize", &[(POOL.1, 1 << 19)]),
    ("wl_surface", "attach", &[(0, 0), (0, 0)]),
    ("wl_surface", "set_buffer_scale", &[(1, 2)]),
    ("wl_surface", "set_buffer_transform", &[(0, 7)]),
    ("xdg_positioner", "set_size", &[(1, 200), (1, 200)]),
    ("xdg_positioner", "set_anchor_rect", &[(0, 50), (0, 50), (1, 50), (1, 50)]),
    ("xdg_positioner", "set_anchor", &[(0, 8)]),
    ("xdg_positioner", "set_gravity", &[(0, 8)]),
    ("xdg_surface", "set_window_geometry", &[(0, 8), (0, 8), (1, 255), (1, 255)]),
    ("xdg_toplevel", "resize", &[(0, 10)]),
    ("zxdg_toplevel_decoration_v1", "set_mode", &[(1, 2)]),
    ("zwlr_layer_shell_v1", "get_layer_surface", &[(0, 3)]),
    ("zwlr_layer_surface_v1", "set_size", &[(1, 200), (1, 200)]),
    ("zwlr_layer_surface_v1", "set_anchor", &[(0, 15)]),
    ("zwlr_layer_surface_v1", "set_layer", &[(0, 3)]),
    ("zwlr_layer_surface_v1", "set_keyboard_interactivity", &[(0, 2)]),
    ("zwlr_layer_surface_v1", "set_exclusive_edge", &[(1, 8)]),
    ("wp_viewport", "set_source", &[(0, 512), (0, 512), (256, 4096), (256, 4096)]),
    ("wp_viewport", "set_destination", &[(1, 255), (1, 255)]),
    ("wp_cursor_shape_device_v1", "set_shape", &[(1, 34)]),
    ("zwlr_output_power_v1", "set_mode", &[(0, 1)]),
    ("zwlr_output_configuration_head_v1", "set_custom_mode", &[(320, 1024), (240, 768), (0, 60_000)]),
    ("zwlr_output_configuration_head_v1", "set_scale", &[(256, 512)]),
    ("zwlr_output_configuration_head_v1", "set_transform", &[(0, 7)]),
    ("zwlr_output_configuration_head_v1", "set_adaptive_sync", &[(0, 1)]),
    ("wp_image_description_creator_params_v1", "set_primaries_named", &[(1, 10)]),
    ("wp_image_description_creator_params_v1", "set_luminances", &[(0, 100), (200, 2000), (80, 190)]),
    ("wp_image_description_creator_params_v1", "set_mastering_luminance", &[(0, 100), (200, 2000)]),
    ("wp_color_management_surface_v1", "set_image_description", &[(0, 0)]),
    ("wp_color_representation_surface_v1", "set_alpha_mode", &[(0, 0)]),
    ("wp_color_representation_surface_v1", "set_coefficients_and_range", &[(1, 1), (1, 1)]),
    ("wp_color_representation_surface_v1", "set_chroma_location", &[(1, 6)]),
    ("ext_idle_notifier_v1", "get_idle_notification", &[(0, 50)]),
    ("wl_data_offer", "set_actions", &[(0, 7), (1, 1)]),
    ("wl_data_source", "set_actions", &[(0, 7)]),
];

/// Transfer functions that the compositor knows: BT.1886, gamma 2.2 and 2.8, sRGB, PQ, HLG.
const TRANSFERS: [u32; 6] = [1, 2, 3, 9, 11, 13];

/// Chromaticities of set_primaries and set_mastering_display_primaries, in millionths: sRGB's.
const PRIMARIES: [u32; 8] = [640_000, 330_000, 300_000, 600_000, 150_000, 60_000, 312_700, 329_000];

/// Requests that are errors in most cases, unless a scene sends them.
const LIKELY_ERRORS: [&str; 6] = [
    "get_subsurface",
    "get_xdg_surface",
    "get_layer_surface",
    "create_icc_creator",
    "create_windows_scrgb",
    "place_above",
];

/// The width and height of a buffer.
const SIDES: [u32; 6] = [1, 16, 64, 100, 200, 256];

/// A request that is ready to be sent.
pub struct Request {
    pub bytes: Vec<u8>,
    pub files: Vec<OwnedFd>,
    pub created: Option<Object>,
    destroyed: Option<u32>,
    name: (&'static str, &'static str),
}

/// Returns a request on a random object, or `None` if no object has requests.
pub fn random(client: &mut Client, bytes: &mut Bytes<'_>) -> Option<Request> {
    let mut interfaces: Vec<&'static Interface> =
        client.objects.values().map(|object| object.interface).collect();
    interfaces.retain(|interface| !interface.requests.is_empty());
    interfaces.sort_by_key(|interface| interface.name);
    interfaces.dedup_by_key(|interface| interface.name);
    let interface = bytes.pick(&interfaces)?;
    let object = bytes.pick_recent(&client.of(interface.name))?;
    let mut opcode = bytes.below(interface.requests.len());
    if interface.requests.get(opcode).is_some_and(|desc| desc.is_destructor) && !bytes.one_in(8) {
        opcode = bytes.below(interface.requests.len());
    }
    // Most surfaces have a role already, and icons and named extras end the client.
    let name = interface.requests.get(opcode).map(|desc| desc.name);
    let fails = name.is_some_and(|name| LIKELY_ERRORS.contains(&name));
    if fails && !bytes.one_in(6) {
        return None;
    }
    named(client, bytes, object, opcode)
}

/// Returns a request of an object by its opcode, or `None` if a kind of object that it takes is
/// missing.
pub fn named(client: &mut Client, bytes: &mut Bytes<'_>, object: Object, opcode: usize) -> Option<Request> {
    with(client, bytes, object, opcode, &[])
}

/// As [`named`], with the first numbers and ids of objects.
pub fn with(
    client: &mut Client,
    bytes: &mut Bytes<'_>,
    object: Object,
    opcode: usize,
    wanted: &[u32],
) -> Option<Request> {
    let first = client.next_id();
    let request = build(client, bytes, object, opcode, wanted);
    if request.is_none() {
        client.take_back(first);
    }
    request
}

fn build(
    client: &mut Client,
    bytes: &mut Bytes<'_>,
    object: Object,
    opcode: usize,
    wanted: &[u32],
) -> Option<Request> {
    let desc = object.interface.requests.get(opcode)?;
    if desc.since > object.version {
        return None;
    }
    let mut body = Vec::new();
    let mut files = Vec::new();
    let mut created = None;
    let mut wanted_objects = desc.arg_interfaces.iter().copied();
    let numbers = numbers(client, bytes, object, desc)?;
    let mut numbers = numbers.into_iter();
    let mut wanted = wanted.iter().copied();
    for kind in desc.signature {
        match kind {
            ArgumentType::Int | ArgumentType::Uint | ArgumentType::Fixed => {
                let number = numbers.next().unwrap_or(0);
                body.extend(wanted.next().unwrap_or(number).to_ne_bytes());
            }
            ArgumentType::Str(allow_null) => push_string(&mut body, bytes, *allow_null),
            ArgumentType::Object(allow_null) => {
                let interface = wanted_objects.next();
                let id = match wanted.next() {
                    Some(id) => id,
                    None => argument_object(client, bytes, interface, *allow_null)?,
                };
                body.extend(id.to_ne_bytes());
            }
            ArgumentType::NewId => {
                let id = match bytes.one_in(200) {
                    true => bytes.number(),
                    false => client.new_id(),
                };
                let version = object.version;
                created = desc.child_interface.map(|interface| Object { id, interface, version });
                body.extend(id.to_ne_bytes());
            }
            ArgumentType::Array => {
                let length = bytes.below(64);
                let content: Vec<u8> = (0..length).map(|_| bytes.byte()).collect();
                push_bytes(&mut body, &content);
            }
            ArgumentType::Fd => {
                let file = match (object.interface.name, desc.name) {
                    ("wl_shm", _) => client.files.make_memory(bytes, POOL.1 as u64),
                    // Three channels of HEADLESS displays' ramps (gamma_size events are not read).
                    ("zwlr_gamma_control_v1", _) => client.files.make_memory(bytes, 256 * 3 * 2),
                    ("wp_security_context_manager_v1", _) if files.is_empty() => {
                        client.files.make_listener(bytes)
                    }
                    _ => client.files.make(bytes, 1 << 12),
                };
                files.push(file.ok()?);
            }
        }
    }
    if bytes.one_in(250) {
        // Too short, or with bytes too many.
        let size = bytes.below(body.len() + 9);
        body.resize(size & !3, 0);
    }
    Some(Request {
        bytes: message(object.id, opcode as u16, &body),
        files,
        created,
        destroyed: desc.is_destructor.then_some(object.id),
        name: (object.interface.name, desc.name),
    })
}

impl Request {
    /// Notes what the request does, once it was sent.
    pub fn sent(&self, client: &mut Client) {
        if let Some(Object { id, interface, version }) = self.created {
            client.insert(id, interface, version);
        }
        if let Some(id) = self.destroyed {
            client.remove(id);
        }
        client.note(self.name.0, self.name.1);
    }
}

/// Returns the numbers of a request, in order, or `None` if it answers an event that has not come.
fn numbers(client: &Client, bytes: &mut Bytes<'_>, object: Object, desc: &MessageDesc) -> Option<Vec<u32>> {
    let is_number =
        |kind: &&ArgumentType| matches!(kind, ArgumentType::Int | ArgumentType::Uint | ArgumentType::Fixed);
    let count = desc.signature.iter().filter(is_number).count();
    let name = (object.interface.name, desc.name);
    match name {
        ("wl_shm_pool", "create_buffer") if !bytes.one_in(24) => {
            let width = bytes.pick(&SIDES).unwrap_or(1);
            let height = bytes.pick(&SIDES).unwrap_or(1);
            return Some(vec![0, width, height, width * 4, u32::from(bytes.one_in(2))]);
        }
        (_, "ack_configure" | "create_configuration") if !bytes.one_in(24) => {
            return client.configured.get(&object.id).map(|serial| vec![*serial]);
        }
        ("wp_image_description_creator_params_v1", "set_tf_named") if !bytes.one_in(8) => {
            return Some(vec![bytes.pick(&TRANSFERS).unwrap_or(1)]);
        }
        ("zwp_linux_buffer_params_v1", "add") if !bytes.one_in(12) => {
            return Some(vec![0, 0, 64, 0, 0]);
        }
        ("wp_image_description_creator_params_v1", "set_primaries" | "set_mastering_display_primaries")
            if !bytes.one_in(8) =>
        {
            return Some(PRIMARIES.to_vec());
        }
        _ => {}
    }
    let ranges = RANGES.iter().find(|(interface, request, _)| (*interface, *request) == name);
    let ranges = ranges.map_or(&[][..], |(.., ranges)| *ranges);
    let takes_serial = matches!(
        desc.name,
        "set_cursor"
            | "set_shape"
            | "start_drag"
            | "set_selection"
            | "grab"
            | "move"
            | "resize"
            | "show_window_menu"
            | "accept"
    );
    let mut ranges = ranges.iter();
    let mut numbers = Vec::new();
    for index in 0..count {
        let is_serial = takes_serial && (index == 0 || desc.name == "start_drag");
        let number = match bytes.pick_recent(&client.serials) {
            Some(serial) if is_serial && !bytes.one_in(12) => serial,
            _ if is_serial => bytes.number(),
            _ => match ranges.next() {
                Some(range) => bytes.within(*range),
                None => bytes.number(),
            },
        };
        numbers.push(number);
    }
    Some(numbers)
}

/// Appends a string, null in rare cases if it must not be.
fn push_string(body: &mut Vec<u8>, bytes: &mut Bytes<'_>, allow_null: AllowNull) {
    let null = match allow_null {
        AllowNull::Yes => bytes.one_in(4),
        AllowNull::No => bytes.one_in(250),
    };
    if null {
        body.extend(0u32.to_ne_bytes());
        return;
    }
    match bytes.byte() {
        0..200 => push_bytes(body, b"text/plain\0"),
        200..220 => push_bytes(body, b"\0"),
        220..235 => push_bytes(body, "\u{202e}\u{1b}[2J\u{85} \u{1f600}\0".as_bytes()),
        // Invalid UTF-8, and zeros before the end or none there: rare, libwayland refuses some.
        235..240 => push_bytes(body, b"\xff\xfe\xc0\x80\0"),
        240..243 => push_bytes(body, b"a\0b\0"),
        243..245 => push_bytes(body, b"abcd"),
        _ => {
            let mut long = vec![b'a'; 4000];
            long.push(0);
            push_bytes(body, &long);
        }
    }
}

/// Returns an object that an argument takes: the right kind in most cases, or any, dead or null.
/// Returns `None` if there is none of the right kind.
fn argument_object(
    client: &Client,
    bytes: &mut Bytes<'_>,
    wanted: Option<&'static Interface>,
    allow_null: AllowNull,
) -> Option<u32> {
    let all: Vec<Object> = client.objects.values().copied().collect();
    // Most of these end the client, and with it what it has built up.
    match (bytes.byte(), bytes.byte()) {
        (..252, _) | (_, ..64) => {}
        (252, _) => return bytes.pick(&all).map(|object| object.id),
        (253, _) => return bytes.pick_recent(&client.dead),
        (254, _) => return Some(bytes.word()),
        (255, _) => return Some(0),
    }
    let allows_null = matches!(allow_null, AllowNull::Yes);
    if allows_null && bytes.one_in(4) {
        return Some(0);
    }
    let right = client.of(wanted.map_or("wl_surface", |interface| interface.name));
    match bytes.pick_recent(&right) {
        Some(object) => Some(object.id),
        None => allows_null.then_some(0),
    }
}
