//! Real drivers: stock Debian kernels in QEMU, with the GPUs that it emulates.
//!
//! [`quick`] is part of `make test`. [`thorough`] is what `make test-gpus` adds.

mod quick;
mod rig;
mod thorough;
