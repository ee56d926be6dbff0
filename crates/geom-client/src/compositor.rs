//! The service as an object of the program: starts it if none runs, commands it, stops it.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use geom_ipc::{ConnectType, Display, InputDevice, Request, Response, Status, Window};
use serde::{Deserialize, Serialize};

use crate::client::{no_descriptor, unexpected};
use crate::events::Events;
use crate::service::{Launch, Service};
use crate::{ConnectOptions, Error, Session};

/// Configuration of a [`Compositor`]. All fields are optional.
///
/// `connect_type`, `socket`, `name`, `token`, `start_timeout` and `timeout` always apply. The other
/// fields apply only to a service that is started, not to one that runs already.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Title of the service, on its diagnostic screen and in its status.
    pub window_title: Option<String>,
    /// Connection type of the session, and of the service's displays if it is started. By default,
    /// the service's configuration decides.
    pub connect_type: Option<ConnectType>,
    /// `auto`, `kms` or `headless`.
    pub backend: Option<String>,
    /// Names of the displays to drive. By default, all.
    #[serde(deserialize_with = "one_or_more")]
    pub display: Vec<String>,
    /// `auto`, `pixman`, `gles` or `llvmpipe`.
    pub renderer: Option<String>,
    /// Path of the configuration file.
    pub config: Option<PathBuf>,
    /// Shell commands that the service starts as its clients.
    #[serde(deserialize_with = "one_or_more")]
    pub exec: Vec<String>,
    /// Log filter, such as `info` or `debug,smithay=warn`.
    pub log: Option<String>,
    /// File that the log is appended to. By default, the log goes to standard error.
    pub log_file: Option<PathBuf>,
    /// Path of the program to start. By default, the one that `GEOM_COMPOSITOR_EXECUTABLE` names,
    /// `geom_compositor` in `PATH`, or the installed one.
    pub executable: Option<PathBuf>,
    /// Path of the control socket. By default, the paths of [`geom_ipc::socket_paths`] are tried.
    pub socket: Option<PathBuf>,
    /// Name of this program in the service's list of clients. By default, `window_title`.
    pub name: Option<String>,
    /// Token of the session to resume, from [`Compositor::token`] of an earlier process. If the
    /// service has not kept that session, a new one begins.
    pub token: Option<String>,
    /// Maximum time to start, including the first frame, in seconds above 0. 30 by default.
    pub start_timeout: Option<f64>,
    /// Maximum time to wait for a reply, in seconds above 0. 10 by default.
    pub timeout: Option<f64>,
}

/// Deserializes a list, or a single value as a list of one.
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        One(String),
        More(Vec<String>),
    }
    Ok(match Value::deserialize(deserializer)? {
        Value::One(text) => vec![text],
        Value::More(list) => list,
    })
}

fn seconds(name: &str, configured: Option<f64>, default: u64) -> Result<Duration, Error> {
    match configured {
        None => Ok(Duration::from_secs(default)),
        // Limited to a day, so that adding it to a time does not overflow.
        Some(time) if time > 0.0 => Ok(Duration::from_secs_f64(time.min(86_400.0))),
        Some(time) => Err(Error::BadArgument(format!("{name} {time} is not allowed; write seconds above 0"))),
    }
}

#[derive(Debug)]
struct Running {
    session: Arc<Session>,
    /// The service, if this program started it.
    service: Option<Service>,
}

/// The display manager, for a program that starts, commands and stops it. Any thread may use it.
///
/// Dropping it stops it, as [`Self::stop`] does.
///
/// # Examples
///
/// ```no_run
/// use geom_client::{Compositor, Config};
///
/// let config = Config { backend: Some("headless".into()), ..Config::default() };
/// let compositor = Compositor::new(config)?;
/// compositor.start()?;
/// println!("{} displays", compositor.displays()?.len());
/// compositor.stop()?;
/// # Ok::<(), geom_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Compositor {
    config: Config,
    start_timeout: Duration,
    options: ConnectOptions,
    running: Mutex<Option<Running>>,
}

impl Compositor {
    /// Creates the object. It neither connects nor starts anything.
    ///
    /// # Errors
    /// [`Error::BadArgument`] if a time is not above 0.
    pub fn new(config: Config) -> Result<Self, Error> {
        let start_timeout = seconds("start_timeout", config.start_timeout, 30)?;
        let options = ConnectOptions {
            socket: config.socket.clone(),
            name: config.name.clone().or_else(|| config.window_title.clone()).unwrap_or_default(),
            connect_type: config.connect_type,
            token: config.token.clone(),
            timeout: seconds("timeout", config.timeout, 10)?,
        };
        Ok(Self { config, start_timeout, options, running: Mutex::default() })
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to the running service, or starts one. Returns after a frame was presented on a
    /// display. Does nothing if it was started before and its session has not ended.
    ///
    /// # Errors
    /// [`Error::StartFailed`] with the reason if the service can't run or presents no frame within
    /// `start_timeout`; a service that this call started is stopped then. [`Error::Server`] if the
    /// service refuses this user or command.
    pub fn start(&self) -> Result<(), Error> {
        let mut running = self.running();
        // A session that has ended, or a service that has died, does not prevent another start.
        if running.as_ref().is_some_and(|running| running.session.ended().is_none()) {
            return Ok(());
        }
        drop(running.take());
        let deadline = Instant::now() + self.start_timeout;
        let (session, service) = match Session::connect(&self.options) {
            Ok(session) => (session, None),
            Err(Error::NotRunning(_) | Error::NotPermitted(_)) => self.launch(deadline)?,
            Err(error) => return Err(error),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match session.request_within(Request::AwaitFrame, left) {
            Ok(_) => {
                *running = Some(Running { session: Arc::new(session), service });
                Ok(())
            }
            Err(Error::TimedOut(_)) => Err(Error::StartFailed(why_no_frame(&session))),
            Err(error) => Err(error),
        }
    }

    fn launch(&self, deadline: Instant) -> Result<(Session, Option<Service>), Error> {
        let launch = Launch {
            executable: self.config.executable.clone(),
            arguments: self.arguments(),
            socket: self.config.socket.clone(),
            log_file: self.config.log_file.clone(),
        };
        match Service::start(&launch, deadline) {
            Ok(service) => Ok((Session::connect(&self.options)?, Some(service))),
            // Another program may have started a service meanwhile. Then ours has failed, and that
            // one is used and not owned.
            Err(error) => match Session::connect(&self.options) {
                Ok(session) => Ok((session, None)),
                // One runs, for others.
                Err(forbidden @ Error::NotPermitted(_)) => Err(forbidden),
                Err(_) => Err(error),
            },
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        let config = &self.config;
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: OsString| {
            // One argument with "=", because a value may begin with a dash.
            let mut argument = OsString::from(format!("--{name}="));
            argument.push(value);
            arguments.push(argument);
        };
        let plain = [
            ("window-title", config.window_title.clone()),
            ("connect-type", config.connect_type.map(|kind| kind.to_string())),
            ("backend", config.backend.clone()),
            ("renderer", config.renderer.clone()),
            ("log", config.log.clone()),
        ];
        for (name, value) in plain {
            if let Some(value) = value {
                add(name, value.into());
            }
        }
        if let Some(path) = &config.config {
            add("config", path.into());
        }
        config.display.iter().for_each(|name| add("display", name.into()));
        config.exec.iter().for_each(|command| add("exec", command.into()));
        arguments
    }

    /// Reverts [`Self::start`]: stops the service and its clients if that call started it, and
    /// otherwise only ends this program's session. Does nothing if nothing was started.
    ///
    /// # Errors
    /// If the kernel refuses to stop the service.
    pub fn stop(&self) -> Result<(), Error> {
        let Some(Running { session, service }) = self.running().take() else { return Ok(()) };
        drop(session);
        match service {
            Some(mut service) => service.stop().map(drop),
            None => Ok(()),
        }
    }

    /// Returns whether [`Self::start`] started the service and it runs.
    pub fn owns_service(&self) -> bool {
        let mut running = self.running();
        running.as_mut().and_then(|running| running.service.as_mut()).is_some_and(Service::is_running)
    }

    /// Returns whether it was started and its session has not ended.
    pub fn is_running(&self) -> bool {
        self.running().as_ref().is_some_and(|running| running.session.ended().is_none())
    }

    /// Returns the token that resumes the session from another process ([`Config::token`]), for
    /// programs that may be killed. A secret.
    ///
    /// # Errors
    /// [`Error::NotStarted`].
    pub fn token(&self) -> Result<String, Error> {
        Ok(self.session()?.token())
    }

    fn session(&self) -> Result<Arc<Session>, Error> {
        self.running().as_ref().map(|running| running.session.clone()).ok_or(Error::NotStarted)
    }

    /// Sends any request of the protocol and waits for the response.
    ///
    /// # Errors
    /// As [`Session::request`]; [`Error::NotStarted`].
    pub fn request(&self, request: Request) -> Result<Response, Error> {
        self.session()?.request(request)
    }

    /// Returns a stream of all events from now on.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn events(&self) -> Result<Events, Error> {
        self.session()?.events()
    }

    /// Lists the displays.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn displays(&self) -> Result<Vec<Display>, Error> {
        match self.request(Request::Displays)? {
            Response::Displays(displays) => Ok(displays),
            other => Err(unexpected(&other)),
        }
    }

    /// Lists the connections.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn clients(&self) -> Result<Vec<geom_ipc::Client>, Error> {
        match self.request(Request::Clients)? {
            Response::Clients(clients) => Ok(clients),
            other => Err(unexpected(&other)),
        }
    }

    /// Lists the toplevel windows.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn windows(&self) -> Result<Vec<Window>, Error> {
        match self.request(Request::Windows)? {
            Response::Windows(windows) => Ok(windows),
            other => Err(unexpected(&other)),
        }
    }

    /// Lists the input devices.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn input_devices(&self) -> Result<Vec<InputDevice>, Error> {
        match self.request(Request::InputDevices)? {
            Response::InputDevices(devices) => Ok(devices),
            other => Err(unexpected(&other)),
        }
    }

    /// Queries the state of the service.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn status(&self) -> Result<Status, Error> {
        match self.request(Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes a screenshot of a display. Returns the bytes of a PNG file.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn screenshot(&self, display: &str) -> Result<Vec<u8>, Error> {
        let request = Request::Screenshot { display: display.to_owned() };
        let (_, fd) = self.session()?.request_within(request, self.options.timeout)?;
        let mut png = Vec::new();
        std::fs::File::from(fd.ok_or_else(no_descriptor)?).read_to_end(&mut png)?;
        Ok(png)
    }
}

/// Returns why no frame was presented, as far as the service's status shows it.
fn why_no_frame(session: &Session) -> String {
    match session.request(Request::Status) {
        Ok(Response::Status(status)) if status.enabled_displays == 0 => {
            let text = "no display is enabled: no monitor is connected, or none with a configured name";
            status.notices.iter().fold(text.to_owned(), |text, notice| format!("{text}; {notice}"))
        }
        _ => "no frame was presented in time".to_owned(),
    }
}
