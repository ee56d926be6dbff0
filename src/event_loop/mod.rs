//! The event loop: what it waits for, timers, and delays between retries.

pub mod backoff;
pub mod reactor;
pub mod timers;
