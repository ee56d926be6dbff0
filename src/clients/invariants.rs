//! Invariants of connections: of the liveness state machine, shared by the property test and the
//! fuzz target, and of the whole component.

use std::time::Duration;

use super::heartbeat::{Action, Event, HeartbeatTimeouts, Liveness, Time};

/// Checks the state machine with a history of events, each this much later than the one before.
///
/// # Errors
/// The invariant that was violated.
pub fn hold(
    timeouts: &HeartbeatTimeouts,
    history: impl IntoIterator<Item = (Event, Duration)>,
) -> Result<(), String> {
    let mut now: Time = Duration::from_secs(1);
    let mut connection = Liveness::Accepted { since: now };
    let mut is_marked = false;
    for (event, later) in history {
        now += later;
        let before = connection;
        let (next, action) = connection.on(event, now, timeouts);
        connection = next;
        let check = |holds: bool, invariant: &str| match holds {
            true => Ok(()),
            false => {
                Err(format!("{invariant}: {event:?} at {now:?} turns {before:?} into {next:?}, {action:?}"))
            }
        };
        match action {
            Action::MarkUnresponsive => {
                check(!is_marked, "an unresponsive connection is not marked again")?;
                let had_time = match connection {
                    Liveness::Unresponsive { pinged, .. } => now >= pinged + timeouts.unresponsive,
                    _ => false,
                };
                check(had_time, "a connection has its time to reply")?;
                is_marked = true;
            }
            Action::MarkResponsive => {
                check(is_marked, "only an unresponsive connection becomes responsive")?;
                is_marked = false;
            }
            Action::GiveUp | Action::Close(_) => is_marked = false,
            Action::Ping => check(timeouts.pingable, "only a pingable connection is pinged")?,
            Action::Resume => {
                let was_lost = matches!(before, Liveness::Lost { .. });
                check(was_lost, "only a lost connection is resumed")?;
            }
            Action::None => {}
        }
        if event == Event::Received {
            let exists = !matches!(before, Liveness::Lost { .. } | Liveness::Closed(_));
            let is_alive = connection == Liveness::Alive { last_received: now, pinged: None };
            check(exists == is_alive, "a connection that sends is alive")?;
        }
        if matches!(before, Liveness::Closed(_)) {
            let is_unchanged = connection == before && action == Action::None;
            check(is_unchanged, "a closed connection stays closed")?;
        }
        if event == Event::Deadline {
            let deadline = connection.deadline(timeouts);
            let would_spin = deadline.is_some_and(|deadline| deadline <= now) && connection == before;
            check(!would_spin, "a deadline that has come changes the state, or the loop would spin")?;
        }
    }
    Ok(())
}

/// Checks all connections, between two events. Called by tests and the fuzz target.
///
/// # Errors
/// The invariant that is violated.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check(clients: &super::Clients) -> Result<(), String> {
    use super::connection::Transport;
    use super::sessions::{MAX_LOST_SESSIONS, MAX_LOST_SESSIONS_PER_USER};
    let exists = |id| clients.connections.contains_key(&id);
    let check = |holds: bool, invariant: &str| match holds {
        true => Ok(()),
        false => Err(invariant.to_owned()),
    };
    let peers = clients.iter().map(|connection| (connection.peer.pid, connection.peer.uid));
    check(clients.counts.are_of(peers), "each connection is counted, and no other")?;
    check(clients.deadlines.ids().all(exists), "a deadline belongs to a connection")?;
    check(clients.subscribers.iter().copied().all(exists), "a subscriber is connected")?;
    check(clients.unannounced.iter().copied().all(exists), "an unannounced client is connected")?;
    check(
        clients.unannounced.is_empty() || clients.announcement_armed,
        "an unannounced client will be announced",
    )?;
    check(
        clients.deadlines.next().is_none_or(|next| clients.armed.is_some_and(|armed| armed <= next)),
        "the timer is armed for the earliest deadline, or for an earlier time",
    )?;
    let lost = clients.iter().filter(|connection| connection.is_lost());
    let lost = lost.filter(|connection| matches!(connection.transport, Transport::Control(_)));
    let mut by_user = std::collections::BTreeMap::new();
    lost.for_each(|connection| *by_user.entry(connection.peer.uid).or_insert(0) += 1);
    check(by_user.values().sum::<usize>() <= MAX_LOST_SESSIONS, "the number of lost sessions is limited")?;
    check(
        by_user.values().all(|count| *count <= MAX_LOST_SESSIONS_PER_USER),
        "the number of a user's lost sessions is limited",
    )?;
    for connection in clients.iter() {
        let id = connection.id;
        let polled = clients.unpinged.contains(&id);
        check(connection.needs_polling() == polled, "a client that cannot be pinged is polled")?;
        check(id <= clients.last_id, "ids are counted")?;
        match &connection.transport {
            Transport::Wayland(transport) => check(
                clients.has_ended(id) || clients.by_descriptor.get(&transport.descriptor) == Some(&id),
                "the socket of each client that has not ended leads to it",
            )?,
            Transport::Control(control) => check(
                control.is_open() != connection.is_lost(),
                "a lost session has no socket, and each other has one",
            )?,
        }
        if let Some((_, at)) = connection.leaving {
            let deadline = clients.deadlines.of(id);
            check(
                connection.is_closing || deadline.is_some_and(|deadline| deadline <= at),
                "a client that was asked to close has a deadline",
            )?;
        }
    }
    Ok(())
}
