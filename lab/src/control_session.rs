//! A control client that prints its session's state, for tests that stop and kill it.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
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
    /// Instead, ask for the status this number of times and print how long the answers took.
    #[arg(long)]
    requests: Option<u32>,
}

/// The time between two requests of `--requests`.
const REQUEST_INTERVAL: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let options = Options::parse();
    let session = Session::connect(&ConnectOptions {
        name: options.name.clone(),
        connect_type: Some(options.connect_type),
        token: options.token,
        ..ConnectOptions::default()
    })?;
    if let Some(count) = options.requests {
        return measure(&session, count);
    }
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

/// Prints the median and the longest time from a request to its answer.
fn measure(session: &Session, count: u32) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..count {
        let asked = Instant::now();
        session.request(Request::Status)?;
        times.push(asked.elapsed().as_secs_f64() * 1000.0);
        std::thread::sleep(REQUEST_INTERVAL);
    }
    times.sort_by(f64::total_cmp);
    let longest = times.last().context("--requests needs at least 1")?;
    println!("stats answer_ms={:.3} longest_ms={longest:.3}", times[times.len() / 2]);
    Ok(())
}
