//! What holds of every connection's life, whatever happens in whatever order: for property tests and for fuzzing.

use std::time::Duration;

use super::heartbeat::{Action, Liveness, Event, HeartbeatTimeouts, Time};

/// Lives through a history of events, each so much later than the one before.
///
/// # Errors
/// The law that it broke, in words.
pub fn hold(timeouts: &HeartbeatTimeouts, history: impl IntoIterator<Item = (Event, Duration)>) -> Result<(), String> {
    let mut now: Time = Duration::from_secs(1);
    let mut connection = Liveness::Accepted { since: now };
    let mut suspected = false;
    for (event, later) in history {
        now += later;
        let before = connection;
        let (next, action) = connection.on(event, now, timeouts);
        connection = next;
        let law = |holds: bool, law: &str| match holds {
            true => Ok(()),
            false => Err(format!("{law}: {event:?} at {now:?} makes of {before:?} {next:?} and {action:?}")),
        };
        match action {
            Action::MarkUnresponsive => {
                law(!suspected, "a connection is suspected once")?;
                let answered_late = match connection {
                    Liveness::Unresponsive { pinged, .. } => now >= pinged + timeouts.unresponsive,
                    _ => false,
                };
                law(answered_late, "it has its time to answer before")?;
                suspected = true;
            }
            Action::MarkResponsive => {
                law(suspected, "who is trusted again was suspected")?;
                suspected = false;
            }
            Action::GiveUp | Action::Close(_) => suspected = false,
            Action::Ping => law(timeouts.pingable, "only who can answer is asked")?,
            Action::Resume => {
                law(matches!(before, Liveness::Lost { .. }), "who comes back was lost")?;
            }
            Action::None => {}
        }
        if event == Event::Heard {
            let live = !matches!(before, Liveness::Lost { .. } | Liveness::Closed(_));
            let alive = connection == Liveness::Alive { heard: now, pinged: None };
            law(live == alive, "who is heard of lives")?;
        }
        if matches!(before, Liveness::Closed(_)) {
            law(connection == before && action == Action::None, "the end is the end")?;
        }
        if event == Event::Deadline {
            let spins =
                connection.deadline(timeouts).is_some_and(|deadline| deadline <= now) && connection == before;
            law(!spins, "what was due has been done, or the loop would spin")?;
        }
    }
    Ok(())
}
