//! `[clients]`: heartbeats, limits, who may connect, who may command.

use std::time::Duration;

use toml_edit::Value;

use super::reader::{Reader, Section};
use super::system::{matches_pattern, set};
use crate::clients::limits::Limits;

/// What becomes of a Wayland client that shows no sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossPolicy {
    /// It stays, shown as what it is.
    Wait,
    /// Its connection is cut.
    Close,
    /// Its connection is cut and its process killed.
    Kill,
}

impl LossPolicy {
    const NAMES: [(&'static str, Self); 3] =
        [("wait", Self::Wait), ("close", Self::Close), ("kill", Self::Kill)];
}

/// Heartbeats of a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heartbeat {
    /// Silence after which it is asked for a sign of life.
    pub interval: Duration,
    /// Without an answer for so long it is unresponsive.
    pub unresponsive: Duration,
    /// Without an answer for so long it is lost.
    pub lost: Duration,
    pub on_lost: LossPolicy,
}

/// What differs for some applications.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeartbeatRule {
    /// `*` stands for any text.
    pub app_id: String,
    interval: Option<Duration>,
    unresponsive: Option<Duration>,
    lost: Option<Duration>,
    on_lost: Option<LossPolicy>,
}

/// The whole section.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientsConfig {
    heartbeat: Heartbeat,
    pub rules: Vec<HeartbeatRule>,
    /// What a client that is asked to leave has for it.
    pub close_time: Duration,
    pub limits: Limits,
    /// The group whose members may command the service, beside its own user and root.
    pub control_group: Option<u32>,
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
            heartbeat: Heartbeat {
                interval: Duration::from_secs(10),
                unresponsive: Duration::from_secs(10),
                lost: Duration::from_secs(60),
                on_lost: LossPolicy::Wait,
            },
            rules: Vec::new(),
            close_time: Duration::from_secs(5),
            limits: Limits::default(),
            control_group: None,
        }
    }
}

impl ClientsConfig {
    /// What holds for an application: the first rule that fits, or what holds for all.
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

/// A user or group, by name or number.
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
    section.value(reader, key, "a list of names that this system knows, or of numbers", |value| {
        value.as_array()?.iter().map(|value| id(value, &named)).collect()
    })
}

pub fn read(clients: &mut ClientsConfig, section: &mut Section<'_>, reader: &mut Reader<'_>) {
    let heartbeat = &mut clients.heartbeat;
    set(&mut heartbeat.interval, seconds(section, reader, "interval"));
    set(&mut heartbeat.unresponsive, seconds(section, reader, "unresponsive"));
    set(&mut heartbeat.lost, seconds(section, reader, "lost"));
    set(&mut heartbeat.on_lost, section.choice(reader, "on_lost", &LossPolicy::NAMES));
    set(&mut clients.close_time, seconds(section, reader, "close_time"));
    let limits = &mut clients.limits;
    set(&mut limits.connections, count(section, reader, "connections"));
    set(&mut limits.per_user, count(section, reader, "per_user"));
    set(&mut limits.per_process, count(section, reader, "per_process"));
    let rate = section.integer(reader, "accept_rate", 1..1_000_001);
    set(&mut limits.accept_rate, rate.and_then(|rate| u32::try_from(rate).ok()));
    set(&mut limits.users, ids(section, reader, "users", user));
    set(&mut limits.groups, ids(section, reader, "groups", group));
    clients.control_group = section.value(
        reader,
        "control_group",
        "the name or number of a group that this system knows",
        |value| id(value, group),
    );
    for mut part in section.sections(reader, "rules") {
        let rule = HeartbeatRule {
            app_id: part.string(reader, "app_id").unwrap_or_default(),
            interval: seconds(&mut part, reader, "interval"),
            unresponsive: seconds(&mut part, reader, "unresponsive"),
            lost: seconds(&mut part, reader, "lost"),
            on_lost: part.choice(reader, "on_lost", &LossPolicy::NAMES),
        };
        part.finish(reader);
        if rule.app_id.is_empty() {
            reader.report(None, "a rule of [clients] names no application; write app_id = \"foot\"".into());
        } else {
            clients.rules.push(rule);
        }
    }
}
