//! Control sessions whose programs are killed or stopped: the right column of the table of
//! connection types (DESIGN.md section 6).

use anyhow::{ensure, Context, Result};
use geom_ipc::ConnectionState;
use geom_lab::protocol::{ExitStatus, RUNTIME_DIR};
use geom_lab::Program;

use crate::support::harness::{install_program, unique, Service, Setup, EXIT_TIMEOUT};
use crate::support::{CONFIG, SIGCONT, SIGKILL, SIGSTOP};

const SESSION: &str = "/run/bin/geom-lab-session";

const ONCE: &str = "DISCONNECT_ONCE";
const KEEP: &str = "KEEP_CONNECTION_OPEN";
const BOTH: &str = "DISCONNECT_ONCE|KEEP_CONNECTION_OPEN";

/// A program that holds a session.
struct Holder {
    program: Program,
    id: u64,
    token: String,
}

/// The sessions that a program reported, one per connection: id and token.
fn reported_sessions(program: &Program) -> Result<Vec<(u64, String)>> {
    let report = std::fs::read_to_string(&program.log)?;
    let sessions = report.lines().filter_map(|line| line.strip_prefix("session ")?.split_once(' '));
    Ok(sessions.filter_map(|(id, token)| Some((id.parse().ok()?, token.to_owned()))).collect())
}

/// Waits until a program has reported its first session.
fn wait_for_session(service: &Service, program: &Program) -> Result<(u64, String)> {
    service.machine.wait_until("a session", |_| Ok(!reported_sessions(program)?.is_empty()))?;
    reported_sessions(program)?.into_iter().next().context("a session")
}

fn start(config: &str) -> Result<Service> {
    let setup = Setup::with_monitors(1)?;
    install_program(&setup.machine, "geom-lab-session", SESSION)?;
    setup.start(config, &[])
}

/// Starts a program that holds a session, a new one or the one of a token.
fn hold(service: &Service, flags: &str, token: Option<&str>) -> Result<Holder> {
    // By its name the program finds the session's id among the clients.
    let name = unique("holder");
    let mut argv = vec![SESSION, "--name", name.as_str(), "--connect-type", flags];
    argv.extend(token.map(|token| ["--token", token]).iter().flatten());
    let program = service.machine.spawn_as_user(&name, &argv, &[])?;
    let (id, token) = wait_for_session(service, &program)?;
    Ok(Holder { program, id, token })
}

/// Waits until a connection is in a state; `None` is a connection that the service does not know.
fn wait_for_state(service: &Service, id: u64, expected: Option<ConnectionState>) -> Result<()> {
    let state = || -> Result<Option<ConnectionState>> {
        let clients = service.clients()?;
        Ok(clients.iter().find(|client| client.id == id).map(|client| client.state))
    };
    let what = format!("connection {id} in state {expected:?}");
    service.wait_for_answer(&what, state, |state| *state == expected).map(drop)
}

#[test]
fn session_of_a_killed_program_is_resumed_by_connection_type() -> Result<()> {
    let service = start("")?;
    // Disconnects that the session survives; the next one is final.
    for (flags, survived) in [(ONCE, 0), (KEEP, 3), (BOTH, 1)] {
        let mut holder = hold(&service, flags, None)?;
        let id = holder.id;
        for _ in 0..survived {
            service.machine.signal(&holder.program, SIGKILL)?;
            wait_for_state(&service, id, Some(ConnectionState::Lost))?;
            holder = hold(&service, flags, Some(&holder.token))?;
            ensure!(holder.id == id, "{flags}: resumed as {} instead of {id}", holder.id);
            wait_for_state(&service, id, Some(ConnectionState::Alive))?;
        }
        service.machine.signal(&holder.program, SIGKILL)?;
        if flags == KEEP {
            wait_for_state(&service, id, Some(ConnectionState::Lost))?;
            continue;
        }
        // Nothing of it stays, and its token resumes nothing.
        wait_for_state(&service, id, None)?;
        let next = hold(&service, flags, Some(&holder.token))?;
        ensure!(next.id != id && next.token != holder.token, "{flags}: resumed after its end");
    }
    service.finish()
}

#[test]
fn session_of_a_stopped_program_is_lost_by_connection_type() -> Result<()> {
    let service = start("[clients]\ninterval = 1\nunresponsive = 1\nlost = 2\n")?;
    // A holder, and the disconnects that its session survives; the next one is final.
    let holder = |flags, survived| Ok::<_, anyhow::Error>((hold(&service, flags, None)?, survived));
    let holders = [holder(ONCE, 0)?, holder(KEEP, 2)?, holder(BOTH, 1)?];
    // All are stopped at the same time, as the heartbeat takes seconds.
    for disconnect in 1..=2 {
        let survives = |survived: usize| survived >= disconnect;
        let is_final = |survived: usize| survived + 1 == disconnect;
        let concerned: Vec<_> =
            holders.iter().filter(|(_, survived)| survives(*survived) || is_final(*survived)).collect();
        for (holder, _) in &concerned {
            service.machine.signal(&holder.program, SIGSTOP)?;
        }
        for (holder, survived) in &concerned {
            let state = survives(*survived).then_some(ConnectionState::Lost);
            wait_for_state(&service, holder.id, state)?;
        }
        for (holder, survived) in concerned {
            service.machine.signal(&holder.program, SIGCONT)?;
            if survives(*survived) {
                // The client library resumes it by itself, with the same id.
                service.machine.wait_until("the resumed session", |_| {
                    let sessions = reported_sessions(&holder.program)?;
                    Ok(sessions.iter().filter(|(id, _)| *id == holder.id).count() == disconnect + 1)
                })?;
            } else {
                // The program ends when the library reports the end of its session.
                let status = service.machine.wait(&holder.program, EXIT_TIMEOUT)?;
                ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}");
            }
        }
    }
    service.finish()
}

/// Another user may connect, and has the token: the session stays its owner's.
#[test]
fn token_of_another_user_resumes_nothing() -> Result<()> {
    let service = start("[clients]\nusers = [\"daemon\"]\n")?;
    service.machine.run_as_root("open", &["chmod", "a+x", RUNTIME_DIR])?;
    let holder = hold(&service, KEEP, None)?;
    let line = format!(
        "GEOM_COMPOSITOR_SOCKET={RUNTIME_DIR}/geom-compositor.sock exec {SESSION} --name thief \
         --connect-type {KEEP} --token {}",
        holder.token
    );
    let spawn_as_daemon = || -> Result<Program> {
        let argv = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "sh", "-c", &line];
        service.machine.spawn_as_root(&unique("thief"), &argv, &[])
    };
    // While its owner holds it, and while it is lost.
    for is_held in [true, false] {
        let (id, token) = wait_for_session(&service, &spawn_as_daemon()?)?;
        ensure!(id != holder.id && token != holder.token, "held: {is_held}: the token was accepted");
        if is_held {
            wait_for_state(&service, holder.id, Some(ConnectionState::Alive))?;
            service.machine.signal(&holder.program, SIGKILL)?;
            wait_for_state(&service, holder.id, Some(ConnectionState::Lost))?;
        }
    }
    let again = hold(&service, KEEP, Some(&holder.token))?;
    ensure!(again.id == holder.id, "its owner can't resume it");
    // A user who may not connect any more does not reach the socket, with any token.
    let events = service.subscribe()?;
    service.machine.write(CONFIG, "")?;
    events.wait_for_config_applied()?;
    let refused = spawn_as_daemon()?;
    let status = service.machine.wait(&refused, EXIT_TIMEOUT)?;
    ensure!(status == Some(ExitStatus::Exited(1)), "{status:?}");
    ensure!(reported_sessions(&refused)?.is_empty(), "it has a session");
    service.finish()
}
