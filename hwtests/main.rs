//! Tests of the whole service on a real kernel's KMS.
//!
//! Each test boots a machine of the lab (lab/README.md). [`support`] has the helpers, and says what
//! tests may observe. [`real_monitors`] also runs on this machine's own monitors:
//! `HWTESTS=real make hwtests`.

mod boot;
mod calibration;
mod color;
mod color_conversion;
mod configuration;
mod connectors;
mod control_commands;
mod control_sessions;
mod crash_recovery;
mod cursor;
mod edid;
mod examples;
mod fences;
mod gpu_faults;
mod gpus;
mod handoff;
mod heartbeat;
mod hotplug;
mod hotplug_stress;
mod identity;
mod input;
mod input_devices;
mod install;
mod kiosk;
mod layout;
mod lease;
mod libraries;
mod misbehaving_clients;
mod modeset;
mod package;
mod pens;
mod placement;
mod power;
mod profiles;
mod real_monitors;
mod scanout;
mod slow_gpus;
mod startup_errors;
mod support;
mod suspend;
mod tools;
mod vt_switch;
