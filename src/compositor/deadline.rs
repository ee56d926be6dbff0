//! What the service does at a set time: one enum, so that every timed action is listed here.

use std::path::PathBuf;
use std::time::Duration;

use geom_color::image_description::ImageDescription;
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_image_description_info_v1::WpImageDescriptionInfoV1;
use smithay::reexports::wayland_server::backend::GlobalId;

use super::State;
use crate::clients::{ClientId, Clients};
use crate::control::upgrade::FileVersion;
use crate::output::redraw::Event as RedrawEvent;
use crate::output::OutputId;
use crate::power::PowerDeadline;

/// A timed action.
#[derive(Debug)]
pub enum Deadline {
    /// An event of an output's redraw state machine is due.
    Redraw(OutputId, RedrawEvent),
    /// A virtual output has no hardware that reports when its frame is shown: it is shown at this
    /// time.
    VirtualVblank(OutputId, Duration),
    /// The kernel reported a page flip before the vblank: its frame counts as shown then.
    HeldFlip { id: OutputId, until: Duration, sequence: u64 },
    /// A commit has waited too long for its sync point.
    SyncPointOverdue(u64),
    /// Look for page flips that did not arrive in time.
    CheckPageflips,
    /// Blank or unblank outputs whose kernel driver was busy.
    ContinuePowerChanges,
    /// Run the output configuration again; the text is the cause, for the log.
    Reconfigure(&'static str),
    /// A window became or ceased to be fullscreen on an output whose VRR depends on it.
    FullscreenChanged,
    /// The night light changes its color temperature.
    NightLight,
    /// Replace the renderer of a GPU that was reset.
    ReplaceRenderer { gpu: u64, failures: u32 },
    /// A `wl_output` global was disabled at this time and may be destroyed once all clients know.
    GlobalDisabled { global: GlobalId, at: Duration },
    /// Check again whether all clients know of disabled globals.
    DestroyDisabledGlobals,
    /// Send an image description's information, whose last event destroys its object.
    SendImageDescription { information: WpImageDescriptionInfoV1, description: Box<ImageDescription> },
    /// Ask the seat again for GPUs of which we are not DRM master.
    RetryMaster { never_ours: Vec<u64> },
    /// Open a GPU whose device node could not be opened before.
    OpenGpu { id: u64, path: PathBuf, failures: u32 },
    /// Stop showing the frame of the previous DRM master.
    DropInheritedFrame(OutputId),
    /// Report to the service manager's watchdog.
    FeedWatchdog { interval: Duration },
    /// Read the user's profile again: its file has changed.
    ReloadProfile,
    /// Read the configuration again: its file has changed.
    ReloadConfig,
    /// The user's profile could not be read in time.
    ProfileOverdue { number: u64 },
    /// Write the metrics file.
    WriteMetrics,
    /// Remove display names that `identify` put on the screen.
    EndIdentification,
    /// A display's change was not confirmed in time.
    ConfirmationExpired { display: String },
    /// Replace the running program by a new version.
    ExecNewVersion { program: PathBuf, version: Option<FileVersion> },
    /// Accept clients from a listening socket again, of which too many were refused.
    ResumeListener(u64),
    /// Publish clients that connected a moment ago.
    AnnounceClients,
    /// The earliest heartbeat or disconnect deadline of all clients.
    ClientDeadlines,
    /// Look whether a client that got no input reads again.
    WithheldInput(ClientId),
    /// Read a client again that is paused because its requests have taken more than its share.
    ResumeClient(ClientId),
    /// Handle the requests of control clients that wait for their turn.
    ControlTurns,
    /// Start control requests that wait for a thread.
    StartJobs,
    /// Return freed memory to the system after many clients disconnected.
    TrimMemory,
    /// Probe connectors again that have a monitor but no mode.
    ProbeLateModes,
    /// Take the seat again, which was lost.
    RetakeSeat { failures: u32 },
    /// Start programs without the driver that they wait for.
    HeldStart,
    /// Nothing was touched for a long time in a calibration.
    CalibrationOverdue,
    /// Hide the cursor if it has not been used meanwhile.
    HideCursor,
    /// Send frame callbacks to surfaces that no output shows.
    HiddenFrames,
    /// A finger may have rested long enough for a right click.
    LongPress,
    /// A timed action of the power component.
    Power(PowerDeadline),
}

impl State {
    /// Runs all deadlines that are due at the time of this iteration, except those that are queued
    /// meanwhile: one that queues itself again for now would run again at once, without end.
    pub fn run_timers(&mut self) {
        let (now, newest) = (self.iteration_start(), self.timers.newest());
        while let Some(deadline) = self.timers.pop(now, newest) {
            self.on_deadline(deadline);
        }
    }

    fn on_deadline(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::Redraw(id, event) => {
                if let Some(scanout) = self.outputs.scanout_mut(id) {
                    scanout.take_timer();
                }
                self.redraw_event(id, event);
            }
            Deadline::VirtualVblank(id, at) => self.virtual_vblank(id, at),
            Deadline::HeldFlip { id, until, sequence } => self.held_flip_due(id, until, sequence),
            Deadline::SyncPointOverdue(id) => self.sync_point_overdue(id),
            Deadline::CheckPageflips => self.check_pageflips(),
            Deadline::ContinuePowerChanges => self.power_retry_due(),
            Deadline::Reconfigure(cause) => self.reconfigure(cause),
            Deadline::FullscreenChanged => self.fullscreen_changed(),
            Deadline::NightLight => self.night_light_changed(),
            Deadline::ReplaceRenderer { gpu, failures } => self.replace_renderer(gpu, failures),
            Deadline::GlobalDisabled { global, at } => {
                self.protocols.disabled_globals.globals.push((global, at));
                self.destroy_disabled_globals();
            }
            Deadline::DestroyDisabledGlobals => {
                self.protocols.disabled_globals.is_check_armed = false;
                self.destroy_disabled_globals();
            }
            Deadline::SendImageDescription { information, description } => {
                super::handlers::send_image_description(&information, &description);
            }
            Deadline::RetryMaster { never_ours } => {
                // The seat asks for master when it opens a device, and not again as long as its VT
                // is shown.
                self.reopen(&never_ours);
                self.reconfigure("not master before");
            }
            Deadline::OpenGpu { id, path, failures } => self.open_gpu(id, path, failures),
            Deadline::DropInheritedFrame(id) => {
                let output = self.outputs.get_mut(id);
                if output.is_some_and(|output| output.own_content.drop_inherited_frame()) {
                    self.queue_redraw(id);
                }
            }
            Deadline::FeedWatchdog { interval } => self.feed_watchdog(interval),
            Deadline::ReloadProfile => self.reload_profile(),
            Deadline::ReloadConfig => self.reload(),
            Deadline::ProfileOverdue { number } => self.profile_overdue(number),
            Deadline::WriteMetrics => self.write_metrics(),
            Deadline::EndIdentification => self.end_identification(),
            Deadline::ConfirmationExpired { display } => self.confirmation_expired(&display),
            Deadline::ExecNewVersion { program, version } => self.exec_new_version(&program, version),
            Deadline::ResumeListener(index) => self.resume_listener(index),
            Deadline::AnnounceClients => self.run_clients(Clients::announcement_due),
            Deadline::ClientDeadlines => self.client_deadlines_due(),
            Deadline::WithheldInput(id) => {
                self.run_clients(|clients, cx| clients.withheld_input_due(id, cx));
            }
            Deadline::ResumeClient(id) => self.run_clients(|clients, cx| clients.resume_due(id, cx)),
            Deadline::ControlTurns => self.take_control_turns(),
            Deadline::StartJobs => self.start_jobs(),
            Deadline::TrimMemory => self.clients.trim_memory(),
            Deadline::ProbeLateModes => self.probe_late_modes(),
            Deadline::RetakeSeat { failures } => self.retake_seat(failures),
            Deadline::HeldStart => self.release_start(),
            Deadline::CalibrationOverdue => self.calibration_overdue(),
            Deadline::HideCursor => self.hide_cursor_due(),
            Deadline::HiddenFrames => self.send_hidden_frames(),
            Deadline::LongPress => self.long_press_due(),
            Deadline::Power(deadline) => self.on_power_deadline(deadline),
        }
    }
}
