//! A logind with one seat: serves the active session of `seat0` on the system bus, for tests of
//! what follows the seat's user. A real one would need VTs and login sessions of several users.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use zbus::zvariant::OwnedObjectPath;

const SEAT: &str = "/org/freedesktop/login1/seat/seat0";
/// Time between two looks at the file.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Prints `serving` once it has its name on the bus of DBUS_SYSTEM_BUS_ADDRESS.
#[derive(Parser)]
struct Options {
    /// The users who may have the active session.
    #[arg(long, value_delimiter = ',')]
    users: Vec<String>,
    /// Names the user of the active session; an empty file: there is none.
    file: PathBuf,
}

fn session_path(user: &str) -> String {
    format!("/org/freedesktop/login1/session/{user}")
}

struct Manager;

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn get_seat(&self, id: &str) -> zbus::fdo::Result<OwnedObjectPath> {
        match id {
            "seat0" => Ok(OwnedObjectPath::try_from(SEAT).map_err(zbus::Error::from)?),
            _ => Err(zbus::fdo::Error::Failed(format!("no seat {id}"))),
        }
    }
}

struct Seat {
    /// The user of the active session, or "".
    user: String,
}

#[zbus::interface(name = "org.freedesktop.login1.Seat")]
impl Seat {
    #[zbus(property)]
    fn active_session(&self) -> zbus::fdo::Result<(String, OwnedObjectPath)> {
        let path = if self.user.is_empty() { "/".to_owned() } else { session_path(&self.user) };
        Ok((self.user.clone(), OwnedObjectPath::try_from(path).map_err(zbus::Error::from)?))
    }
}

struct Session {
    user: String,
}

#[zbus::interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn name(&self) -> &str {
        &self.user
    }
}

async fn serve(options: Options) -> Result<()> {
    let read = || std::fs::read_to_string(&options.file).map(|text| text.trim().to_owned());
    let user = read().with_context(|| options.file.display().to_string())?;
    let mut builder = zbus::connection::Builder::system()?
        .serve_at("/org/freedesktop/login1", Manager)?
        .serve_at(SEAT, Seat { user })?;
    for user in &options.users {
        builder = builder.serve_at(session_path(user), Session { user: user.clone() })?;
    }
    let bus = builder.name("org.freedesktop.login1")?.build().await?;
    println!("serving");
    let seat = bus.object_server().interface::<_, Seat>(SEAT).await?;
    loop {
        std::thread::sleep(POLL_INTERVAL);
        let user = read()?;
        let mut active = seat.get_mut().await;
        if active.user != user {
            active.user = user;
            active.active_session_changed(seat.signal_emitter()).await?;
        }
    }
}

fn main() -> Result<()> {
    futures_lite::future::block_on(serve(Options::parse()))
}
