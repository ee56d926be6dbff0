//! `[clients]`: heartbeats, limits, and permissions to connect and to command.

use std::time::Duration;

use geom_display::pattern::matches_pattern;
use toml_edit::Value;

use super::reader::{names, Reader, Section};
use super::system::set;

/// What happens to a Wayland client that has not replied for `lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum UnresponsivePolicy {
    /// It stays connected, under the dialog about unresponsive windows.
    Wait,
    /// It is disconnected.
    Close,
    /// It is disconnected, and its process is killed.
    Kill,
}

/// Heartbeat settings of a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heartbeat {
    /// Time without a message from the client before it is pinged.
    pub interval: Duration,
    /// Time without a reply before it is unresponsive.
    pub unresponsive: Duration,
    /// Time without a reply before `on_lost` applies.
    pub lost: Duration,
    pub on_lost: UnresponsivePolicy,
}

/// Heartbeat settings for some applications.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeartbeatRule {
    /// `*` matches any text.
    pub app_id: String,
    interval: Option<Duration>,
    unresponsive: Option<Duration>,
    lost: Option<Duration>,
    on_lost: Option<UnresponsivePolicy>,
}

/// The part of the service's time that one client may take, in percent, from 1 to 100. 100 is no
/// limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuPercent(pub u32);

impl CpuPercent {
    /// Returns what all clients of one user may take together.
    pub fn of_user(self) -> Self {
        Self(self.0.saturating_mul(2).min(100))
    }

    /// Returns whether this is less than all.
    pub fn is_limit(self) -> bool {
        (1..100).contains(&self.0)
    }
}

/// How many clients may connect, how fast, and which users' clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent connections, Wayland and control together.
    pub connections: usize,
    /// Concurrent connections of one user.
    pub per_user: usize,
    /// Concurrent connections of one process.
    pub per_process: usize,
    /// New connections of each kind per second; as many may connect at once. Each process has half
    /// of it, and a user who is neither the service's own nor root too.
    pub accept_rate: u32,
    /// The part of the service's time that the requests of one client may take.
    pub cpu_percent: CpuPercent,
    /// Users that may connect in addition to the service's own user and root.
    pub users: Vec<u32>,
    /// Groups whose members may connect.
    pub groups: Vec<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            per_user: 512,
            per_process: 64,
            accept_rate: 200,
            cpu_percent: CpuPercent(25),
            users: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// The maximum of what one Wayland client may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectLimits {
    /// Protocol objects of all kinds together.
    pub objects: u32,
    pub surfaces: u32,
    pub windows: u32,
    pub layer_surfaces: u32,
    pub popups: u32,
    /// Pools of shared memory: each is a mapping.
    pub pools: u32,
    pub buffers: u32,
    /// Idle inhibitors.
    pub inhibitors: u32,
    pub idle_notifications: u32,
    /// Of the clipboard with drag and drop, and of the primary selection.
    pub data_devices: u32,
    pub tablet_seats: u32,
    /// Pointers, keyboards and touch objects together.
    pub seat_devices: u32,
    /// Objects that get gestures of touchpads.
    pub gestures: u32,
    /// Contexts of security-context.
    pub sandboxes: u32,
    /// Rectangles that are added to a region or subtracted from it.
    pub region_rectangles: u32,
}

impl Default for ObjectLimits {
    fn default() -> Self {
        Self {
            objects: 16_384,
            surfaces: 1024,
            windows: 256,
            layer_surfaces: 64,
            popups: 256,
            pools: 512,
            buffers: 2048,
            inhibitors: 64,
            idle_notifications: 64,
            data_devices: 64,
            tablet_seats: 16,
            seat_devices: 256,
            gestures: 64,
            sandboxes: 64,
            region_rectangles: 2048,
        }
    }
}

/// The whole section.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientsConfig {
    heartbeat: Heartbeat,
    pub rules: Vec<HeartbeatRule>,
    /// Time for a client that was asked to close, before it is disconnected.
    pub close_time: Duration,
    pub limits: Limits,
    pub objects: ObjectLimits,
    /// The group whose members may command the service, in addition to its own user and root.
    pub control_group: Option<u32>,
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
            heartbeat: Heartbeat {
                interval: Duration::from_secs(10),
                unresponsive: Duration::from_secs(10),
                lost: Duration::from_secs(60),
                on_lost: UnresponsivePolicy::Wait,
            },
            rules: Vec::new(),
            close_time: Duration::from_secs(5),
            limits: Limits::default(),
            objects: ObjectLimits::default(),
            control_group: None,
        }
    }
}

impl ClientsConfig {
    /// Returns the defaults with these limits and permissions.
    pub fn to_safe(&self) -> Self {
        Self { limits: self.limits.clone(), control_group: self.control_group, ..Self::default() }
    }

    /// Returns the settings for an application: those of the first rule that matches, over the
    /// common ones.
    pub fn heartbeat(&self, app_id: Option<&str>) -> Heartbeat {
        let rule =
            app_id.and_then(|app_id| self.rules.iter().find(|rule| matches_pattern(&rule.app_id, app_id)));
        let common = self.heartbeat;
        rule.map_or(common, |rule| Heartbeat {
            interval: rule.interval.unwrap_or(common.interval),
            unresponsive: rule.unresponsive.unwrap_or(common.unresponsive),
            lost: rule.lost.unwrap_or(common.lost),
            on_lost: rule.on_lost.unwrap_or(common.on_lost),
        })
    }
}

fn seconds(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str) -> Option<Duration> {
    section.number(reader, key, 0.1, 86_400.0).map(Duration::from_secs_f64)
}

fn count(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str) -> Option<usize> {
    section.integer(reader, key, 1..1_000_001).and_then(|count| usize::try_from(count).ok())
}

/// Reads a user or group, by name or number.
fn id(value: &Value, named: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    match value.as_integer() {
        Some(number) => u32::try_from(number).ok(),
        None => named(value.as_str()?),
    }
}

fn user(name: &str) -> Option<u32> {
    nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

fn group(name: &str) -> Option<u32> {
    nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

fn ids(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    named: impl Fn(&str) -> Option<u32>,
) -> Option<Vec<u32>> {
    section.value(reader, key, "a list of existing names, or of numbers", |value| {
        value.as_array()?.iter().map(|value| id(value, &named)).collect()
    })
}

/// Reads the section over the defaults.
pub fn read(clients: &mut ClientsConfig, section: &mut Section<'_>, reader: &mut Reader<'_>) {
    let heartbeat = &mut clients.heartbeat;
    set(&mut heartbeat.interval, seconds(section, reader, "interval"));
    set(&mut heartbeat.unresponsive, seconds(section, reader, "unresponsive"));
    set(&mut heartbeat.lost, seconds(section, reader, "lost"));
    set(&mut heartbeat.on_lost, section.choice(reader, "on_lost", names::<UnresponsivePolicy>()));
    set(&mut clients.close_time, seconds(section, reader, "close_time"));
    let limits = &mut clients.limits;
    set(&mut limits.connections, count(section, reader, "connections"));
    set(&mut limits.per_user, count(section, reader, "per_user"));
    set(&mut limits.per_process, count(section, reader, "per_process"));
    let rate = section.integer(reader, "accept_rate", 1..1_000_001);
    set(&mut limits.accept_rate, rate.and_then(|rate| u32::try_from(rate).ok()));
    let percent = section.integer(reader, "cpu_percent", 1..101);
    set(&mut limits.cpu_percent, percent.and_then(|percent| u32::try_from(percent).ok()).map(CpuPercent));
    set(&mut limits.users, ids(section, reader, "users", user));
    set(&mut limits.groups, ids(section, reader, "groups", group));
    clients.control_group =
        section.value(reader, "control_group", "the name of an existing group, or a number", |value| {
            id(value, group)
        });
    if let Some(mut objects) = section.section(reader, "objects") {
        let ObjectLimits {
            objects: all,
            surfaces,
            windows,
            layer_surfaces,
            popups,
            pools,
            buffers,
            inhibitors,
            idle_notifications,
            data_devices,
            tablet_seats,
            seat_devices,
            gestures,
            sandboxes,
            region_rectangles,
        } = &mut clients.objects;
        for (limit, key) in [
            (all, "objects"),
            (surfaces, "surfaces"),
            (windows, "windows"),
            (layer_surfaces, "layer_surfaces"),
            (popups, "popups"),
            (pools, "pools"),
            (buffers, "buffers"),
            (inhibitors, "inhibitors"),
            (idle_notifications, "idle_notifications"),
            (data_devices, "data_devices"),
            (tablet_seats, "tablet_seats"),
            (seat_devices, "seat_devices"),
            (gestures, "gestures"),
            (sandboxes, "sandboxes"),
            (region_rectangles, "region_rectangles"),
        ] {
            let value = objects.integer(reader, key, 1..1_000_001);
            set(limit, value.and_then(|value| u32::try_from(value).ok()));
        }
        objects.finish(reader);
    }
    for mut rules in section.sections(reader, "rules") {
        let rule = HeartbeatRule {
            app_id: rules.string(reader, "app_id").unwrap_or_default(),
            interval: seconds(&mut rules, reader, "interval"),
            unresponsive: seconds(&mut rules, reader, "unresponsive"),
            lost: seconds(&mut rules, reader, "lost"),
            on_lost: rules.choice(reader, "on_lost", names::<UnresponsivePolicy>()),
        };
        rules.finish(reader);
        if rule.app_id.is_empty() {
            reader.report(None, "a rule of [clients] has no app_id; write app_id = \"foot\"".into());
        } else {
            clients.rules.push(rule);
        }
    }
}
