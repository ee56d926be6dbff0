//! The service as a program has it: started where none runs, commanded, ended where it was started here.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use geom_ipc::{Answer, ConnectType, Display, Request, Status, Window};
use serde::{Deserialize, Serialize};

use crate::client::unexpected;
use crate::events::Events;
use crate::service::{Launch, Service};
use crate::{ConnectOptions, Error, Session};

/// What a program wishes of its compositor. Everything has a default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What the service is called: on its diagnostic screen and in its status. Of a service that is started.
    pub window_title: Option<String>,
    /// How the loss of a display and of this program's connection are taken; the configuration's where it is not given.
    pub connect_type: Option<ConnectType>,
    /// `auto`, `kms` or `headless`. Of a service that is started.
    pub backend: Option<String>,
    /// Only these displays are driven, by connector name. Of a service that is started.
    #[serde(deserialize_with = "one_or_more")]
    pub display: Vec<String>,
    /// `auto`, `pixman`, `gles` or `llvmpipe`. Of a service that is started.
    pub renderer: Option<String>,
    /// The configuration file. Of a service that is started.
    pub config: Option<PathBuf>,
    /// Shell commands that are started as its clients. Of a service that is started.
    #[serde(deserialize_with = "one_or_more")]
    pub exec: Vec<String>,
    /// What it logs, as `--log`. Of a service that is started.
    pub log: Option<String>,
    /// The file that its log is appended to; standard error otherwise. Of a service that is started.
    pub log_file: Option<PathBuf>,
    /// The program; otherwise `GEOM_COMPOSITOR_EXECUTABLE`, `PATH`, the place of installation.
    pub executable: Option<PathBuf>,
    /// The control socket; otherwise [`geom_ipc::socket_paths`].
    pub socket: Option<PathBuf>,
    /// What this program is called among the service's clients; otherwise `window_title`.
    pub name: Option<String>,
    /// Of a session that is resumed ([`Compositor::token`]); a new one begins where the service has not kept it.
    pub token: Option<String>,
    /// Seconds that starting may take, the first frame included; 30 by default.
    pub start_timeout: Option<f64>,
    /// Seconds that an answer may take; 10 by default.
    pub timeout: Option<f64>,
}

/// A list, or one value for a list of it.
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

fn seconds(name: &str, wished: Option<f64>, otherwise: u64) -> Result<Duration, Error> {
    match wished {
        None => Ok(Duration::from_secs(otherwise)),
        // More than a day is for ever, and no clock overflows.
        Some(time) if time > 0.0 => Ok(Duration::from_secs_f64(time.min(86_400.0))),
        Some(time) => Err(Error::BadArgument(format!("{name} {time} is not allowed; write seconds above 0"))),
    }
}

#[derive(Debug)]
struct Running {
    session: Arc<Session>,
    /// Where it was started here.
    service: Option<Service>,
}

/// The display manager, as a program starts, commands and stops it. Any thread may use it.
///
/// ```no_run
/// use geom_client::{Compositor, Config};
///
/// let compositor = Compositor::new(Config { backend: Some("headless".into()), ..Config::default() })?;
/// compositor.start()?;
/// println!("{} displays", compositor.displays()?.len());
/// compositor.stop()?;
/// # Ok::<(), geom_client::Error>(())
/// ```
///
/// Dropping it stops it.
#[derive(Debug)]
pub struct Compositor {
    config: Config,
    start_timeout: Duration,
    options: ConnectOptions,
    running: Mutex<Option<Running>>,
}

impl Compositor {
    /// Nothing runs yet.
    ///
    /// # Errors
    /// [`Error::BadArgument`] where a time is not above 0.
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

    /// Connects to the service that runs, or starts one. Returns when a frame of the service's is on a display. Does nothing
    /// where it was started already.
    ///
    /// # Errors
    /// [`Error::Start`] with the reason, where the service can't run or nothing is shown in time; a service that was
    /// started here is ended then.
    pub fn start(&self) -> Result<(), Error> {
        let mut running = self.running();
        // A session that has ended for good and a service that has died are no obstacle to starting again.
        if running.as_ref().is_some_and(|running| running.session.ended().is_none()) {
            return Ok(());
        }
        drop(running.take());
        let deadline = Instant::now() + self.start_timeout;
        let (session, service) = match Session::connect(&self.options) {
            Ok(session) => (session, None),
            Err(Error::NotRunning(_)) => self.launch(deadline)?,
            Err(error) => return Err(error),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match session.request_within(Request::AwaitFrame, left) {
            Ok(_) => {
                *running = Some(Running { session: Arc::new(session), service });
                Ok(())
            }
            Err(Error::TimedOut(_)) => Err(Error::Start(nothing_shown(&session))),
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
            // Somebody else may have started one meanwhile: then there is one, and it is not ours.
            Err(error) => Session::connect(&self.options).map(|session| (session, None)).map_err(|_| error),
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        let config = &self.config;
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: OsString| {
            // As one word: a value may begin with a dash.
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

    /// Ends what [`Self::start`] started: the service where it began it, and otherwise this program's connection only.
    /// Does nothing where nothing was started.
    ///
    /// # Errors
    /// Where the service can't be ended.
    pub fn stop(&self) -> Result<(), Error> {
        let Some(Running { session, service }) = self.running().take() else { return Ok(()) };
        drop(session);
        match service {
            Some(mut service) => service.stop().map(drop),
            None => Ok(()),
        }
    }

    /// Whether [`Self::start`] began the service, and it runs.
    pub fn owns_service(&self) -> bool {
        let mut running = self.running();
        running.as_mut().and_then(|running| running.service.as_mut()).is_some_and(Service::is_running)
    }

    /// Whether it was started, and its session goes on.
    pub fn is_running(&self) -> bool {
        self.running().as_ref().is_some_and(|running| running.session.ended().is_none())
    }

    /// What resumes the session from another process, should this one be killed.
    ///
    /// # Errors
    /// [`Error::NotStarted`].
    pub fn token(&self) -> Result<String, Error> {
        Ok(self.session()?.token())
    }

    fn session(&self) -> Result<Arc<Session>, Error> {
        self.running().as_ref().map(|running| running.session.clone()).ok_or(Error::NotStarted)
    }

    /// Asks for anything that the protocol has.
    ///
    /// # Errors
    /// As [`Session::request`]; [`Error::NotStarted`].
    pub fn request(&self, request: Request) -> Result<Answer, Error> {
        self.session()?.request(request)
    }

    /// What happens from now on.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn events(&self) -> Result<Events, Error> {
        self.session()?.events()
    }

    /// # Errors
    /// As [`Self::request`].
    pub fn displays(&self) -> Result<Vec<Display>, Error> {
        match self.request(Request::Displays)? {
            Answer::Displays(displays) => Ok(displays),
            other => Err(unexpected(&other)),
        }
    }

    /// # Errors
    /// As [`Self::request`].
    pub fn clients(&self) -> Result<Vec<geom_ipc::Client>, Error> {
        match self.request(Request::Clients)? {
            Answer::Clients(clients) => Ok(clients),
            other => Err(unexpected(&other)),
        }
    }

    /// # Errors
    /// As [`Self::request`].
    pub fn windows(&self) -> Result<Vec<Window>, Error> {
        match self.request(Request::Windows)? {
            Answer::Windows(windows) => Ok(windows),
            other => Err(unexpected(&other)),
        }
    }

    /// # Errors
    /// As [`Self::request`].
    pub fn status(&self) -> Result<Status, Error> {
        match self.request(Request::Status)? {
            Answer::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// What a display shows, as a PNG.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn screenshot(&self, display: &str) -> Result<Vec<u8>, Error> {
        let request = Request::Screenshot { display: display.to_owned(), path: None };
        let (_, fd) = self.session()?.request_within(request, self.options.timeout)?;
        let fd = fd.ok_or_else(|| Error::Protocol("a screenshot without its descriptor".into()))?;
        let mut png = Vec::new();
        std::fs::File::from(fd).read_to_end(&mut png)?;
        Ok(png)
    }
}

/// Why there is no first frame, as far as the service knows.
fn nothing_shown(session: &Session) -> String {
    match session.request(Request::Status) {
        Ok(Answer::Status(status)) if status.displays_lit == 0 => {
            let mut text = "no display is lit: there is no monitor, or none that is named".to_owned();
            for trouble in status.troubles {
                text = format!("{text}; {trouble}");
            }
            text
        }
        _ => "no frame was shown in time".to_owned(),
    }
}
