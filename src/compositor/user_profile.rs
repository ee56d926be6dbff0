//! Applies the user's profile: follows the active user and the file, and joins
//! [`ActiveProfile`](crate::session::user_profile::ActiveProfile) with the other components.

use std::path::PathBuf;

use geom_ipc::Event as IpcEvent;
use smithay::reexports::calloop::RegistrationToken;
use tracing::{debug, info};

use super::{notify_user, State};
use crate::config::watch::watch_file;
use crate::session::user_profile::Effect;
use crate::session::{active_user, users};

/// The watch on the profile's file.
#[derive(Debug)]
pub struct ProfileWatch {
    file: PathBuf,
    token: RegistrationToken,
}

impl State {
    /// Selects the user: the one that options or configuration name, or the user of the seat's
    /// active session, or the one that this process runs as.
    pub fn start_profile(&mut self) {
        let named = self.options.user.clone().or_else(|| self.config.user.clone());
        let user = named.or_else(|| self.follow_active_user()).or_else(users::own_name);
        let user = user.unwrap_or_else(|| rustix::process::geteuid().as_raw().to_string());
        if let Err(error) = self.use_profile(&user) {
            notify_user!(self, "{error}");
        }
    }

    fn follow_active_user(&mut self) -> Option<String> {
        let followed = active_user::follow(&self.handle, |state: &mut Self, user| {
            let effects = state.profile.on_active_user(&state.options.userdata, &user);
            state.apply_profile(effects);
        });
        followed.unwrap_or_else(|error| {
            info!(%error, "the profile does not follow the seat's active session");
            None
        })
    }

    /// Selects a user's profile. The caller reconfigures the outputs.
    ///
    /// # Errors
    /// A message, if the name cannot be a user's.
    pub fn use_profile(&mut self, user: &str) -> Result<(), String> {
        let effects = self.profile.select(&self.options.userdata, user)?;
        self.apply_profile(effects);
        Ok(())
    }

    /// Reads the profile's file again: it has changed, or a control client requests it.
    pub fn reload_profile(&mut self) {
        let effects = self.profile.reload();
        self.apply_profile(effects);
    }

    fn apply_profile(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Watch(file) => self.watch_profile(file),
                Effect::DropIccProfiles => self.color.forget_profiles(),
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
            }
        }
    }

    /// Watches the file, unless it is watched already.
    fn watch_profile(&mut self, file: PathBuf) {
        if self.profile_watch.as_ref().is_some_and(|watch| watch.file == file) {
            return;
        }
        if let Some(watch) = self.profile_watch.take() {
            self.handle.remove(watch.token);
        }
        match watch_file(&self.handle, &file, Self::reload_profile) {
            Ok(token) => self.profile_watch = Some(ProfileWatch { file, token }),
            Err(error) => {
                debug!(file = %file.display(), %error, "not watching the profile; `profile apply` reads it again");
            }
        }
    }
}
