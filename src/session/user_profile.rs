//! The user whose profile applies, that user's file, and when it is read.
//!
//! Pure: what other components have to do about a change is returned as [`Effect`]s. The file is
//! read on a thread, because its owner chooses its file system, which may be slow or not answer at
//! all. The settings before apply meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use geom_display::profile::UserProfile;
use tracing::info;

use crate::config::profile::file_of;
use crate::config::Problem;

/// After this time, the profile of a file that could not be read yet counts as missing. It applies
/// when it is read after all.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of threads that read profiles. Each file is read by one at a time.
const MAX_READS: usize = 4;

/// What a change of the profile requires of other components.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Read and watch this file on a thread, and call [`ActiveProfile::read_ended`].
    Read(Read),
    /// Call [`ActiveProfile::overdue`] with this number after [`READ_TIMEOUT`].
    ArmTimeout { number: u64 },
    /// Replace the notices about this file by these problems.
    Report { file: PathBuf, problems: Vec<Problem> },
    /// Inform control clients that the profile applies.
    PublishApplied,
    /// Drop what control clients have set: it overrides the profile before.
    DiscardOverrides,
    /// Configure the outputs again, for this cause.
    Reconfigure(&'static str),
    /// Answer the requests that wait for the profile.
    Answer(Result<(), String>),
}

/// A file to read. The number identifies the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub number: u64,
    pub file: PathBuf,
}

/// The request whose result will apply.
#[derive(Debug)]
struct Pending {
    number: u64,
    /// It is for another user: the settings before end, even if the file is missing or invalid.
    is_other_user: bool,
    cause: &'static str,
}

/// The profile that applies.
#[derive(Debug, Default)]
pub struct ActiveProfile {
    pub user: String,
    pub file: PathBuf,
    pub settings: UserProfile,
    pending: Option<Pending>,
    last_number: u64,
    /// What threads read now.
    running: Vec<Read>,
}

impl ActiveProfile {
    /// Selects another user.
    ///
    /// # Errors
    /// A message, if the name cannot be a user's.
    pub fn select(
        &mut self,
        userdata: &Path,
        user: &str,
        cause: &'static str,
    ) -> Result<Vec<Effect>, String> {
        let file = file_of(userdata, user).ok_or_else(|| {
            format!("{user:?} is not a user name: it must be a folder of {}", userdata.display())
        })?;
        (self.user, self.file) = (user.to_owned(), file);
        Ok(self.request(true, cause))
    }

    /// Handles a change of the seat's active user.
    pub fn on_active_user(&mut self, userdata: &Path, user: &str) -> Vec<Effect> {
        if user == self.user {
            return Vec::new();
        }
        info!(user, "the active session of the seat is another user's");
        self.select(userdata, user, "user").unwrap_or_default()
    }

    /// Reads the file again, after it has changed or on request.
    pub fn reload(&mut self) -> Vec<Effect> {
        // A user whose file was not read yet stays another user.
        let is_other_user = self.pending.as_ref().is_some_and(|pending| pending.is_other_user);
        self.request(is_other_user, "profile")
    }

    fn request(&mut self, is_other_user: bool, cause: &'static str) -> Vec<Effect> {
        self.last_number += 1;
        let number = self.last_number;
        self.pending = Some(Pending { number, is_other_user, cause });
        let mut effects = vec![Effect::ArmTimeout { number }];
        effects.extend(self.start_pending());
        effects
    }

    /// Starts what is pending, if that runs not already and a thread is free for it.
    fn start_pending(&mut self) -> Option<Effect> {
        let number = self.pending.as_ref()?.number;
        let is_busy = self.running.len() >= MAX_READS
            || self.running.iter().any(|running| running.file == self.file || running.number == number);
        if is_busy {
            return None;
        }
        let read = Read { number, file: self.file.clone() };
        self.running.push(read.clone());
        Some(Effect::Read(read))
    }

    /// Returns whether the result of a read will apply: no newer one is requested.
    pub fn is_current(&self, number: u64) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.number == number)
    }

    /// A read has ended: valid settings apply. If the file is not TOML at all, the last good ones
    /// of the same user stay.
    pub fn read_ended(
        &mut self,
        number: u64,
        settings: Option<UserProfile>,
        problems: Vec<Problem>,
    ) -> Vec<Effect> {
        self.running.retain(|running| running.number != number);
        let Some(pending) = self.pending.take_if(|pending| pending.number == number) else {
            return self.start_pending().into_iter().collect();
        };
        let mut effects = vec![Effect::Report { file: self.file.clone(), problems }];
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
        } else if pending.is_other_user {
            self.settings = UserProfile::default();
        }
        effects.extend([
            Effect::DiscardOverrides,
            Effect::Reconfigure(pending.cause),
            Effect::Answer(Ok(())),
        ]);
        effects
    }

    /// A read takes longer than [`READ_TIMEOUT`].
    pub fn overdue(&mut self, number: u64) -> Vec<Effect> {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.number == number) else {
            return Vec::new();
        };
        let message = "its file system does not answer; it applies as soon as it can be read";
        let problems = vec![Problem::of_file(&self.file, message.to_owned())];
        let mut effects = vec![Effect::Report { file: self.file.clone(), problems }];
        if std::mem::take(&mut pending.is_other_user) {
            self.settings = UserProfile::default();
            effects.extend([Effect::DiscardOverrides, Effect::Reconfigure(pending.cause)]);
        }
        effects.push(Effect::Answer(Err(format!("{}: {message}", self.file.display()))));
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::profile::load;

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

    /// Returns the read that is to be started.
    fn started(effects: &[Effect]) -> Option<Read> {
        effects.iter().find_map(|effect| match effect {
            Effect::Read(read) => Some(read.clone()),
            _ => None,
        })
    }

    /// Reads as a thread does.
    fn finish(profile: &mut ActiveProfile, effects: &[Effect]) -> Vec<Effect> {
        let read = started(effects).expect("a read");
        let (settings, problems) = load(&read.file);
        profile.read_ended(read.number, settings, problems)
    }

    fn problems(effects: &[Effect]) -> usize {
        let count = |effect: &Effect| match effect {
            Effect::Report { problems, .. } => Some(problems.len()),
            _ => None,
        };
        effects.iter().find_map(count).unwrap_or_default()
    }

    #[test]
    fn selected_user_s_file_is_read() -> Result {
        let (folder, file) = userdata(SCALE)?;
        let mut profile = ActiveProfile::default();
        let effects = profile.select(folder.path(), "ann", "test").unwrap_or_default();
        let read = Read { number: 1, file: file.clone() };
        assert_eq!(effects, [Effect::ArmTimeout { number: 1 }, Effect::Read(read)]);
        let expected = [
            Effect::Report { file, problems: Vec::new() },
            Effect::PublishApplied,
            Effect::DiscardOverrides,
            Effect::Reconfigure("test"),
            Effect::Answer(Ok(())),
        ];
        assert_eq!(finish(&mut profile, &effects), expected);
        assert_eq!(profile.settings.outputs["DP-1"].scale, Some(2.0));
        assert_eq!(profile.overdue(1), [], "it was read in time");
        assert!(profile.select(folder.path(), "../ann", "test").is_err());
        assert_eq!(profile.user, "ann");
        Ok(())
    }

    #[test]
    fn only_another_active_user_changes_the_profile() -> Result {
        let (folder, _) = userdata(SCALE)?;
        let mut profile = ActiveProfile::default();
        let effects = profile.on_active_user(folder.path(), "ann");
        assert!(finish(&mut profile, &effects).contains(&Effect::Reconfigure("user")));
        assert_eq!(profile.on_active_user(folder.path(), "ann"), []);
        assert_eq!(profile.on_active_user(folder.path(), ".."), []);
        assert_eq!(profile.user, "ann");
        // A user without a file has no settings.
        let effects = profile.on_active_user(folder.path(), "bob");
        finish(&mut profile, &effects);
        assert_eq!(profile.settings, UserProfile::default());
        Ok(())
    }

    #[test]
    fn invalid_file_keeps_the_last_good_settings() -> Result {
        let (folder, file) = userdata(SCALE)?;
        let mut profile = ActiveProfile::default();
        let effects = profile.on_active_user(folder.path(), "ann");
        finish(&mut profile, &effects);
        std::fs::write(&file, "[displays\n")?;
        let effects = profile.reload();
        let effects = finish(&mut profile, &effects);
        assert_eq!(problems(&effects), 1);
        assert!(!effects.contains(&Effect::PublishApplied));
        assert_eq!(profile.settings.outputs["DP-1"].scale, Some(2.0));
        std::fs::write(&file, "[displays.DP-1]\nscale = \"big\"\ntransform = \"90\"\n")?;
        let effects = profile.reload();
        let effects = finish(&mut profile, &effects);
        assert_eq!(problems(&effects), 1);
        assert!(effects.contains(&Effect::PublishApplied));
        assert_eq!(profile.settings.outputs["DP-1"].scale, None);
        Ok(())
    }

    #[test]
    fn file_system_that_does_not_answer_delays_no_other_user() -> Result {
        let (folder, _) = userdata(SCALE)?;
        let mut profile = ActiveProfile::default();
        let hung = profile.on_active_user(folder.path(), "eve");
        let hung = started(&hung).expect("a read");
        assert_eq!(started(&profile.reload()), None, "one thread for a file");
        let effects = profile.on_active_user(folder.path(), "ann");
        finish(&mut profile, &effects);
        assert_eq!(profile.settings.outputs["DP-1"].scale, Some(2.0));
        assert_eq!(profile.read_ended(hung.number, Some(UserProfile::default()), Vec::new()), []);
        assert_eq!(profile.settings.outputs["DP-1"].scale, Some(2.0), "it is the other user's");
        Ok(())
    }

    #[test]
    fn overdue_profile_is_reported_and_applies_later() -> Result {
        let (folder, _) = userdata(SCALE)?;
        let mut profile = ActiveProfile::default();
        let effects = profile.on_active_user(folder.path(), "bob");
        finish(&mut profile, &effects);
        let effects = profile.on_active_user(folder.path(), "ann");
        let read = started(&effects).expect("a read");
        let late = profile.overdue(read.number);
        assert_eq!(problems(&late), 1);
        assert!(late.iter().any(|effect| matches!(effect, Effect::Answer(Err(_)))));
        let effects = finish(&mut profile, &effects);
        assert_eq!(problems(&effects), 0);
        assert_eq!(profile.settings.outputs["DP-1"].scale, Some(2.0));
        Ok(())
    }

    #[test]
    fn change_during_a_read_is_read_after_it_and_threads_are_few() {
        let mut profile = ActiveProfile::default();
        let folder = Path::new("/userdata");
        let first = started(&profile.on_active_user(folder, "ann")).expect("a read");
        assert_eq!(started(&profile.reload()), None);
        let next = started(&profile.read_ended(first.number, None, Vec::new())).expect("again");
        assert_eq!((next.number, &next.file), (2, &first.file));
        let started = (0..10).filter_map(|user| started(&profile.on_active_user(folder, &user.to_string())));
        assert_eq!(started.count(), MAX_READS - 1);
    }
}
