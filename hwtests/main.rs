//! The compositor on a real kernel's KMS, in the lab: each test boots a machine of its own.

mod bad_input;
mod boot;
mod colour;
mod connections;
mod desk;
mod device;
mod edid;
mod faults;
mod hotplug;
mod identity;
mod input;
mod install;
mod libraries;
mod lights;
mod package;
mod placement;
mod power;
mod profiles;
mod scanout;
mod session;
mod sessions;
mod sleep;
mod storm;
mod survival;
mod tools;
mod world;
