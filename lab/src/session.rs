//! A control client that tells how its session fares, for tests that stop and kill it.

use std::io::Write;

use anyhow::Result;
use clap::Parser;
use geom_client::geom_ipc::{Answer, ConnectType, Request};
use geom_client::{ConnectOptions, Error, Session};

/// Holds a session with the service and prints its token, its number among the connections, and what becomes of it.
#[derive(Parser)]
struct Options {
    #[arg(long)]
    connect_type: ConnectType,
    /// Takes up the session of an earlier process.
    #[arg(long)]
    token: Option<String>,
    /// Unique among the clients: finds the session's number.
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
    tell(&session, &options.name)?;
    loop {
        match events.wait() {
            // Back after a loss.
            Ok(geom_client::geom_ipc::Event::StreamLost) => tell(&session, &options.name)?,
            Ok(_) => {}
            Err(Error::Gone(reason)) => {
                println!("ended {reason:?}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn tell(session: &Session, name: &str) -> Result<()> {
    let Answer::Clients(clients) = session.request(Request::Clients)? else { return Ok(()) };
    let own = clients.iter().find(|client| client.app_id.as_deref() == Some(name));
    println!("session {} {}", own.map_or(0, |client| client.id), session.token());
    Ok(std::io::stdout().flush()?)
}
