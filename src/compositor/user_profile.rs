//! Applies the user's profile: follows the active user and the file, and joins
//! [`ActiveProfile`](crate::session::user_profile::ActiveProfile) with the other components.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use geom_display::profile::UserProfile;
use geom_ipc::{Event as IpcEvent, Response};
use tracing::{debug, info, warn};

use super::deadline::Deadline;
use super::{notify_user, State};
use crate::config::profile::load;
use crate::config::watch::Watch;
use crate::config::Problem;
use crate::control::command::failed;
use crate::event_loop::background;
use crate::output::icc_files::{load_icc, IccResult};
use crate::session::user_profile::{Effect, Read, READ_TIMEOUT};
use crate::session::{active_user, users};

/// How long the start waits for the profile and for ICC profiles, so that the first modeset has
/// them. What is read later applies then: no file of a user delays the service's readiness by more
/// than this.
pub const START_TIMEOUT: Duration = Duration::from_millis(100);

/// From a change of a file to its reading: a program that writes again and again causes few
/// reconfigurations.
const RELOAD_DELAY: Duration = Duration::from_millis(200);

/// What a thread has read of a profile.
struct LoadedProfile {
    settings: Option<UserProfile>,
    problems: Vec<Problem>,
    /// The ICC profiles that the profile names.
    icc: HashMap<PathBuf, IccResult>,
    watch: io::Result<Watch>,
}

/// Reads a profile and its ICC profiles. Runs on a thread, where nothing may panic.
fn read(file: &Path) -> LoadedProfile {
    // Watched first: a change during the reading is noticed.
    let watch = Watch::new(file);
    let (settings, problems) = load(file);
    let paths = settings.iter().flat_map(UserProfile::icc_files);
    let icc = paths.map(|path| (path.to_owned(), load_icc(path))).collect();
    LoadedProfile { settings, problems, icc, watch }
}

impl State {
    /// Selects the user: the one that options or configuration name, or the user of the seat's
    /// active session, or the one that this process runs as. Waits for the profile, but not longer
    /// than [`START_TIMEOUT`].
    pub fn start_profile(&mut self) {
        let named = self.options.user.clone().or_else(|| self.config.user.clone());
        let user = named.or_else(|| self.follow_active_user()).or_else(users::own_name);
        let user = user.unwrap_or_else(|| rustix::process::geteuid().as_raw().to_string());
        match self.profile.select(&self.options.userdata, &user, "start") {
            Ok(effects) => self.apply_profile(effects, Some(START_TIMEOUT)),
            Err(error) => notify_user!(self, "{error}"),
        }
    }

    fn follow_active_user(&mut self) -> Option<String> {
        let followed = active_user::follow(&self.handle, |state: &mut Self, user| {
            let effects = state.profile.on_active_user(&state.options.userdata, &user);
            state.apply_profile(effects, None);
        });
        followed.unwrap_or_else(|error| {
            info!(%error, "the profile does not follow the seat's active session");
            None
        })
    }

    /// Selects a user's profile, which applies once it is read.
    ///
    /// # Errors
    /// A message, if the name cannot be a user's.
    pub fn use_profile(&mut self, user: &str) -> Result<(), String> {
        let effects = self.profile.select(&self.options.userdata, user, "another user's profile")?;
        self.apply_profile(effects, None);
        Ok(())
    }

    /// Reads the profile's file again: it has changed, or a control client requests it.
    pub fn reload_profile(&mut self) {
        self.reload_timers.profile = false;
        let effects = self.profile.reload();
        self.apply_profile(effects, None);
    }

    /// The profile's file has changed.
    fn profile_changed(&mut self) {
        if !std::mem::replace(&mut self.reload_timers.profile, true) {
            let at = self.now() + RELOAD_DELAY;
            self.timers.at(at, Deadline::ReloadProfile);
        }
    }

    /// The configuration file has changed.
    pub fn config_changed(&mut self) {
        if !std::mem::replace(&mut self.reload_timers.config, true) {
            let at = self.now() + RELOAD_DELAY;
            self.timers.at(at, Deadline::ReloadConfig);
        }
    }

    /// Watches the configuration file: again after each change, because another link may lead to
    /// it.
    pub fn watch_config(&mut self) {
        let Some(path) = &self.config_path else { return };
        match Watch::new(path).and_then(|watch| watch.listen(&self.handle, Self::config_changed)) {
            Ok(token) => {
                if let Some(before) = self.config_watch.replace(token) {
                    self.handle.remove(before);
                }
            }
            Err(error) => {
                let file = path.display();
                warn!(%file, %error, "changes of the configuration will not be noticed; `reload` reads it again");
            }
        }
    }

    /// The profile could not be read in time.
    pub fn profile_overdue(&mut self, number: u64) {
        let effects = self.profile.overdue(number);
        self.apply_profile(effects, None);
    }

    fn apply_profile(&mut self, effects: Vec<Effect>, wait: Option<Duration>) {
        for effect in effects {
            match effect {
                Effect::Read(read) => self.read_profile(read, wait),
                Effect::ArmTimeout { number } => {
                    let at = self.now() + READ_TIMEOUT;
                    self.timers.at(at, Deadline::ProfileOverdue { number });
                }
                Effect::Report { file, problems } => {
                    let prefix = file.display().to_string();
                    self.notices.dismiss(|text| text.starts_with(&prefix));
                    self.report(&problems);
                }
                Effect::PublishApplied => self.publish_event(&IpcEvent::ConfigApplied),
                Effect::DiscardOverrides => self.discard_requests(),
                Effect::Reconfigure(cause) => {
                    self.reconfigure(cause);
                    self.place_windows();
                    self.redraw_all();
                }
                Effect::Answer(result) => {
                    for (id, number) in self.control.profile_read() {
                        let result = result.clone().map(|()| Response::Done).map_err(failed);
                        self.reply(id, number, result);
                    }
                }
            }
        }
    }

    /// Reads a profile on a thread. `wait` is how long to wait for it here.
    fn read_profile(&mut self, Read { number, file }: Read, wait: Option<Duration>) {
        let work = {
            let file = file.clone();
            move || read(&file)
        };
        let done = move |state: &mut State, loaded| state.profile_read(number, loaded);
        match background::start(&self.handle, "profile", work, done) {
            Ok(pending) => {
                if let Some(loaded) = wait.and_then(|wait| pending.wait(wait)) {
                    self.profile_read(number, loaded);
                }
            }
            Err(error) => {
                let problems = vec![Problem::of_file(&file, format!("cannot be read: {error}"))];
                let effects = self.profile.read_ended(number, None, problems);
                self.apply_profile(effects, None);
            }
        }
    }

    fn profile_read(&mut self, number: u64, loaded: LoadedProfile) {
        let LoadedProfile { settings, problems, icc, watch } = loaded;
        if self.profile.is_current(number) {
            self.watch_profile(watch);
            if settings.is_some() {
                self.color.icc_files.set_profile_files(icc);
            }
        }
        let effects = self.profile.read_ended(number, settings, problems);
        self.apply_profile(effects, None);
    }

    /// Watches the profile's file in place of the one before.
    fn watch_profile(&mut self, watch: io::Result<Watch>) {
        if let Some(watch) = self.profile_watch.take() {
            self.handle.remove(watch);
        }
        match watch.and_then(|watch| watch.listen(&self.handle, Self::profile_changed)) {
            Ok(token) => self.profile_watch = Some(token),
            Err(error) => {
                let file = self.profile.file.display();
                debug!(%file, %error, "not watching the profile; `profile apply` reads it again");
            }
        }
    }
}
