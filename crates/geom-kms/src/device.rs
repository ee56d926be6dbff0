//! One device: what it has, what is committed to it, and the commits that change that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drm::control::{connector, Mode as KmsMode};
use drm::DriverCapability;
use geom_display::connector_override::ConnectorOverrides;
use geom_display::fallback::Choice;
use geom_display::mode::Mode;
use geom_display::plan;
use geom_display::signal_format::SignalFormat;
use rustix::io::Errno;
use tracing::{debug, info, warn};

use crate::calls::{ClientCapability, PageFlip};
use crate::color_luts::OutputColor;
use crate::commit::{self, CrtcSetup, CursorPlane, Frame};
use crate::discovery::bus_path;
use crate::drm_fd::{Blob, DrmFd};
use crate::framebuffer::Framebuffer;
use crate::lease::Lease;
use crate::legacy;
use crate::modes::{from_modeline, same_timing};
use crate::objects::{Connector, Objects, Plane, Probe};
use crate::open_error::OpenError;
use crate::quirks::{self, Quirks};

/// Cursor size in pixels of drivers that do not say theirs.
const DEFAULT_CURSOR_SIZE: u64 = 64;

/// How often in a row a failed link is trained again. Some drivers report each failure by a hotplug
/// event, and would be asked without end.
const MAX_LINK_RETRIES: u32 = 3;

/// What is committed to one CRTC.
#[derive(Debug, Clone)]
pub struct CrtcState {
    /// The name of the output, which is that of its connector.
    pub output: String,
    /// What was committed.
    pub setup: CrtcSetup,
    /// Whether the refresh rate is to be variable. If that is not what was committed, the next
    /// frame brings it.
    pub vrr: bool,
    /// The mode, as the plan has it.
    pub mode: Mode,
    /// The framebuffer of the primary plane, kept while the CRTC may scan it out.
    pub framebuffer: Arc<Framebuffer>,
}

impl CrtcState {
    /// Returns what the search chose.
    pub fn choice(&self) -> Choice {
        let signal = SignalFormat { vrr: self.vrr, ..self.setup.signal };
        Choice { mode: self.mode, signal, layout: self.setup.layout }
    }
}

/// An open device that can enable outputs.
pub struct Device {
    pub(crate) fd: DrmFd,
    id: u64,
    pub(crate) path: PathBuf,
    bus_path: String,
    driver: String,
    pub(crate) quirks: Quirks,
    pub(crate) is_atomic: bool,
    cursor_size: (u32, u32),
    pub(crate) objects: Objects,
    /// By index of the CRTC.
    pub(crate) crtc_states: BTreeMap<usize, CrtcState>,
    /// The kernel's state is `crtc_states`. False at first, and after another program may have been
    /// DRM master: the next commit sets everything then, and disables what that program left
    /// enabled.
    pub(crate) state_is_ours: bool,
    /// What is known of the cursors of CRTCs, if the driver is not atomic.
    pub(crate) legacy_cursors: HashMap<usize, CursorPlane>,
    never_committed: bool,
    /// `max bpc` of connectors that were enabled when the device was opened, while their monitor
    /// stays connected.
    inherited_depths: HashMap<connector::Handle, u8>,
    /// CRTCs whose next commit is a modeset.
    forced_modesets: BTreeSet<usize>,
    /// CRTCs that refused a frame because it switched VRR.
    pub(crate) refused_vrr_switches: BTreeSet<usize>,
    /// How often in a row a probe found the link of a connected monitor failed.
    link_retries: HashMap<connector::Handle, u32>,
    not_master: bool,
    pub(crate) leases: Vec<Lease>,
    /// Outputs that are blanked.
    pub(crate) blanked: BTreeSet<String>,
    /// The first choices of the requests that were committed last, by output.
    pub(crate) committed_requests: HashMap<String, (Mode, SignalFormat)>,
    /// Modes that failed although their test passed, or that could not be tested.
    pub(crate) refused_modes: Vec<(String, Mode, SignalFormat)>,
    /// By output.
    pub(crate) color: HashMap<String, OutputColor>,
}

impl Device {
    /// Reads what a device has. `fd` is DRM master, `id` its device number (`st_rdev`).
    ///
    /// Without `allow_atomic`, legacy calls are used even if the driver is atomic.
    ///
    /// # Errors
    ///
    /// If the device has no KMS or no CRTC, or the kernel refuses to tell.
    pub fn open(fd: DrmFd, path: &Path, id: u64, allow_atomic: bool) -> Result<Self, OpenError> {
        // drm_setclientcap() of a driver without DRIVER_MODESET.
        let without_kms = Errno::OPNOTSUPP.raw_os_error();
        match fd.enable(ClientCapability::UniversalPlanes) {
            Err(error) if error.raw_os_error() == Some(without_kms) => {
                return Err(OpenError::WithoutKms(path.to_owned()));
            }
            enabled => enabled.and_then(|()| Self::read(fd, path, id, allow_atomic)),
        }
        .map_err(|source| OpenError::Failed { path: path.to_owned(), source })
        .and_then(|device| match device.objects.crtcs.is_empty() {
            true => Err(OpenError::WithoutKms(path.to_owned())),
            false => Ok(device),
        })
    }

    fn read(fd: DrmFd, path: &Path, id: u64, allow_atomic: bool) -> io::Result<Self> {
        let is_atomic = allow_atomic && fd.enable(ClientCapability::Atomic).is_ok();
        if is_atomic {
            if let Err(error) = fd.enable(ClientCapability::PlaneColorPipeline) {
                debug!(%error, "the kernel has no color pipelines of planes");
            }
            // Only drivers of virtual GPUs have it.
            let _ = fd.enable(ClientCapability::CursorPlaneHotspot);
        }
        let driver = fd.driver_name()?;
        let quirks = quirks::of(&driver);
        let objects = Objects::read(&fd, is_atomic, quirks)?;
        let enabled = objects.connectors.iter().filter(|connector| connector.current_crtc.is_some());
        let inherited_depths =
            enabled.filter_map(|connector| Some((connector.handle, connector.props.bit_depth?))).collect();
        let size = |which| {
            let size = fd.capability(which).ok().filter(|size| *size > 0).unwrap_or(DEFAULT_CURSOR_SIZE);
            size as u32
        };
        let cursor_size = (size(DriverCapability::CursorWidth), size(DriverCapability::CursorHeight));
        info!(
            gpu = %path.display(), driver, atomic = is_atomic, crtcs = objects.crtcs.len(),
            connectors = objects.connectors.len(), "GPU opened"
        );
        Ok(Self {
            id,
            path: path.to_owned(),
            bus_path: bus_path(id),
            quirks,
            driver,
            fd,
            is_atomic,
            cursor_size,
            objects,
            crtc_states: BTreeMap::new(),
            state_is_ours: false,
            legacy_cursors: HashMap::new(),
            never_committed: true,
            inherited_depths,
            forced_modesets: BTreeSet::new(),
            refused_vrr_switches: BTreeSet::new(),
            link_retries: HashMap::new(),
            not_master: false,
            leases: Vec::new(),
            blanked: BTreeSet::new(),
            committed_requests: HashMap::new(),
            refused_modes: Vec::new(),
            color: HashMap::new(),
        })
    }

    /// Returns the device number (`st_rdev`).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the path of the device node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name of the driver.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Returns what is special about the driver.
    pub fn quirks(&self) -> Quirks {
        self.quirks
    }

    /// Returns the descriptor.
    pub fn fd(&self) -> &DrmFd {
        &self.fd
    }

    /// Returns whether commits are atomic.
    pub fn is_atomic(&self) -> bool {
        self.is_atomic
    }

    /// Returns width and height in pixels of the largest cursor.
    pub fn cursor_size(&self) -> (u32, u32) {
        self.cursor_size
    }

    /// Returns the connectors, as the last probe found them.
    pub fn connectors(&self) -> &[Connector] {
        &self.objects.connectors
    }

    /// Returns the connector with this name.
    pub fn connector(&self, name: &str) -> Option<&Connector> {
        self.objects.connector(name)
    }

    /// Returns the primary plane of a CRTC.
    pub fn primary_plane(&self, crtc: usize) -> Option<&Plane> {
        self.objects.primary_plane(crtc)
    }

    /// Returns whether a CRTC may have a hardware cursor. Drivers that are not atomic refuse the
    /// first image if they have none.
    pub fn has_hardware_cursor(&self, crtc: usize) -> bool {
        match self.is_atomic {
            true => self.objects.cursor_plane(crtc).is_some(),
            false => crtc < self.objects.crtcs.len(),
        }
    }

    /// Returns the primary planes of all CRTCs that have one.
    pub fn primary_planes(&self) -> Vec<&Plane> {
        (0..self.objects.crtcs.len()).filter_map(|crtc| self.primary_plane(crtc)).collect()
    }

    /// Returns whether a CRTC's frames may have a fence.
    pub fn takes_fences(&self, crtc: usize) -> bool {
        let ids = self.primary_plane(crtc).and_then(|plane| plane.ids);
        ids.is_some_and(|ids| ids.in_fence_fd.is_some())
    }

    /// Returns what is connected, for the plan; connectors of which the driver cannot tell count as
    /// disconnected. `renderer_converts` says whether the renderer can
    /// convert to other color spaces than sRGB.
    pub fn probed(&self, renderer_converts: bool) -> plan::ProbedGpu {
        let converts = renderer_converts || self.can_convert();
        let connectors = self.objects.connectors.iter().map(|connector| {
            let mut state = connector.state.clone();
            state.capabilities.converts = converts;
            state.capabilities.inherited_depth = self.inherited_depths.get(&connector.handle).copied();
            state.port = Some(format!("{}/{}", self.bus_path, self.objects.port(connector)));
            state
        });
        plan::ProbedGpu { id: self.id, connectors: connectors.collect() }
    }

    /// Probes connectors. Modes that they refused may be tried again, as the monitor may be another
    /// one. CRTCs whose link has failed get a modeset with the next commit.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: the device is gone.
    pub fn probe(&mut self, probe: &Probe) -> io::Result<()> {
        let missing = |connector: &&Connector| connector.state.connected && !connector.is_found;
        let missing: Vec<_> =
            self.objects.connectors.iter().filter(missing).map(|connector| connector.handle).collect();
        self.objects.probe(&self.fd, self.is_atomic, probe)?;
        let connectors = &self.objects.connectors;
        // The plan does not change if a monitor comes back to a connector that is forced. Drivers
        // that train a link do so with a modeset.
        let is_back = |connector: &&Connector| connector.is_found && missing.contains(&connector.handle);
        for connector in connectors.iter().filter(is_back) {
            let on = self.crtc_states.iter().find(|(_, state)| state.setup.connector == connector.handle);
            self.forced_modesets.extend(on.map(|(crtc, _)| *crtc));
        }
        let was_probed = |name: &str| {
            let mut connectors = connectors.iter();
            connectors.find(|known| known.state.name == name).is_none_or(|known| probe.includes(known.handle))
        };
        self.refused_modes.retain(|(name, ..)| !was_probed(name));
        let is_connected = |handle: &connector::Handle| {
            let may_be_connected = |connector: &Connector| connector.state.connected || connector.is_unknown;
            connectors.iter().any(|connector| connector.handle == *handle && may_be_connected(connector))
        };
        self.inherited_depths.retain(|handle, _| is_connected(handle));
        for (crtc, state) in &self.crtc_states {
            let handle = state.setup.connector;
            let connected = |connector: &&Connector| connector.handle == handle && connector.state.connected;
            let Some(connector) = connectors.iter().find(connected) else {
                self.link_retries.remove(&handle);
                continue;
            };
            if !connector.props.is_link_bad() {
                self.link_retries.remove(&handle);
                continue;
            }
            let retries = self.link_retries.entry(handle).or_default();
            *retries += 1;
            if *retries <= MAX_LINK_RETRIES {
                warn!(display = state.output, "the link to the monitor failed; setting the mode again");
                self.forced_modesets.insert(*crtc);
            } else if *retries == MAX_LINK_RETRIES + 1 {
                warn!(
                    display = state.output,
                    "the link to the monitor fails again and again; check the connection, or choose a lower mode"
                );
            }
        }
        Ok(())
    }

    /// Uses other values for connectors than those that the kernel reports, in place of the ones
    /// before. Returns whether they differ: then all connectors have to be probed.
    pub fn set_overrides(&mut self, overrides: &ConnectorOverrides) -> bool {
        let differ = self.objects.overrides != *overrides;
        if differ {
            self.objects.overrides.clone_from(overrides);
        }
        differ
    }

    /// Returns the kernel's timing of one of an output's modes, or of a configured modeline.
    pub fn kms_mode(&self, output: &str, mode: &Mode) -> Option<KmsMode> {
        match &mode.modeline {
            Some(line) => Some(from_modeline(line)),
            None => self.connector(output)?.modes.get(mode.index).copied(),
        }
    }

    /// Returns the states of the enabled CRTCs.
    pub fn crtc_states(&self) -> impl Iterator<Item = &CrtcState> {
        self.crtc_states.values()
    }

    /// Returns whether an output is enabled on this device.
    pub fn is_enabled(&self, output: &str) -> bool {
        self.crtc_of(output).is_some()
    }

    /// Returns the CRTC that an output is enabled on.
    pub fn crtc_of(&self, output: &str) -> Option<usize> {
        self.crtc_states.iter().find(|(_, state)| state.output == output).map(|(crtc, _)| *crtc)
    }

    /// Returns the framebuffer that a CRTC's primary plane scans out.
    pub fn framebuffer(&self, crtc: usize) -> Option<&Arc<Framebuffer>> {
        self.crtc_states.get(&crtc).map(|state| &state.framebuffer)
    }

    /// Returns whether nothing was committed yet: the CRTCs show what the previous DRM master left.
    pub fn never_committed(&self) -> bool {
        self.never_committed
    }

    /// Another program may have been DRM master: the next commit sets everything.
    pub fn invalidate_state(&mut self) {
        self.state_is_ours = false;
        self.legacy_cursors.clear();
    }

    /// Returns whether the kernel has refused a commit since the last call because we are not DRM
    /// master: another program is, or the seat has not given the device back yet.
    pub fn take_not_master(&mut self) -> bool {
        std::mem::take(&mut self.not_master)
    }

    /// Returns whether the last commit or test commit was refused because we are not DRM master.
    pub fn is_not_master(&self) -> bool {
        self.not_master
    }

    pub(crate) fn note_result(&mut self, result: &io::Result<()>) {
        self.not_master |=
            result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    }

    /// Returns the state to commit for an output that gets a modeset, with its first framebuffer.
    pub fn crtc_state(
        &self,
        output: &str,
        crtc: usize,
        choice: &Choice,
        framebuffer: Arc<Framebuffer>,
    ) -> Option<CrtcState> {
        let Choice { mode, signal, layout } = *choice;
        let setup = CrtcSetup {
            crtc,
            connector: self.connector(output)?.handle,
            mode: self.kms_mode(output, &mode)?,
            active: !self.is_blanked(output),
            signal,
            color: self.color_of(output),
            framebuffer: framebuffer.handle(),
            layout,
        };
        Some(CrtcState { output: output.to_owned(), setup, vrr: signal.vrr, mode, framebuffer })
    }

    /// Returns the state to commit for an output that its CRTC shows with this mode, signal format
    /// and layout already, or will with its next frame; `None` if it needs a modeset, or one was
    /// forced.
    pub fn unchanged_state(&self, output: &str, crtc: usize, choice: &Choice) -> Option<CrtcState> {
        let is_ours = self.state_is_ours && !self.forced_modesets.contains(&crtc);
        let state = self.crtc_states.get(&crtc).filter(|state| is_ours && state.output == output)?;
        let Choice { mode, signal, layout } = *choice;
        let timing = self.kms_mode(output, &mode)?;
        let committed = state.setup.signal;
        let is_same = same_timing(&timing, &state.setup.mode)
            && SignalFormat { vrr: signal.vrr, ..committed } == signal
            && state.setup.layout == layout;
        let follows = is_same && (committed.vrr == signal.vrr || self.can_switch_vrr(crtc, signal.vrr));
        follows.then(|| CrtcState { mode, vrr: signal.vrr, ..state.clone() })
    }

    /// Returns the CRTCs that already have what `setups` ask for, and those that are leased.
    pub(crate) fn unchanged(&self, setups: &[CrtcSetup]) -> Vec<usize> {
        let is_unchanged = |crtc: &usize| {
            if self.is_leased(*crtc) || !self.state_is_ours {
                return self.is_leased(*crtc);
            }
            if self.forced_modesets.contains(crtc) {
                return false;
            }
            let wanted = setups.iter().find(|setup| setup.crtc == *crtc);
            match (wanted, self.crtc_states.get(crtc)) {
                (None, None) => true,
                (Some(setup), Some(state)) => {
                    setup.connector == state.setup.connector
                        && setup.signal == state.setup.signal
                        && setup.active == state.setup.active
                        && setup.layout == state.setup.layout
                        && same_timing(&setup.mode, &state.setup.mode)
                }
                _ => false,
            }
        };
        (0..self.objects.crtcs.len()).filter(is_unchanged).collect()
    }

    /// Enables `states` and disables everything else. CRTCs that have what is asked for are left
    /// out of the commit, and keep the framebuffer of their last frame.
    ///
    /// Buffers of CRTCs that this disables are kept until [`Device::drop_unused`].
    ///
    /// # Errors
    ///
    /// Returns the kernel's error. What is known of the CRTCs stays as it was. The next commit sets
    /// all of them if legacy calls may have succeeded for some, or another program is DRM master.
    pub fn commit(&mut self, states: Vec<CrtcState>) -> io::Result<()> {
        let setups: Vec<CrtcSetup> = states.iter().map(|state| state.setup.clone()).collect();
        let unchanged = self.unchanged(&setups);
        if unchanged.len() < self.objects.crtcs.len() {
            let result = match self.is_atomic {
                true => commit::modeset(&self.fd, &self.objects, &setups, &unchanged, false),
                false => legacy::modeset(&self.fd, &self.objects, &setups, &unchanged, &self.setups()),
            };
            self.note_result(&result);
            if result.is_err() {
                self.state_is_ours &= self.is_atomic && !self.not_master;
            }
            result?;
            self.modes_were_set(&unchanged, &states);
        }
        for state in states {
            let crtc = state.setup.crtc;
            match self.crtc_states.get_mut(&crtc).filter(|_| unchanged.contains(&crtc)) {
                Some(known) => {
                    (known.output, known.mode, known.vrr) = (state.output, state.mode, state.vrr);
                }
                None => {
                    self.crtc_states.insert(crtc, state);
                }
            }
        }
        self.state_is_ours = true;
        self.never_committed = false;
        self.forced_modesets.clear();
        Ok(())
    }

    /// Sets what is not part of a modeset request.
    fn modes_were_set(&mut self, unchanged: &[usize], states: &[CrtcState]) {
        self.legacy_cursors.retain(|crtc, _| unchanged.contains(crtc));
        for state in states.iter().filter(|state| !unchanged.contains(&state.setup.crtc)) {
            let lut = self.color.get(&state.output).and_then(|color| color.gamma.as_deref());
            match self.set_legacy_gamma(state.setup.crtc, lut) {
                Err(error) if lut.is_some() => {
                    warn!(display = state.output, %error, "cannot set the gamma LUT; colors are not adjusted");
                }
                Err(error) => debug!(display = state.output, %error, "cannot reset the gamma LUT"),
                Ok(()) => {}
            }
        }
    }

    /// The next commit sets a CRTC's mode even if it is unchanged.
    pub fn force_modeset(&mut self, crtc: usize) {
        self.forced_modesets.insert(crtc);
    }

    /// Drops the states of all CRTCs but these, which a commit has disabled; their buffers are
    /// freed.
    pub fn drop_unused(&mut self, crtcs: &[usize]) {
        self.crtc_states.retain(|crtc, _| crtcs.contains(crtc));
    }

    /// Notes that a mode failed although its test passed, so that the next search skips it.
    pub fn note_refused_mode(&mut self, output: &str, mode: Mode, signal: SignalFormat) {
        self.refused_modes.push((output.to_owned(), mode, signal));
    }

    /// Tests whether the kernel would accept a frame.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn test_frame(&self, crtc: usize, frame: &Frame) -> io::Result<()> {
        commit::test_frame(&self.fd, &self.objects, crtc, frame)
    }

    /// Commits a frame. A page flip event follows when it is scanned out. Returns false if none
    /// does: on devices that are not atomic, for frames without a new framebuffer.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; the last frame stays. EBUSY means that the previous one is not
    /// scanned out yet.
    pub fn submit(&mut self, crtc: usize, frame: &Frame) -> io::Result<bool> {
        if self.is_atomic {
            commit::flip(&self.fd, &self.objects, crtc, frame)?;
        } else if !self.submit_legacy(crtc, frame)? {
            return Ok(false);
        }
        if let Some(state) = self.crtc_states.get_mut(&crtc) {
            if let Some((framebuffer, _)) = &frame.primary {
                state.setup.framebuffer = framebuffer.handle();
                state.framebuffer = framebuffer.clone();
            }
            if let Some(color) = &frame.color {
                state.setup.color.clone_from(color);
            }
            if let Some(vrr) = frame.vrr {
                debug!(display = state.output, vrr, "VRR switched without a modeset");
                state.setup.signal.vrr = vrr;
            }
        }
        Ok(true)
    }

    /// Returns the damage of a frame: rectangles as left, top, right and bottom in the
    /// framebuffer's pixels. `None` if the driver makes no use of it, and if there are none or too
    /// many.
    pub fn damage_clips(&self, clips: impl ExactSizeIterator<Item = [i32; 4]>) -> Option<Blob> {
        if !self.quirks.uses_damage {
            return None;
        }
        commit::damage_clips(&self.fd, clips)
    }

    /// Reads pending page flip events and appends them to `flips`, with the index of the CRTC.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; ENODEV if the device was unplugged.
    pub fn read_page_flips(&self, flips: &mut Vec<(usize, PageFlip)>) -> io::Result<()> {
        self.fd.read_page_flips(&mut |flip| {
            flips.extend(self.objects.crtc_index(flip.crtc).map(|crtc| (crtc, flip)));
        })
    }
}
