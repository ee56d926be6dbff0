//! Signals as events of the event loop.

use anyhow::{Context, Result};
use calloop::signals::{Signal, Signals};
use nix::sys::signal as sys;
use smithay::reexports::calloop::LoopHandle;
use tracing::debug;

use super::spawn::{reap, EndedChild};

/// Signals that the event loop reads. They are blocked in this process and must not be blocked in
/// its children.
pub const WATCHED: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGCHLD];

/// Blocks the watched signals in the calling thread, so that the kernel delivers them to the event
/// loop's signalfd(2).
pub(super) fn block_in_thread() {
    let watched = WATCHED.iter().filter_map(|signal| sys::Signal::try_from(*signal as i32).ok());
    if let Err(error) = watched.collect::<sys::SigSet>().thread_block() {
        debug!(%error, "cannot block signals in a thread");
    }
}

/// Calls `on_terminate` for each signal that asks the process to end. On SIGCHLD, reaps child
/// processes and calls `on_ended` with them.
///
/// # Errors
/// If no descriptor is left for signalfd(2).
pub fn listen<D>(
    handle: &LoopHandle<'static, D>,
    mut on_terminate: impl FnMut(&mut D, Signal) + 'static,
    mut on_ended: impl FnMut(&mut D, Vec<EndedChild>) + 'static,
) -> Result<()> {
    let signals = Signals::new(&WATCHED).context("create a signalfd")?;
    handle
        .insert_source(signals, move |event, &mut (), data| match event.signal() {
            Signal::SIGCHLD => on_ended(data, reap()),
            signal => on_terminate(data, signal),
        })
        .map_err(|error| error.error)
        .context("add the signalfd to the event loop")?;
    Ok(())
}
