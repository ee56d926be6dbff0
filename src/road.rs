//! The road that every change takes: probe, plan, test commit, commit, publish.
//!
//! Hotplug, configuration, resume and a new Gpu all end here. Running it twice changes nothing.

use std::collections::BTreeMap;

use geom_ipc::Event as IpcEvent;
use tracing::{debug, error, info, warn};

use crate::backend::Backend;
use crate::config::profile::keep_one_lit;
use crate::config::ConnectType;
use crate::display::identity::{Known, Monitor, Seen};
use crate::display::lifecycle::{Action, Event as LifeEvent};
use crate::display::link::Link;
use crate::display::mode::Mode;
use crate::display::plan::{self, logical_size, Plan, PlannedDisplay, Target as PlanTarget};
use crate::display::screen::Screen;
use crate::gpu::device::Lit;
use crate::scanout::redraw::Event;
use crate::scanout::surface::{Scanout, Target};
use crate::session::readiness;
use crate::state::{trouble, State};
use crate::timers::Timers;

/// One display as the search found that it can be.
struct Solved {
    display: PlannedDisplay,
    target: Target,
    mode: Mode,
    link: Link,
    /// What could not be honoured of its wishes.
    complaints: Vec<String>,
    modes: Vec<Mode>,
    monitor: Monitor,
}

/// What a probe, a plan and the kernel's answers amount to.
struct Solution {
    lit: Vec<Solved>,
    off: Vec<(String, LifeEvent)>,
    /// What a person has to be told, should it come true.
    troubles: Vec<String>,
}

/// So often a commit may fail after its test passed before the displays stay as they are.
const COMMIT_TRIES: usize = 8;

/// A Gpu that is denied is asked so often again, first after this delay, then twice as long each time.
pub const DENIAL_TRIES: u32 = 6;
pub const DENIAL_DELAY: std::time::Duration = std::time::Duration::from_millis(100);

/// Stops a scanout; its buffers live until the commit that no longer shows them.
pub fn retire(timers: &mut Timers<State>, scanout: Option<Scanout>, retired: &mut Vec<Scanout>) {
    let Some(scanout) = scanout else { return };
    if let Some(timer) = scanout.timer {
        timers.cancel(timer);
    }
    retired.push(scanout);
}

fn monitor_at(connector: &crate::gpu::objects::Connector) -> Monitor {
    Monitor {
        identity: connector.state.monitor.clone(),
        edid: connector.state.edid.clone(),
        size: connector.physical_size,
        primaries: connector.state.abilities.monitor.points(),
        max_luminance: connector.state.abilities.monitor.max_luminance,
    }
}

impl State {
    /// Runs the road. `cause` is for the log.
    pub fn reconfigure(&mut self, cause: &str) {
        if self.backend.is_paused() {
            return;
        }
        let lit_before = self.screens.lit_names();
        // Buffers of displays whose monitor went elsewhere may be on the screen until the commit.
        let mut moved = Vec::new();
        let present = self.backend.present();
        self.follow_monitors(&present, &mut moved);
        for attempt in 1..=COMMIT_TRIES {
            let solution = self.solution(&present);
            for trouble in &solution.troubles {
                trouble!(self, "{trouble}");
            }
            // Buffers of displays that go dark may be on the screen until the commit.
            let mut retired = Vec::new();
            self.publish(&solution, &mut retired);
            if self.commit_all(&solution) {
                break;
            }
            if attempt == COMMIT_TRIES {
                error!("the kernel refuses what it accepted in tests; displays stay as they are");
                self.troubles
                    .add("the kernel refuses to set modes that it accepted in tests; see its log".into());
            }
        }
        self.backend.release_spares();
        let lit = self.screens.lit_names();
        if lit != lit_before {
            info!(cause, displays = lit.join(" "), "displays lit");
            self.publish_event(&IpcEvent::Layout { cause: cause.to_owned(), lit });
            readiness::status(&self.status());
            self.note_state();
        } else {
            debug!(cause, "displays unchanged");
        }
        self.pointer.location = self.screens.travel(self.pointer.location, self.pointer.location);
        self.refresh_focus();
        self.announce_dmabuf();
        self.check_named();
        self.tell_tools();
        self.check_gamma();
        self.check_power();
        self.check_leases();
        self.check_lid();
        self.tune_all();
        self.tell_colours();
        self.redraw_all();
        self.retry_denied();
    }

    /// What would be lit if wishes were taken now, and nothing done.
    pub fn would_light(&mut self) -> BTreeMap<String, (Mode, Link)> {
        let solution = self.solution(&self.backend.present());
        self.backend.release_spares();
        solution.lit.into_iter().map(|solved| (solved.display.name, (solved.mode, solved.link))).collect()
    }

    /// After a switch of VTs, or while another server ends, the kernel may deny us for a moment.
    fn retry_denied(&mut self) {
        let mut denied = false;
        let mut never_ours = Vec::new();
        for gpu in self.backend.gpus_mut().filter(|gpu| gpu.denied) {
            gpu.denied = false;
            denied = true;
            if gpu.lit.is_empty() {
                never_ours.push(gpu.id);
            }
        }
        self.denials = if denied { self.denials + 1 } else { 0 };
        if !denied || self.denials > DENIAL_TRIES {
            return;
        }
        let delay = DENIAL_DELAY * 2u32.pow(self.denials - 1);
        warn!(?delay, "not master of a GPU; trying again");
        let at = self.now() + delay;
        self.timers.at(at, move |state| {
            // The seat asks for master when it opens a device, and not again as long as its VT is shown.
            state.open_anew(&never_ours);
            state.reconfigure("not master before");
        });
    }

    /// What would come of everything that is known now.
    fn solution(&mut self, present: &[plan::Gpu]) -> Solution {
        let mut troubles = Vec::new();
        let plan = self.plan(present, &mut troubles);
        self.solve(&plan, troubles)
    }

    fn plan(&mut self, present: &[plan::Gpu], troubles: &mut Vec<String>) -> Plan {
        let ports = present.iter().flat_map(|gpu| &gpu.connectors);
        self.ports.extend(ports.filter_map(|known| Some((known.name.clone(), known.port.clone()?))));
        let mut system = self.config.wishes.clone();
        system.only.clone_from(&self.options.display);
        let known = self.known_displays(present);
        let (connected, able) = plan::desktop(present);
        let mut wishes = self.profile.wishes.over(system, &known, &connected);
        wishes.fullscreen = self.fullscreen_displays();
        for name in self.under_lid(present) {
            wishes.displays.entry(name).or_default().power = Some(false);
        }
        if !self.options.headless_ok {
            if let Some(kept) = keep_one_lit(&mut wishes, &able) {
                troubles.push(format!(
                    "{kept} stays on: everything else is off by wish (--headless-ok allows it)"
                ));
            }
        }
        // What a person changes lies over whatever name the file's wish goes by.
        for (name, over) in &self.overrides {
            let wish = wishes.displays.entry(name.clone()).or_default();
            *wish = wish.under(over);
        }
        let complaints = self.read_icc(&mut wishes);
        let mut plan = plan::plan(present, &wishes, &self.screens.places());
        for planned in &mut plan.displays {
            planned.complaints.extend(complaints.get(&planned.name).cloned());
            let of = |complaint| format!("{}: {complaint}", planned.name);
            troubles.extend(planned.complaints.iter().map(of));
        }
        plan
    }

    /// What displays there are, dark ones included, and who their monitors are, or were.
    fn known_displays(&self, present: &[plan::Gpu]) -> Known {
        let mut known = Known::with_aliases(&self.config.aliases);
        let connectors =
            || present.iter().flat_map(|gpu| &gpu.connectors).filter(|connector| connector.connected);
        for screen in self.screens.iter() {
            // A monitor that came back elsewhere has left here for good, and is no twin of its own.
            let was = screen.monitor.identity.clone();
            let is_elsewhere = connectors().any(|connector| connector.monitor == was);
            let port = self.ports.get(&screen.name).cloned();
            let edid = screen.monitor.edid.clone().filter(|_| !is_elsewhere);
            known.add(&screen.name, Seen { monitor: was.filter(|_| !is_elsewhere), edid, port });
        }
        for connector in connectors() {
            let (monitor, edid, port) =
                (connector.monitor.clone(), connector.edid.clone(), connector.port.clone());
            known.add(&connector.name, Seen { monitor, edid, port });
        }
        known
    }

    /// The displays that a name means: a connector, a monitor (`make model serial`), or a pattern of either.
    pub fn displays_meant(&self, name: &str) -> Vec<String> {
        // The usual case, without asking the Gpus.
        if self.screens.get(name).is_some() {
            return vec![name.to_owned()];
        }
        self.known_displays(&self.backend.present()).meant(name)
    }

    fn solve(&mut self, plan: &Plan, troubles: Vec<String>) -> Solution {
        let mut solution = Solution { lit: Vec::new(), off: Vec::new(), troubles };
        let mut by_gpu: BTreeMap<u64, Vec<&PlannedDisplay>> = BTreeMap::new();
        for planned in &plan.displays {
            match &planned.target {
                PlanTarget::Lit { .. } => by_gpu.entry(planned.gpu).or_default().push(planned),
                PlanTarget::Off(reason) => {
                    debug!(display = planned.name, %reason, "display stays off");
                    solution.off.push((planned.name.clone(), LifeEvent::SwitchedOff));
                }
            }
        }
        for (id, displays) in by_gpu {
            self.solve_gpu(id, &displays, &mut solution);
        }
        for screen in self.screens.iter() {
            let present = plan.display(&screen.name).is_some();
            if !present {
                solution.off.push((screen.name.clone(), LifeEvent::Gone));
            }
        }
        solution
    }

    fn solve_gpu(&mut self, id: u64, displays: &[&PlannedDisplay], solution: &mut Solution) {
        let wanted_of = |display: &PlannedDisplay| match &display.target {
            PlanTarget::Lit { modes, link } => (modes.clone(), *link),
            PlanTarget::Off(_) => (Vec::new(), Link::default()),
        };
        let solved =
            |display: &PlannedDisplay, (mode, link): (Mode, Link), target: Target, monitor: Monitor| {
                let mut display = display.clone();
                if display.mirror.is_none() {
                    (display.place.width, display.place.height) =
                        logical_size(&mode, display.scale, display.transform);
                }
                let complaints = display.complaints.clone();
                Solved { modes: wanted_of(&display).0, display, target, mode, link, complaints, monitor }
            };
        let Some(gpu) = self.backend.gpu_mut(id) else {
            // Virtual displays: anything goes.
            for display in displays {
                let (modes, link) = wanted_of(display);
                if let Some(mode) = modes.first() {
                    solution.lit.push(solved(display, (*mode, link), Target::Memory, Monitor::default()));
                }
            }
            return;
        };
        let wanted = displays.iter().map(|display| {
            let (modes, link) = wanted_of(display);
            (display.name.clone(), modes, link)
        });
        let wanted: Vec<_> = wanted.collect();
        let outcome = gpu.solve(&wanted);
        debug!(gpu = %gpu.path.display(), tests = outcome.tests, lit = outcome.lit.len(), "search");
        for assignment in outcome.lit {
            let Some(display) = displays.get(assignment.request) else { continue };
            let monitor = gpu.objects.connector(&display.name).map(monitor_at);
            let target = Target::Crtc { gpu: id, index: assignment.crtc };
            let (modes, link) = wanted_of(display);
            let mode = modes.first().filter(|wished| **wished != assignment.mode);
            let mode = mode
                .map(|_| format!("the kernel refuses its first choice of mode; using {}", assignment.mode));
            let link = link.given_up(&assignment.link);
            let link = link.map(|lost| format!("the kernel refuses {lost}"));
            let found = (assignment.mode, assignment.link);
            let mut solved = solved(display, found, target, monitor.unwrap_or_default());
            for text in mode.into_iter().chain(link) {
                solution.troubles.push(format!("{}: {text}", solved.display.name));
                solved.complaints.push(text);
            }
            solution.lit.push(solved);
        }
        for (request, failure) in outcome.failed {
            let Some(display) = displays.get(request) else { continue };
            solution.troubles.push(format!("{} stays off: {failure}", display.name));
            solution.off.push((display.name.clone(), LifeEvent::Refused(failure.to_string())));
        }
    }

    /// Brings displays, their globals and windows to the solution.
    fn publish(&mut self, solution: &Solution, retired: &mut Vec<Scanout>) {
        for (name, event) in &solution.off {
            if *event != LifeEvent::Gone {
                self.know(name);
            }
            self.live(name, event.clone());
            if let Some(screen) = self.screens.get_mut(name) {
                retire(&mut self.timers, screen.scanout.take(), retired);
            }
        }
        for solved in &solution.lit {
            self.change_monitor(&solved.display.name, &solved.monitor, retired);
            let screen = self.screens.entry(&solved.display.name);
            screen.shows_on(&solved.monitor);
            screen.link = solved.link;
            screen.complaints.clone_from(&solved.complaints);
            screen.configure(&solved.display, solved.mode, solved.display.place, &solved.modes);
            let size = (u32::from(solved.mode.width), u32::from(solved.mode.height));
            let fits = screen
                .scanout
                .as_ref()
                .is_some_and(|scanout| scanout.target == solved.target && scanout.size() == size);
            if !fits {
                let scanout = Scanout::new(solved.target, &screen.output, size, solved.mode.refresh);
                retire(&mut self.timers, screen.scanout.replace(scanout), retired);
            }
            smithay::desktop::layer_map_for_output(&screen.output).arrange();
            let is_new = !screen.is_lit();
            self.live(&solved.display.name, LifeEvent::Lit);
            if is_new {
                self.keep_dark(&solved.display.name, solved.monitor.identity.as_ref());
            }
            if self.screens.get(&solved.display.name).is_some_and(|screen| screen.blank) {
                self.redraw_event(&solved.display.name, Event::Paused);
            }
            self.announce(&solved.display.name);
            self.dress(&solved.display.name);
        }
        self.place_windows();
    }

    /// A monitor that shows nothing of ours is a display all the same: it can be named, and switched on.
    fn know(&mut self, name: &str) {
        let connector = self.backend.gpus().find_map(|gpu| gpu.objects.connector(name));
        let Some(connector) = connector.filter(|connector| !connector.state.non_desktop) else { return };
        let (monitor, modes) = (monitor_at(connector), plan::candidates(&connector.state.modes, None));
        let screen = self.screens.entry(name);
        if !screen.is_lit() {
            screen.shows_on(&monitor);
            screen.modes = modes;
        }
    }

    /// Another monitor where one was lit, without a moment between them that we saw: the one is gone, the other comes.
    fn change_monitor(&mut self, name: &str, monitor: &Monitor, retired: &mut Vec<Scanout>) {
        let Some(screen) = self.screens.get_mut(name) else { return };
        if !screen.is_lit() || screen.is_of(monitor) {
            return;
        }
        retire(&mut self.timers, screen.scanout.take(), retired);
        self.live(name, LifeEvent::Gone);
        self.place_windows();
    }

    /// Brings an event to a display's life and tells clients.
    pub fn live(&mut self, name: &str, event: LifeEvent) {
        let Some(screen) = self.screens.get_mut(name) else { return };
        let gone = event == LifeEvent::Gone && screen.is_lit();
        let before = screen.life.clone();
        let (life, action) = std::mem::take(&mut screen.life).on(event);
        screen.life = life;
        let changed = screen.life != before;
        // What is dark while nobody is there stays so when it comes back.
        if !screen.is_lit() && !self.power.is_dark() && std::mem::take(&mut screen.blank) {
            // When it comes back somebody wants to see it.
            self.backend.gpus_mut().for_each(|gpu| gpu.remember_light(name, true));
        }
        if gone {
            screen.losses += 1;
            screen.port_losses += 1;
            info!(display = name, losses = screen.losses, "monitor gone; its windows wait");
        }
        if changed {
            if let Some(display) = self.screens.get(name).map(|screen| self.report_display(screen)) {
                self.publish_event(&IpcEvent::Display { display });
            }
        }
        let Some(screen) = self.screens.get_mut(name) else { return };
        match action {
            Action::None => {}
            // With what it shows, which is not known here.
            Action::Appear => {}
            Action::Vanish => {
                if let Some(global) = screen.global.take() {
                    self.withdraw(global);
                }
            }
        }
    }

    /// Clients are told of a lit display that is a part of the layout; a mirror is none.
    fn announce(&mut self, name: &str) {
        let Some(screen) = self.screens.get_mut(name) else { return };
        match (screen.is_part(), screen.global.take()) {
            (true, None) => screen.global = Some(screen.output.create_global::<Self>(&self.display_handle)),
            (false, Some(global)) => self.withdraw(global),
            (_, global) => screen.global = global,
        }
    }

    /// Sets modes on every Gpu, with each new display's first frame. False where a commit failed
    /// that its test had passed; the culprit is noted and the road may be tried again.
    fn commit_all(&mut self, solution: &Solution) -> bool {
        if let Backend::Headless(_) = self.backend {
            return true;
        }
        let gpus: Vec<u64> = self.backend.gpus().map(|gpu| gpu.id).collect();
        // Each has its turn, whatever became of the one before.
        let done: Vec<bool> = gpus.into_iter().map(|gpu| self.commit_gpu(gpu, solution)).collect();
        done.into_iter().all(|good| good)
    }

    fn commit_gpu(&mut self, id: u64, solution: &Solution) -> bool {
        let mut lit: Vec<Lit> = Vec::new();
        let mut fresh: Vec<(String, Mode, Link)> = Vec::new();
        for solved in &solution.lit {
            let Target::Crtc { gpu, index } = solved.target else { continue };
            if gpu != id {
                continue;
            }
            let name = solved.display.name.clone();
            if let Some(known) = self.unchanged_head(id, index, &name, solved) {
                lit.push(known);
                continue;
            }
            fresh.push((name.clone(), solved.mode, solved.link));
            self.inherit_picture(id, index, &name, &solved.mode);
            let framebuffer = self.with_scene(&name, |state, scene| {
                let State { screens, backend, .. } = state;
                let scanout = screens.get_mut(&name)?.scanout.as_mut()?;
                scanout.forget();
                Some(scanout.first_frame(backend.gpu_mut(id)?, scene))
            });
            match framebuffer.flatten() {
                Some(Ok(framebuffer)) => {
                    let entry = self
                        .backend
                        .gpu_mut(id)
                        .and_then(|gpu| gpu.lit(&name, index, solved.mode, solved.link, framebuffer));
                    lit.extend(entry);
                }
                Some(Err(error)) => {
                    warn!(display = name, %error, "its first frame can't be drawn");
                    if let Some(gpu) = self.backend.gpu_mut(id) {
                        gpu.refuse(&name, solved.mode, solved.link);
                    }
                    return false;
                }
                None => return false,
            }
        }
        let crtcs: Vec<usize> = lit.iter().map(|lit| lit.head.crtc).collect();
        let Some(gpu) = self.backend.gpu_mut(id) else { return true };
        let is_new = gpu.is_new;
        if let Err(error) = gpu.commit(lit) {
            gpu.known = false;
            if gpu.denied {
                return true;
            }
            // Take one back at a time, the last first: the others keep their picture.
            let Some((name, mode, link)) = fresh.pop() else {
                // It refuses to switch displays off: there is nothing less to ask for.
                trouble!(self, "{} refuses to change its displays: {error}", gpu.path.display());
                return true;
            };
            warn!(gpu = %gpu.path.display(), display = name, %error, "mode setting failed after its test passed");
            gpu.refuse(&name, mode, link);
            return false;
        }
        gpu.retain(&crtcs);
        if is_new {
            self.hold_gpu(id);
        }
        for (name, mode, link) in fresh {
            info!(display = name, %mode, color_space = link.color_space.name(), bit_depth = link.bit_depth, "mode set");
            // Its first frame came with it, without a page flip.
            self.frames += 1;
            if self.screens.get(&name).is_some_and(|screen| !screen.blank) {
                self.redraw_event(&name, Event::Resumed);
            }
        }
        if self.frames > 0 {
            self.answer_frame();
        }
        true
    }

    /// The head of a CRTC that shows this display in this mode and by this link already.
    fn unchanged_head(&mut self, gpu: u64, crtc: usize, display: &str, solved: &Solved) -> Option<Lit> {
        let gpu = self.backend.gpu_mut(gpu)?;
        let known = gpu.lit.get(&crtc).filter(|lit| gpu.known && lit.display == display)?.clone();
        let timing = gpu.kms_mode(display, &solved.mode)?;
        let same =
            crate::gpu::device::same_timing(&timing, &known.head.mode) && known.head.link == solved.link;
        same.then_some(Lit { mode: solved.mode, ..known })
    }

    /// Displays named by `--display`: waited for, or their loss is the end.
    fn check_named(&mut self) {
        let connect_type = self.connect_type();
        for name in self.options.display.clone() {
            let meant = self.displays_meant(&name);
            let screens = || meant.iter().filter_map(|name| self.screens.get(name));
            // One of several that a pattern means is enough.
            if screens().any(Screen::is_lit) {
                continue;
            }
            // Who names a connector means whatever monitor is there.
            let losses =
                |screen: &Screen| if screen.name == name { screen.port_losses } else { screen.losses };
            let losses = screens().map(losses).max().unwrap_or(0);
            if losses > 0 && connect_type.is_final(losses) {
                info!(display = name, losses, ?connect_type, "the display's loss is final");
                self.leave();
            } else if losses == 0 && !connect_type.contains(ConnectType::KEEP_CONNECTION_OPEN) {
                let present = self.backend.connector_names().join(", ");
                self.fail(format!("display {name} is not there; there are: {present}. Plug it in, name another by --display, or wait for it with --connect-type=KEEP_CONNECTION_OPEN"));
            } else {
                info!(display = name, "waiting for the display");
            }
        }
    }

    /// How losses are taken: the command line's word, or else the configuration's.
    pub fn connect_type(&self) -> ConnectType {
        self.options.connect_type.unwrap_or(self.config.connect_type)
    }
}
