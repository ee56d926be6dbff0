//! A control client that prints its session's state, for tests that stop and kill it.

use std::io::Write;

use anyhow::Result;
use clap::Parser;
use geom_client::geom_ipc::{ConnectType, Request, Response};
use geom_client::{ConnectOptions, Error, Session};

/// Opens a session with the service, prints `session ID TOKEN` at each connect, and `ended REASON`.
///
/// ID is the session's number among the service's connections.
#[derive(Parser)]
struct Options {
    /// DISCONNECT_ONCE, KEEP_CONNECTION_OPEN, or both.
    #[arg(long)]
    connect_type: ConnectType,
    /// Resume the session of an earlier process.
    #[arg(long)]
    token: Option<String>,
    /// The session's name, unique among the clients: it finds the session's number.
    #[arg(long)]
    name: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let session = Session::connect(&ConnectOptions {
        name: options.name.clone(),
        connect_type: Some(options.connect_type),
        token: options.token,
        ..ConnectOptions::default()
    })?;
    let events = session.events()?;
    print_session(&session, &options.name)?;
    loop {
        match events.wait() {
            // The session was resumed after its connection broke.
            Ok(geom_client::geom_ipc::Event::EventsLost) => print_session(&session, &options.name)?,
            Ok(_) => {}
            Err(Error::Disconnected(reason)) => {
                println!("ended {reason:?}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn print_session(session: &Session, name: &str) -> Result<()> {
    let Response::Clients(clients) = session.request(Request::Clients)? else { return Ok(()) };
    let own = clients.iter().find(|client| client.app_id.as_deref() == Some(name));
    println!("session {} {}", own.map_or(0, |client| client.id), session.token());
    Ok(std::io::stdout().flush()?)
}
