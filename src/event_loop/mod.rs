//! What the service waits for, and its timers.

pub mod backoff;
pub mod reactor;
pub mod timers;
