//! Signals as events of the loop.

use anyhow::{Context, Result};
use calloop::signals::{Signal, Signals};
use smithay::reexports::calloop::LoopHandle;
use tracing::info;

use crate::state::State;

/// Signals that the loop reads. They are blocked in the program, and must not be in its children.
pub const WATCHED: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGCHLD];

/// Ends cleanly on the usual signals, and collects programs that ended.
pub fn listen(handle: &LoopHandle<'static, State>) -> Result<()> {
    let signals = Signals::new(&WATCHED).context("watch for signals")?;
    handle
        .insert_source(signals, |event, &mut (), state| match event.signal() {
            Signal::SIGCHLD => super::programs::reap(),
            signal => {
                info!(?signal, "ended by a signal");
                state.stop();
            }
        })
        .map_err(|error| error.error)
        .context("watch for signals")?;
    Ok(())
}
