//! The control protocol as its users have it: the CLI, with `--json`.

use std::cell::Cell;

use anyhow::{ensure, Context, Result};
use geom_ipc::{Client, Display, Event, Gpu, InputDevice, Metrics, Status, Window};
use geom_lab::protocol::ExitStatus;
use geom_lab::{Program, Screenshot};
use serde::de::DeserializeOwned;

use super::harness::{unique, Service, EXIT_TIMEOUT};
use super::host::Host;

/// How a command ended, and its output.
pub struct CommandResult {
    pub status: Option<ExitStatus>,
    pub text: String,
}

impl CommandResult {
    /// The command failed with this status, and its message names everything in `named`.
    pub fn ensure_fails(&self, expected: i32, named: &[&str]) -> Result<()> {
        let Self { status, text } = self;
        ensure!(*status == Some(ExitStatus::Exited(expected)), "{status:?}, not {expected}: {text}");
        for name in named {
            ensure!(text.contains(name), "the message does not name {name:?}: {text}");
        }
        Ok(())
    }
}

impl<H: Host> Service<H> {
    /// Runs the CLI as the service's own user.
    pub fn try_command(&self, arguments: &[&str]) -> Result<CommandResult> {
        let program = self.spawn_command(arguments)?;
        let status = self.machine.wait_for_exit(&program, EXIT_TIMEOUT)?;
        // A screenshot is no text.
        let output = std::fs::read(&program.log)?;
        Ok(CommandResult { status, text: String::from_utf8_lossy(&output).into_owned() })
    }

    /// Starts a command that is not waited for.
    pub fn spawn_command(&self, arguments: &[&str]) -> Result<Program> {
        let compositor = self.machine.program("geom_compositor")?;
        let mut argv = vec![compositor.as_str()];
        argv.extend(arguments);
        self.machine.spawn(&unique("command"), &argv, &[])
    }

    /// Runs a command that must succeed; its output.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let CommandResult { status, text } = self.try_command(arguments)?;
        ensure!(status == Some(ExitStatus::Exited(0)), "{arguments:?}: {status:?}: {text}");
        Ok(text)
    }

    fn query<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let text = self.command(&[what, "--json"])?;
        serde_json::from_str(&text).with_context(|| format!("{what} --json: {text}"))
    }

    pub fn status(&self) -> Result<Status> {
        self.query("status")
    }

    pub fn displays(&self) -> Result<Vec<Display>> {
        self.query("displays")
    }

    /// One display by its connector.
    pub fn display(&self, name: &str) -> Result<Display> {
        let displays = self.displays()?;
        displays
            .into_iter()
            .find(|display| display.name == name)
            .with_context(|| format!("no display {name}"))
    }

    pub fn clients(&self) -> Result<Vec<Client>> {
        self.query("clients")
    }

    /// The client that has a window of this app id.
    pub fn client_by_app_id(&self, app_id: &str) -> Result<Client> {
        let clients = self.clients()?;
        let found = clients.into_iter().find(|client| client.app_id.as_deref() == Some(app_id));
        found.with_context(|| format!("no client {app_id}"))
    }

    pub fn windows(&self) -> Result<Vec<Window>> {
        self.query("windows")
    }

    /// The only window.
    pub fn window(&self) -> Result<Window> {
        let mut windows = self.windows()?;
        ensure!(windows.len() == 1, "{windows:#?}");
        windows.pop().context("a window")
    }

    pub fn metrics(&self) -> Result<Metrics> {
        self.query("metrics")
    }

    /// How often a mode was set since the start, on all displays.
    pub fn count_modesets(&self) -> Result<u64> {
        Ok(self.metrics()?.displays.iter().map(|display| display.modesets).sum())
    }

    pub fn input_devices(&self) -> Result<Vec<InputDevice>> {
        self.query("inputs")
    }

    /// The only GPU.
    pub fn gpu(&self) -> Result<Gpu> {
        let mut gpus = self.status()?.gpus;
        ensure!(gpus.len() == 1, "{gpus:#?}");
        gpus.pop().context("a GPU")
    }

    /// A screenshot by the service itself. [`super::harness::wait_for_pixels`] reads what the
    /// kernel scans out.
    pub fn screenshot(&self, display: &str) -> Result<Screenshot> {
        let program = self.spawn_command(&["screenshot", display, "-"])?;
        let status = self.machine.wait_for_exit(&program, EXIT_TIMEOUT)?;
        ensure!(status == Some(ExitStatus::Exited(0)), "screenshot {display}: {status:?}");
        Screenshot::load(&program.log)
    }

    /// Waits until the status is as expected.
    pub fn wait_for_status(&self, what: &str, expected: impl Fn(&Status) -> bool) -> Result<Status> {
        self.wait_for_answer(what, || self.status(), expected)
    }

    /// Waits until libseat has disabled the session.
    pub fn wait_until_session_inactive(&self) -> Result<()> {
        self.wait_for_status("an inactive session", |status| !status.session_active).map(drop)
    }

    /// Waits until a notice of the status names `name`: a device, file or key.
    pub fn wait_for_notice(&self, name: &str) -> Result<Status> {
        self.wait_for_status(&format!("a notice of {name}"), |status| {
            status.notices.iter().any(|notice| notice.contains(name))
        })
    }

    /// Waits until a display is as expected.
    pub fn wait_for_display(
        &self,
        name: &str,
        what: &str,
        expected: impl Fn(&Display) -> bool,
    ) -> Result<Display> {
        self.wait_for_answer(&format!("{name}: {what}"), || self.display(name), expected)
    }

    /// Waits until a window of this app id is as expected.
    pub fn wait_for_window(
        &self,
        app_id: &str,
        what: &str,
        expected: impl Fn(&Window) -> bool,
    ) -> Result<Window> {
        let window = || {
            let windows = self.windows()?;
            let found = windows.into_iter().find(|window| window.app_id.as_deref() == Some(app_id));
            found.with_context(|| format!("no window of {app_id}"))
        };
        self.wait_for_answer(&format!("{app_id}: {what}"), window, expected)
    }

    /// Asks until the answer is as expected; the error shows the last answer.
    pub fn wait_for_answer<T: std::fmt::Debug>(
        &self,
        what: &str,
        ask: impl Fn() -> Result<T>,
        expected: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let mut last = None;
        let waited = self.machine.poll(what, &mut || {
            let answer = ask()?;
            let good = expected(&answer);
            last = Some(answer);
            Ok(good)
        });
        waited.with_context(|| format!("the last answer: {last:#?}"))?;
        last.context("an answer")
    }

    /// Subscribes to events. Those of everything that happens after the return are there.
    pub fn subscribe(&self) -> Result<Events<'_>> {
        let program = self.spawn_command(&["events", "--json"])?;
        let events = Events { machine: &self.machine as &dyn Host, program, read: Cell::new(0) };
        // The protocol's acknowledgment, the response of `subscribe`, is not in the CLI's output,
        // which has the events alone. Each command's own connection is an event, so the first event
        // that arrives ends the wait.
        self.machine.poll("the subscription", &mut || {
            self.command(&["status"])?;
            Ok(!events.all()?.is_empty())
        })?;
        // The last command's connection ends before later events.
        events
            .wait_for("the end of the command", |event| matches!(event, Event::ClientDisconnected { .. }))?;
        events.skip()?;
        Ok(events)
    }
}

/// A subscription to the service's events.
pub struct Events<'a> {
    machine: &'a dyn Host,
    pub program: Program,
    /// How many events [`Self::wait_for`] has passed.
    read: Cell<usize>,
}

impl Events<'_> {
    /// All events since the subscription.
    pub fn all(&self) -> Result<Vec<Event>> {
        let text = std::fs::read_to_string(&self.program.log)?;
        // The last line may still be written.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
        complete.lines().map(parse).collect()
    }

    /// Events after the one that the last [`Self::wait_for`] found.
    pub fn unread(&self) -> Result<Vec<Event>> {
        Ok(self.all()?.split_off(self.read.get()))
    }

    /// Passes everything that was reported up to now.
    pub fn skip(&self) -> Result<()> {
        self.read.set(self.all()?.len());
        Ok(())
    }

    /// Waits for the next event that is as expected, after the last one found.
    pub fn wait_for(&self, what: &str, expected: impl Fn(&Event) -> bool) -> Result<Event> {
        let mut found = None;
        let waited = self.machine.poll(&format!("the event: {what}"), &mut || {
            let unread = self.unread()?;
            if let Some(place) = unread.iter().position(&expected) {
                self.read.set(self.read.get() + place + 1);
                found = unread.into_iter().nth(place);
            }
            Ok(found.is_some())
        });
        waited.with_context(|| format!("events: {:#?}", self.unread()))?;
        found.context("an event")
    }

    /// Waits for the next event of a display that is as expected.
    pub fn wait_for_display(
        &self,
        name: &str,
        what: &str,
        expected: impl Fn(&Display) -> bool,
    ) -> Result<()> {
        let is_expected = |event: &Event| matches!(event, Event::Display { display } if display.name == name && expected(display));
        self.wait_for(&format!("{name}: {what}"), is_expected).map(drop)
    }

    /// Waits until the configuration was read and applied.
    pub fn wait_for_config_applied(&self) -> Result<()> {
        self.wait_for("the configuration is applied", |event| *event == Event::ConfigApplied).map(drop)
    }

    /// Waits for a configuration error whose message names everything in `named`: the file and
    /// line, the key.
    pub fn wait_for_config_error(&self, named: &[&str]) -> Result<()> {
        let is_expected = |event: &Event| match event {
            Event::ConfigError { message } => named.iter().all(|name| message.contains(name)),
            _ => false,
        };
        self.wait_for(&format!("a configuration error that names {named:?}"), is_expected).map(drop)
    }

    /// How many of all events are as expected.
    pub fn count(&self, expected: impl Fn(&Event) -> bool) -> Result<usize> {
        Ok(self.all()?.iter().filter(|event| expected(event)).count())
    }
}
