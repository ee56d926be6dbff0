//! The event loop: what it waits for, timers, delays between retries, and work on threads.

pub mod background;
pub mod backoff;
pub mod reactor;
pub mod timers;
