//! Every device on every kernel that it differs on: `make test-gpus`.
//!
//! Tests of known faults are ignored with the fault's rank in the list of findings, so that the fix
//! removes the attribute. `make test-gpus FINDINGS=1` runs them.

pub mod drivers;
mod findings;
mod firmware;
mod other_nodes;
mod refresh;
mod removal;
mod render_gpu;
mod sync_points;
