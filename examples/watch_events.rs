//! Prints the events of the running service. Survives a restart of the service, if the connection
//! type allows it.
//!
//! Shows the order that avoids gaps: subscribe first, then query the state, then follow the events.
//! After `events_lost`, the state must be queried again, because events are missing.
//!
//! ```text
//! $ cargo run -p geom-client --example watch_events
//! displays: HDMI-A-1 Enabled
//! layout: hotplug, enabled displays: HDMI-A-1 DP-2
//! ```

use std::process::ExitCode;

use geom_client::geom_ipc::{Event, Request, Response};
use geom_client::{ConnectOptions, Error, Session};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watch_events: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    // A `Session` answers heartbeats in a thread, so this program may wait for events as long as it
    // likes. It also resumes the session if the service restarts.
    let options = ConnectOptions { name: "watch_events".into(), ..ConnectOptions::default() };
    let session = Session::connect(&options)?;
    let events = session.events()?;
    print_displays(&session)?;
    loop {
        match events.wait() {
            Ok(Event::Display { display }) => println!("display: {} {:?}", display.name, display.state),
            Ok(Event::Layout { cause, enabled }) => {
                println!("layout: {cause}, enabled displays: {}", enabled.join(" "));
            }
            Ok(Event::EventsLost) => print_displays(&session)?,
            // Every event implements `Debug`. New versions of the protocol may add events.
            Ok(event) => println!("event: {event:?}"),
            Err(Error::Disconnected(reason)) => {
                println!("disconnected: {reason:?}");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

fn print_displays(session: &Session) -> Result<(), Error> {
    if let Response::Displays(displays) = session.request(Request::Displays)? {
        let displays: Vec<String> =
            displays.iter().map(|display| format!("{} {:?}", display.name, display.state)).collect();
        println!("displays: {}", displays.join(", "));
    }
    Ok(())
}
