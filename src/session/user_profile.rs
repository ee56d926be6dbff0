//! The user whose profile applies, that user's file, and when it is read.
//!
//! Pure except for reading the file: what other components have to do about a change is returned as
//! [`Effect`]s.

use std::path::{Path, PathBuf};

use geom_display::profile::UserProfile;
use tracing::info;

use crate::config::profile::{file_of, load};
use crate::config::Problem;

/// What a change of the profile requires of other components.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Watch this file, and no longer the previous one.
    Watch(PathBuf),
    /// Read ICC profiles again when they are needed: their files may have changed too.
    DropIccProfiles,
    /// Replace the notices about this file by these problems.
    Report { file: PathBuf, problems: Vec<Problem> },
    /// Inform control clients that the profile applies.
    PublishApplied,
    /// Drop what control clients have set: it overrides the profile before.
    DiscardOverrides,
    /// Configure the outputs again, for this cause.
    Reconfigure(&'static str),
}

/// The profile that applies.
#[derive(Debug, Default)]
pub struct ActiveProfile {
    pub user: String,
    pub file: PathBuf,
    pub settings: UserProfile,
}

impl ActiveProfile {
    /// Selects another user. The settings of the previous user end, even if the new user's file is
    /// missing or invalid.
    ///
    /// # Errors
    /// A message, if the name cannot be a user's.
    pub fn select(&mut self, userdata: &Path, user: &str) -> Result<Vec<Effect>, String> {
        let file = file_of(userdata, user).ok_or_else(|| {
            format!("{user:?} is not a user name: it must be a folder of {}", userdata.display())
        })?;
        *self = Self { user: user.to_owned(), file, settings: UserProfile::default() };
        let mut effects = vec![Effect::Watch(self.file.clone()), Effect::DiscardOverrides];
        effects.extend(self.read());
        Ok(effects)
    }

    /// Handles a change of the seat's active user.
    pub fn on_active_user(&mut self, userdata: &Path, user: &str) -> Vec<Effect> {
        if user == self.user {
            return Vec::new();
        }
        info!(user, "the active session of the seat is another user's");
        let mut effects = self.select(userdata, user).unwrap_or_default();
        if !effects.is_empty() {
            effects.push(Effect::Reconfigure("user"));
        }
        effects
    }

    /// Reads the file again, after it has changed or on request.
    pub fn reload(&mut self) -> Vec<Effect> {
        let mut effects = self.read();
        // The folder may not have been there before.
        effects.push(Effect::Watch(self.file.clone()));
        effects.push(Effect::DiscardOverrides);
        effects.push(Effect::Reconfigure("profile"));
        effects
    }

    /// Reads the file: valid settings apply. If it is not TOML at all, the last good ones stay.
    fn read(&mut self) -> Vec<Effect> {
        let (settings, problems) = load(&self.file);
        let report = Effect::Report { file: self.file.clone(), problems };
        let mut effects = vec![Effect::DropIccProfiles, report];
        if let Some(settings) = settings {
            info!(
                user = self.user,
                file = %self.file.display(),
                displays = settings.outputs.len(),
                layouts = settings.layouts.len(),
                "profile applied"
            );
            self.settings = settings;
            effects.push(Effect::PublishApplied);
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Result = std::io::Result<()>;

    /// A folder with the profile of `ann`.
    fn userdata(text: &str) -> std::io::Result<(tempfile::TempDir, PathBuf)> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("ann"))?;
        let file = folder.path().join("ann/displays.toml");
        std::fs::write(&file, text)?;
        Ok((folder, file))
    }

    const SCALE: &str = "[displays.DP-1]\nscale = 2\n";

    fn problems(effects: &[Effect]) -> usize {
        let count = |effect: &Effect| match effect {
            Effect::Report { problems, .. } => Some(problems.len()),
            _ => None,
        };
        effects.iter().find_map(count).unwrap_or_default()
    }

    #[test]
    fn selected_user_s_file_is_read_and_watched() -> Result {
        let (folder, file) = userdata(SCALE)?;
        let mut profile = ActiveProfile::default();
        let effects = profile.select(folder.path(), "ann").unwrap_or_default();
        let report = Effect::Report { file: file.clone(), problems: Vec::new() };
        let expected = [
            Effect::Watch(file),
            Effect::DiscardOverrides,
            Effect::DropIccProfiles,
            report,
            Effect::PublishApplied,
        ];
        assert_eq!(effects, expected);
        assert_eq!(profile.settings.outputs["DP-1"].scale, Some(2.0));
        assert!(profile.select(folder.path(), "../ann").is_err());
        assert_eq!(profile.user, "ann");
        Ok(())
    }

    #[test]
    fn only_another_active_user_changes_the_profile() -> Result {
        let (folder, _) = userdata(SCALE)?;
        let mut profile = ActiveProfile::default();
        let effects = profile.on_active_user(folder.path(), "ann");
        assert_eq!(effects.last(), Some(&Effect::Reconfigure("user")));
        assert_eq!(profile.on_active_user(folder.path(), "ann"), []);
        assert_eq!(profile.on_active_user(folder.path(), ".."), []);
        assert_eq!(profile.user, "ann");
        // A user without a file has no settings.
        assert!(!profile.on_active_user(folder.path(), "bob").is_empty());
        assert_eq!(profile.settings, UserProfile::default());
        Ok(())
    }

    #[test]
    fn invalid_file_keeps_the_last_good_settings() -> Result {
        let (folder, file) = userdata(SCALE)?;
        let mut profile = ActiveProfile::default();
        profile.on_active_user(folder.path(), "ann");
        std::fs::write(&file, "[displays\n")?;
        let effects = profile.reload();
        assert_eq!(problems(&effects), 1);
        assert!(!effects.contains(&Effect::PublishApplied));
        assert_eq!(profile.settings.outputs["DP-1"].scale, Some(2.0));
        std::fs::write(&file, "[displays.DP-1]\nscale = \"big\"\ntransform = \"90\"\n")?;
        let effects = profile.reload();
        assert_eq!(problems(&effects), 1);
        assert!(effects.contains(&Effect::PublishApplied));
        assert!(effects.ends_with(&[Effect::DiscardOverrides, Effect::Reconfigure("profile")]));
        assert_eq!(profile.settings.outputs["DP-1"].scale, None);
        Ok(())
    }
}
