//! Whose wishes for monitors apply, and following that user's file.

use std::path::PathBuf;

use geom_ipc::Event as IpcEvent;
use smithay::reexports::calloop::RegistrationToken;
use tracing::{debug, info};

use crate::config::profile::{self, Profile};
use crate::config::watch::follow;
use crate::session::active;
use crate::state::{trouble, State};

/// The profile that applies.
#[derive(Default)]
pub struct ActiveProfile {
    pub user: String,
    pub file: PathBuf,
    pub wishes: Profile,
    watch: Option<RegistrationToken>,
    /// Of the seat's active session, where its user is the one whose profile applies.
    seat: Option<RegistrationToken>,
}

/// The user that this process runs as.
fn own_user() -> String {
    let name = uzers::get_current_username().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| rustix::process::geteuid().as_raw().to_string())
}

impl State {
    /// The user's profile that options or configuration name, or that of the seat's active session, or of this process.
    pub fn start_profile(&mut self) {
        let named = self.options.user.clone().or_else(|| self.config.user.clone());
        let seat = active::file();
        if named.is_none() {
            self.profile.seat = follow(&self.handle, &seat, Self::follow_seat).ok();
        }
        let user = named.or_else(|| active::user(&seat)).unwrap_or_else(own_user);
        if let Err(error) = self.use_profile(&user) {
            trouble!(self, "{error}");
        }
    }

    /// Another session may have the seat now.
    fn follow_seat(&mut self) {
        let Some(user) = active::user(&active::file()).filter(|user| *user != self.profile.user) else {
            return;
        };
        info!(user, "the seat's session is another user's");
        if self.use_profile(&user).is_ok() {
            self.reconfigure("user");
            self.place_windows();
            self.redraw_all();
        }
    }

    /// Another user's wishes apply from now on.
    ///
    /// # Errors
    /// In words, where that is no user's name.
    pub fn use_profile(&mut self, user: &str) -> Result<(), String> {
        let file = profile::file_of(&self.options.userdata, user).ok_or_else(|| {
            format!("{user:?} is no user's name: it must be a folder of {}", self.options.userdata.display())
        })?;
        if let Some(watch) = self.profile.watch.take() {
            self.handle.remove(watch);
        }
        // The last user's wishes are not this one's, whatever their file is like.
        let seat = self.profile.seat.take();
        self.profile = ActiveProfile { user: user.to_owned(), file, seat, ..ActiveProfile::default() };
        self.watch_profile();
        self.forget_changes();
        self.read_profile();
        Ok(())
    }

    fn watch_profile(&mut self) {
        let file = &self.profile.file;
        self.profile.watch = match follow(&self.handle, file, Self::reload_profile) {
            Ok(watch) => Some(watch),
            Err(error) => {
                debug!(file = %file.display(), %error, "changes of the profile are noticed by `profile apply` only");
                None
            }
        };
    }

    /// What of the file is sound applies; where it is no TOML at all, the last good one stays.
    fn read_profile(&mut self) {
        self.forget_profiles();
        let (wishes, problems) = profile::load(&self.profile.file);
        let prefix = self.profile.file.display().to_string();
        self.troubles.retire(|text| text.starts_with(&prefix));
        self.report(&problems);
        if let Some(wishes) = wishes {
            info!(
                user = self.profile.user,
                file = prefix,
                displays = wishes.displays.len(),
                layouts = wishes.layouts.len(),
                "profile applied"
            );
            self.profile.wishes = wishes;
            self.publish_event(&IpcEvent::ConfigApplied);
        }
    }

    /// The file changed, or somebody says so.
    pub fn reload_profile(&mut self) {
        self.read_profile();
        if self.profile.watch.is_none() {
            self.watch_profile();
        }
        self.forget_changes();
        self.reconfigure("profile");
        self.place_windows();
        self.redraw_all();
    }
}
