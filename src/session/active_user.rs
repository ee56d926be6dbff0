//! Follows the user of the seat's active session.
//!
//! logind is asked over D-Bus, in futures on the event loop. Only the first answer is waited for,
//! at the start, so that the displays come up with the right user's profile.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use calloop::futures::{executor, Scheduler};
use calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::calloop::LoopHandle;
use tracing::{debug, info};

use super::logind::{block_on, WatchedSeat};
use crate::event_loop::backoff::Backoff;

/// For the first answer: longer than logind needs, if the system bus has to start it.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// At boot the system bus may start after this service. If it is not there after two minutes, the
/// system has none.
const RECONNECT: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(64)).with_max_retries(6);

/// The result of a future.
enum Update {
    /// The user of the active session, if there is one, and the seat to wait for the next change.
    User(Option<String>, Box<WatchedSeat>),
    /// The system bus or logind is not there, or no longer.
    Failed(String),
}

/// Returns the ID of the seat of this process.
fn own_seat() -> String {
    std::env::var("XDG_SEAT").ok().filter(|seat| !seat.is_empty()).unwrap_or_else(|| "seat0".into())
}

async fn current(seat: Box<WatchedSeat>) -> Update {
    match seat.active_user().await {
        Ok(user) => Update::User(user, seat),
        Err(error) => Update::Failed(error.to_string()),
    }
}

async fn connect() -> Update {
    match WatchedSeat::on_system_bus(own_seat()).await {
        Ok(seat) => current(Box::new(seat)).await,
        Err(error) => Update::Failed(error.to_string()),
    }
}

async fn next(mut seat: Box<WatchedSeat>) -> Update {
    match seat.changed().await {
        true => current(seat).await,
        false => Update::Failed("the connection to the system bus ended".into()),
    }
}

fn schedule(scheduler: &Scheduler<Update>, future: impl std::future::Future<Output = Update> + 'static) {
    if scheduler.schedule(future).is_err() {
        debug!("logind is not asked: the event loop ends");
    }
}

/// Returns the user of the active session, and calls `on_user` when another session has become
/// active. Without a system bus or logind it returns `None`, and tries again for two minutes.
///
/// # Errors
/// If the limit of open descriptors is reached.
pub fn follow<D: 'static>(
    handle: &LoopHandle<'static, D>,
    on_user: impl FnMut(&mut D, String) + 'static,
) -> io::Result<Option<String>> {
    follow_from(handle, block_on(connect(), FIRST_ANSWER_TIMEOUT), on_user)
}

fn follow_from<D: 'static>(
    handle: &LoopHandle<'static, D>,
    first: Option<Update>,
    mut on_user: impl FnMut(&mut D, String) + 'static,
) -> io::Result<Option<String>> {
    let (source, scheduler) = executor::<Update>().map_err(io::Error::other)?;
    let scheduler = Rc::new(scheduler);
    let mut reconnect = RECONNECT;
    let user = match first {
        Some(Update::User(user, seat)) => {
            schedule(&scheduler, next(seat));
            user
        }
        Some(Update::Failed(error)) => {
            debug!(error, "no logind yet");
            retry_after(handle, &scheduler, reconnect.next_delay());
            None
        }
        None => {
            info!("logind has not answered in time; using its answer when it comes");
            schedule(&scheduler, connect());
            None
        }
    };
    // Weak: the callback belongs to the loop, which would otherwise own itself.
    let weak = handle.downgrade();
    let on_update = move |update, (): &mut (), data: &mut D| match update {
        Update::User(user, seat) => {
            reconnect.reset();
            schedule(&scheduler, next(seat));
            if let Some(user) = user {
                on_user(data, user);
            }
        }
        Update::Failed(error) => {
            let delay = reconnect.next_delay();
            match delay {
                Some(delay) => debug!(error, ?delay, "no logind; asking again"),
                None => info!(error, "no logind: the profile does not follow the active session"),
            }
            if let Some(handle) = weak.upgrade() {
                retry_after(&handle, &scheduler, delay);
            }
        }
    };
    handle.insert_source(source, on_update).map_err(|error| io::Error::other(error.error))?;
    Ok(user)
}

/// Connects again after a delay.
fn retry_after<D>(
    handle: &LoopHandle<'static, D>,
    scheduler: &Rc<Scheduler<Update>>,
    delay: Option<Duration>,
) {
    let Some(delay) = delay else { return };
    // Not the scheduler itself: its derived Clone requires that Update is Clone.
    let scheduler = scheduler.clone();
    let armed = handle.insert_source(Timer::from_duration(delay), move |_, (), _| {
        schedule(&scheduler, connect());
        TimeoutAction::Drop
    });
    if let Err(error) = armed {
        debug!(%error, "logind is not asked again");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_lite::future;
    use smithay::reexports::calloop::EventLoop;

    use super::super::logind::fake::Logind;
    use super::*;

    #[test]
    fn each_new_active_user_is_reported() -> Result<(), Box<dyn std::error::Error>> {
        let mut event_loop: EventLoop<'static, Vec<String>> = EventLoop::try_new()?;
        let (logind, seat) = Logind::start("c-ann")?;
        let first = future::block_on(current(Box::new(seat)));
        let handle = event_loop.handle();
        let user = follow_from(&handle, Some(first), |users: &mut Vec<String>, user| users.push(user))?;
        assert_eq!(user.as_deref(), Some("ann"));
        let mut users = Vec::new();
        let mut dispatch_until = |count: usize| -> std::io::Result<Vec<String>> {
            let deadline = Instant::now() + Duration::from_secs(60);
            while users.len() < count && Instant::now() < deadline {
                event_loop.dispatch(Some(Duration::from_millis(100)), &mut users)?;
            }
            Ok(users.clone())
        };
        logind.activate("c-bob")?;
        assert_eq!(dispatch_until(1)?, ["bob"]);
        // Without an active session the last user's profile stays.
        logind.activate("")?;
        logind.activate("c-ann")?;
        assert_eq!(dispatch_until(2)?.last().map(String::as_str), Some("ann"));
        Ok(())
    }

    #[test]
    fn without_a_system_bus_there_is_no_user() -> Result<(), Box<dyn std::error::Error>> {
        let event_loop: EventLoop<'static, ()> = EventLoop::try_new()?;
        let failed = Update::Failed("no bus".into());
        assert_eq!(follow_from(&event_loop.handle(), Some(failed), |(), _| {})?, None);
        Ok(())
    }
}
