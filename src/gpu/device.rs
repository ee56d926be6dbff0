//! One Gpu: what it can, what it shows, and the search for what it can show of a plan.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drm::control::{connector, framebuffer, Mode as KmsMode};
use drm::{ClientCapability, Device, DriverCapability};
use smithay::backend::allocator::gbm::GbmBuffer;
use smithay::backend::allocator::{Allocator, Fourcc, Modifier};
use tracing::{debug, info, warn};
use geom_display::fallback::{self, CrtcAssignment, TestCommit};
use geom_display::signal_format::SignalFormat;
use geom_display::mode::Mode;
use geom_display::plan;

use super::buffer::{Drawable, Dumb};
use super::drm_fd::{DrmFd, Framebuffer};
use super::colorop;
use super::commit::{modeset, modeset_legacy, set_active, CrtcSetup};
use super::lease::Leased;
use super::objects::{written, Objects};
use super::renderer::Renderer;
use super::color_luts::{CrtcColor, Tables};
use crate::config::RendererPreference;

/// What one CRTC shows.
#[derive(Debug, Clone)]
pub struct CrtcState {
    /// The display's name.
    pub display: String,
    pub setup: CrtcSetup,
    pub mode: Mode,
    /// Kept while the CRTC may read it.
    pub framebuffer: Arc<Framebuffer>,
}

/// An open DRM device that can show pictures.
pub struct Gpu {
    /// The device number.
    pub id: u64,
    pub path: PathBuf,
    /// Where it sits, `pci-0000:00:02.0` and so on: the same after each start, other than its number.
    pub place: String,
    pub driver: String,
    pub card: DrmFd,
    pub atomic: bool,
    /// The driver needs_damage what is shown, so damage saves it work.
    pub needs_damage: bool,
    pub cursor_size: (u32, u32),
    pub objects: Objects,
    pub renderer: Renderer,
    /// When it was reset lately; and that its renderer is of no use until there is another.
    pub resets: Vec<std::time::Duration>,
    pub is_resetting: bool,
    /// By CRTC.
    pub crtc_states: HashMap<usize, CrtcState>,
    /// The device's state is what `lit` says. False at first and whenever another may have been
    /// master: then everything is set anew, other programs' leftovers switched off with it.
    pub state_is_ours: bool,
    /// Nothing was committed yet: what its CRTCs show is somebody else's.
    pub never_committed: bool,
    /// Bits of a color of displays that were lit when we came, as long as they stay plugged in.
    inherited_depths: HashMap<connector::Handle, u8>,
    /// CRTCs that have to be set anew.
    forced_modesets: BTreeSet<usize>,
    /// The kernel not_master a commit for want of master: another holds the device, or the seat has
    /// not given it back yet.
    pub not_master: bool,
    /// What programs drive by themselves.
    pub(super) leases: Vec<Leased>,
    /// Displays whose light is off.
    blanked: BTreeSet<String>,
    /// The first choices of the last search, by display.
    last_requests: HashMap<String, (Mode, SignalFormat)>,
    /// Modes that passed the test, or could not be tested, and failed all the same.
    rejected_modes: Vec<(String, Mode, SignalFormat)>,
    /// What is made of displays' color.
    pub(super) tables: HashMap<String, Tables>,
    /// Buffers made for tests, for the first frames to use.
    spare_buffers: Vec<((u32, u32), Drawable)>,
}

/// Why a device can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path}: it is no KMS device, or its driver has no dumb buffers: {source}")]
    NoKms { path: PathBuf, source: io::Error },
    #[error("{path}: {reason}")]
    Renderer { path: PathBuf, reason: String },
}

impl Gpu {
    /// Reads what the device is. `fd` comes from the session, which made us master.
    pub fn open(
        path: &Path,
        id: u64,
        fd: OwnedFd,
        wish: RendererPreference,
    ) -> Result<Self, (OpenError, Option<OwnedFd>)> {
        let card = DrmFd::new(fd);
        match Self::read(path, id, card.clone(), wish) {
            Ok(gpu) => Ok(gpu),
            Err(error) => Err((error, card.into_fd().ok())),
        }
    }

    fn read(path: &Path, id: u64, card: DrmFd, wish: RendererPreference) -> Result<Self, OpenError> {
        let no_kms = |source| OpenError::NoKms { path: path.to_owned(), source };
        card.set_client_capability(ClientCapability::UniversalPlanes, true).map_err(no_kms)?;
        let wants_atomic = std::env::var_os("GEOM_COMPOSITOR_NO_ATOMIC").is_none();
        let atomic = wants_atomic && card.set_client_capability(ClientCapability::Atomic, true).is_ok();
        if atomic {
            colorop::announce(&card);
        }
        let driver = card.get_driver().map_err(no_kms)?.name().to_string_lossy().into_owned();
        let objects = Objects::read(&card, atomic).map_err(no_kms)?;
        if objects.crtcs.is_empty() {
            return Err(no_kms(io::Error::other("the device has no CRTC")));
        }
        let lit = objects.connectors.iter().filter(|connector| connector.driven_by.is_some());
        let inherited_depths = lit.filter_map(|lit| Some((lit.handle, lit.link.depth?))).collect();
        let capability = |which, default| {
            card.get_driver_capability(which).ok().filter(|size| *size > 0).unwrap_or(default)
        };
        let cursor_size = (
            capability(DriverCapability::CursorWidth, 64) as u32,
            capability(DriverCapability::CursorHeight, 64) as u32,
        );
        let renderer = Renderer::choose(&card, &driver, wish)
            .map_err(|reason| OpenError::Renderer { path: path.to_owned(), reason })?;
        let needs_damage = matches!(
            driver.as_str(),
            "virtio_gpu"
                | "udl"
                | "gud"
                | "evdi"
                | "vmwgfx"
                | "qxl"
                | "simpledrm"
                | "ofdrm"
                | "bochs-drm"
                | "ast"
                | "mgag200"
                | "hyperv_drm"
        );
        info!(
            gpu = %path.display(), driver, atomic, crtcs = objects.crtcs.len(),
            connectors = objects.connectors.len(), "GPU opened"
        );
        Ok(Self {
            id,
            path: path.to_owned(),
            place: super::discovery::place(id),
            driver,
            card,
            atomic,
            needs_damage,
            cursor_size,
            objects,
            renderer,
            resets: Vec::new(),
            is_resetting: false,
            crtc_states: HashMap::new(),
            state_is_ours: false,
            never_committed: true,
            inherited_depths,
            forced_modesets: BTreeSet::new(),
            not_master: false,
            leases: Vec::new(),
            blanked: BTreeSet::new(),
            last_requests: HashMap::new(),
            rejected_modes: Vec::new(),
            tables: HashMap::new(),
            spare_buffers: Vec::new(),
        })
    }

    /// Draws with another renderer from now on.
    pub fn replace_renderer(&mut self, renderer: Renderer) {
        self.spare_buffers.clear();
        self.renderer = renderer;
        self.is_resetting = false;
    }

    /// What is plugged in, for the plan.
    pub fn present(&self) -> plan::ProbedGpu {
        let hardware = (0..self.objects.crtcs.len())
            .any(|crtc| self.pipeline_sizes(crtc).is_some() || !self.primary_pipelines(crtc).is_empty());
        let converts = self.renderer.converts() || hardware;
        let connectors = self.objects.connectors.iter().map(|connector| {
            let mut state = connector.state.clone();
            state.capabilities.converts = converts;
            state.capabilities.inherited_depth = self.inherited_depths.get(&connector.handle).copied();
            state.port = Some(format!("{}/{}", self.place, self.objects.way(connector)));
            state
        });
        plan::ProbedGpu { id: self.id, connectors: connectors.collect() }
    }

    /// Asks the kernel again what is plugged in. A monitor that changed is new to the search.
    pub fn probe(&mut self) -> io::Result<()> {
        self.objects.probe(&self.card, self.atomic)?;
        self.rejected_modes.clear();
        let connectors = &self.objects.connectors;
        let is_there = |handle: &connector::Handle| {
            connectors.iter().any(|connector| connector.handle == *handle && connector.state.connected)
        };
        self.inherited_depths.retain(|handle, _| is_there(handle));
        Ok(())
    }

    /// A buffer to draw a frame into, of so many bits a color.
    pub fn drawable(&mut self, size: (u32, u32), bits: u32) -> io::Result<Drawable> {
        if bits > 8 {
            return self.allocate(size, Fourcc::Xrgb2101010);
        }
        if let Some(place) = self.spare_buffers.iter().position(|(spare, _)| *spare == size) {
            return Ok(self.spare_buffers.swap_remove(place).1);
        }
        self.allocate(size, Fourcc::Xrgb8888)
    }

    /// Bits of a color that buffers of a CRTC can have, where pictures are converted anyhow.
    pub fn max_bits(&self, crtc: usize) -> u32 {
        const DEEP: Fourcc = Fourcc::Xrgb2101010;
        let plane = self.objects.crtcs.get(crtc).and_then(|crtc| self.objects.planes.get(crtc.primary?));
        let shows = plane.is_some_and(|plane| plane.shows(DEEP));
        let draws = match &self.renderer {
            Renderer::Pixman(_) => plane.is_some_and(|plane| plane.supports(DEEP, Modifier::Linear)),
            Renderer::Gles { renderer, .. } => {
                renderer.egl_context().dmabuf_render_formats().iter().any(|format| format.code == DEEP)
            }
        };
        if shows && draws {
            10
        } else {
            8
        }
    }

    fn allocate(&mut self, size: (u32, u32), code: Fourcc) -> io::Result<Drawable> {
        let primary = self.objects.crtcs.iter().find_map(|crtc| crtc.primary);
        let formats = primary.and_then(|plane| self.objects.planes.get(plane)).map(|plane| &plane.formats);
        match &mut self.renderer {
            Renderer::Pixman(_) => Drawable::dumb(&self.card, size, code),
            Renderer::Gles { renderer, allocator, .. } => {
                let drawable = renderer.egl_context().dmabuf_render_formats().clone();
                let shown = formats
                    .and_then(|formats| formats.iter().find(|(format, _)| *format == code))
                    .map(|(_, modifiers)| modifiers.as_slice())
                    .unwrap_or_default();
                // What the plane shows and the renderer draws; where that fails, what the driver
                // chooses without being told (implicit).
                let common: Vec<Modifier> = shown
                    .iter()
                    .copied()
                    .filter(|modifier| {
                        drawable.iter().any(|format| format.code == code && format.modifier == *modifier)
                    })
                    .collect();
                let mut last = io::Error::other("no layout that is both drawn and shown");
                for modifiers in [common.as_slice(), &[Modifier::Invalid], &[Modifier::Linear]] {
                    if modifiers.is_empty() {
                        continue;
                    }
                    let made: io::Result<GbmBuffer> =
                        allocator.create_buffer(size.0, size.1, code, modifiers);
                    match made.and_then(|bo| Drawable::gbm(&self.card, bo)) {
                        Ok(drawable) => return Ok(drawable),
                        Err(error) => {
                            debug!(?modifiers, %error, "no buffer in this layout");
                            last = error;
                        }
                    }
                }
                Err(last)
            }
        }
    }

    /// A buffer for the cursor plane.
    pub fn cursor_buffer(&self) -> io::Result<Dumb> {
        Dumb::new(&self.card, self.cursor_size, Fourcc::Argb8888)
    }

    /// The kernel's timing of one of a connector's modes, or of one that somebody wrote.
    pub fn kms_mode(&self, display: &str, mode: &Mode) -> Option<KmsMode> {
        if let Some(line) = &mode.modeline {
            return Some(written(line));
        }
        self.objects.connector(display)?.modes.get(mode.index).copied()
    }

    /// A setup for an assignment, with a framebuffer of the right size to test with.
    fn setup(&mut self, display: &str, crtc: usize, mode: &Mode, link: SignalFormat) -> Result<CrtcSetup, String> {
        let timing = self.kms_mode(display, mode).ok_or("the mode is gone from the connector's list")?;
        let connector = self.objects.connector(display).ok_or("the connector is gone")?.handle;
        let framebuffer = self.framebuffer_to_test(crtc, mode)?;
        let (active, color) = (!self.blanked.contains(display), self.color(display));
        Ok(CrtcSetup { crtc, connector, mode: timing, active, signal: link, color, framebuffer })
    }

    fn framebuffer_to_test(&mut self, crtc: usize, mode: &Mode) -> Result<framebuffer::Handle, String> {
        if let Some(lit) = self.crtc_states.get(&crtc).filter(|lit| lit.setup.mode.size() == (mode.width, mode.height))
        {
            return Ok(lit.framebuffer.handle);
        }
        let size = (u32::from(mode.width), u32::from(mode.height));
        let place = match self.spare_buffers.iter().position(|(spare, _)| *spare == size) {
            Some(place) => place,
            None => {
                let drawable = self
                    .allocate(size, Fourcc::Xrgb8888)
                    .map_err(|error| format!("no buffer of {mode}: {error}"))?;
                self.spare_buffers.push((size, drawable));
                self.spare_buffers.len() - 1
            }
        };
        let (_, drawable) = self.spare_buffers.get(place).ok_or("no buffer")?;
        drawable.framebuffer().map(|framebuffer| framebuffer.handle).ok_or_else(|| "no framebuffer".into())
    }

    /// Searches for what can be lit of the requests.
    pub fn search(&mut self, wanted: &[(String, Vec<Mode>, SignalFormat)]) -> fallback::SearchResult {
        let requests: Vec<fallback::Request> = wanted
            .iter()
            .map(|(name, modes, link)| fallback::Request {
                name: name.clone(),
                modes: modes.clone(),
                signals: link.fallbacks(),
                crtcs: self.crtcs_for(name),
                current: self
                    .crtc_states
                    .iter()
                    .find(|(_, lit)| lit.display == *name)
                    .map(|(crtc, lit)| (*crtc, lit.mode, lit.setup.signal)),
                settled: modes.first().is_some_and(|mode| self.last_requests.get(name) == Some(&(*mode, *link))),
            })
            .collect();
        let last_requests =
            wanted.iter().filter_map(|(name, modes, link)| Some((name.clone(), (*modes.first()?, *link))));
        self.last_requests = last_requests.collect();
        fallback::search(&requests, &mut AtomicTester { gpu: self, requests: &requests })
    }

    /// CRTCs that can drive a display. The one that whoever was master before us drove it by comes first, those of others last: what
    /// stays where it is need not go dark.
    fn crtcs_for(&self, display: &str) -> Vec<usize> {
        let Some(connector) = self.objects.connector(display) else { return Vec::new() };
        let mut crtcs: Vec<usize> = (0..self.objects.crtcs.len())
            .filter(|crtc| connector.crtcs & (1 << crtc) != 0 && self.objects.crtcs[*crtc].primary.is_some())
            .filter(|crtc| !self.is_leased(*crtc))
            .collect();
        if !self.state_is_ours {
            let drives = |crtc: usize| {
                self.objects.connectors.iter().any(|connector| connector.driven_by == Some(crtc))
            };
            crtcs.sort_by_key(|crtc| (connector.driven_by != Some(*crtc), drives(*crtc)));
        }
        crtcs
    }

    /// CRTCs that already show what is asked, and those that are none of our business.
    fn unchanged(&self, setups: &[CrtcSetup]) -> Vec<usize> {
        (0..self.objects.crtcs.len())
            .filter(|crtc| {
                if self.is_leased(*crtc) || !self.state_is_ours {
                    return self.is_leased(*crtc);
                }
                if self.forced_modesets.contains(crtc) {
                    return false;
                }
                let wanted = setups.iter().find(|setup| setup.crtc == *crtc);
                match (wanted, self.crtc_states.get(crtc)) {
                    (None, None) => true,
                    (Some(setup), Some(lit)) => {
                        setup.connector == lit.setup.connector
                            && setup.signal == lit.setup.signal
                            && setup.active == lit.setup.active
                            && same_timing(&setup.mode, &lit.setup.mode)
                    }
                    _ => false,
                }
            })
            .collect()
    }

    /// Makes it so: modes are set, what is not in `lit` is switched off.
    pub fn commit(&mut self, lit: Vec<CrtcState>) -> io::Result<()> {
        let setups: Vec<CrtcSetup> = lit.iter().map(|lit| lit.setup.clone()).collect();
        let unchanged = self.unchanged(&setups);
        if unchanged.len() < self.objects.crtcs.len() {
            let done = match self.atomic {
                true => modeset(&self.card, &self.objects, &setups, &unchanged, false),
                false => modeset_legacy(&self.card, &self.objects, &setups, &unchanged),
            };
            self.not_master |= is_denial(&done);
            done?;
        }
        for entry in lit {
            // A CRTC that was left alone still shows the buffer of its last frame.
            if !unchanged.contains(&entry.setup.crtc) {
                self.crtc_states.insert(entry.setup.crtc, entry);
            } else if let Some(known) = self.crtc_states.get_mut(&entry.setup.crtc) {
                known.display = entry.display;
                known.mode = entry.mode;
            }
        }
        self.state_is_ours = true;
        self.never_committed = false;
        self.forced_modesets.clear();
        Ok(())
    }

    /// The next commit sets a CRTC's mode, whatever it was set to.
    pub fn force_modeset(&mut self, crtc: usize) {
        self.forced_modesets.insert(crtc);
    }

    pub(super) fn crtc_of(&self, display: &str) -> Option<usize> {
        self.crtc_states.iter().find(|(_, lit)| lit.display == display).map(|(crtc, _)| *crtc)
    }

    /// Switches a lit display's light off, or on again.
    ///
    /// # Errors
    /// The kernel's; it stays as it was.
    pub fn set_active(&mut self, display: &str, active: bool) -> io::Result<()> {
        let crtc = self.crtc_of(display).ok_or(io::ErrorKind::NotFound)?;
        set_active(&self.card, &self.objects, crtc, active)?;
        if let Some(lit) = self.crtc_states.get_mut(&crtc) {
            lit.setup.active = active;
        }
        self.set_pending_active(display, active);
        Ok(())
    }

    /// What the next mode setting does about a display's light.
    pub fn set_pending_active(&mut self, display: &str, active: bool) {
        match active {
            true => self.blanked.remove(display),
            false => self.blanked.insert(display.to_owned()),
        };
    }

    /// Takes back color that whoever shows pictures next would have otherwise, while we may still set anything.
    pub fn reset_color_state(&mut self) {
        let plain = |link: &SignalFormat| SignalFormat { bit_depth: link.bit_depth, ..SignalFormat::default() };
        let is_plain =
            |lit: &&CrtcState| lit.setup.signal == plain(&lit.setup.signal) && lit.setup.color == CrtcColor::default();
        if !self.atomic || self.crtc_states.values().all(|lit| is_plain(&lit)) {
            return;
        }
        let untouched: Vec<usize> =
            self.crtc_states.iter().filter(|(_, lit)| is_plain(lit)).map(|(crtc, _)| *crtc).collect();
        let setups = self.crtc_states.values().map(|lit| CrtcSetup {
            signal: plain(&lit.setup.signal),
            color: CrtcColor::default(),
            ..lit.setup.clone()
        });
        let setups: Vec<CrtcSetup> = setups.collect();
        match modeset(&self.card, &self.objects, &setups, &untouched, false) {
            Ok(()) => {
                for lit in self.crtc_states.values_mut() {
                    lit.setup.signal = plain(&lit.setup.signal);
                    lit.setup.color = CrtcColor::default();
                }
                debug!(gpu = %self.path.display(), "color taken back");
            }
            Err(error) => {
                warn!(gpu = %self.path.display(), %error, "the color that were set stay for the next program");
            }
        }
    }

    /// Forgets CRTCs that `commit` switched off; their buffers may go now.
    pub fn drop_unused(&mut self, crtcs: &[usize]) {
        self.crtc_states.retain(|crtc, _| crtcs.contains(crtc));
        self.spare_buffers.clear();
    }

    /// Notes that a mode failed although the test said otherwise, so that the next search goes on.
    pub fn reject_mode(&mut self, display: &str, mode: Mode, link: SignalFormat) {
        self.rejected_modes.push((display.to_owned(), mode, link));
    }

    /// The size of a mode of a connector as a setup to commit.
    pub fn make_crtc_state(
        &mut self,
        display: &str,
        crtc: usize,
        mode: Mode,
        link: SignalFormat,
        framebuffer: Arc<Framebuffer>,
    ) -> Option<CrtcState> {
        let timing = self.kms_mode(display, &mode)?;
        let connector = self.objects.connector(display)?.handle;
        let setup = CrtcSetup {
            crtc,
            connector,
            mode: timing,
            active: !self.blanked.contains(display),
            signal: link,
            color: self.color(display),
            framebuffer: framebuffer.handle,
        };
        Some(CrtcState { display: display.to_owned(), setup, mode, framebuffer })
    }
}

/// Whether two modes drive a monitor alike; names and flags of origin don't count.
pub fn same_timing(one: &KmsMode, other: &KmsMode) -> bool {
    one.clock() == other.clock()
        && one.size() == other.size()
        && one.hsync() == other.hsync()
        && one.vsync() == other.vsync()
        && one.flags() == other.flags()
}

fn is_denial(answer: &io::Result<()>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// The real kernel, asked by test commits.
struct AtomicTester<'a> {
    gpu: &'a mut Gpu,
    requests: &'a [fallback::Request],
}

impl TestCommit for AtomicTester<'_> {
    fn test(&mut self, assignments: &[CrtcAssignment]) -> Result<(), String> {
        let mut setups = Vec::new();
        for CrtcAssignment { request, crtc, mode, signal } in assignments {
            let name = &self.requests[*request].name;
            let rejected_modes = (name.clone(), *mode, *signal);
            if self.gpu.rejected_modes.contains(&rejected_modes) {
                return Err(format!("{mode} failed on {name}"));
            }
            setups.push(self.gpu.setup(name, *crtc, mode, *signal)?);
        }
        if !self.gpu.atomic {
            // The old calls have no test; a failing commit is noted by `refuse`.
            return Ok(());
        }
        let untouched = self.gpu.unchanged(&setups);
        if untouched.len() == self.gpu.objects.crtcs.len() {
            return Ok(());
        }
        let answer = modeset(&self.gpu.card, &self.gpu.objects, &setups, &untouched, true);
        self.gpu.not_master |= is_denial(&answer);
        answer.map_err(|error| error.to_string())
    }
}
