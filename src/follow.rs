//! Monitors that come back at another connector: place, windows, losses and changes by hand go with them.

use std::collections::BTreeMap;

use tracing::info;

use crate::display::lifecycle::Event as LifeEvent;
use crate::display::moves::{moves, who, At, Who};
use crate::display::plan::{Gpu, Place, Wish};
use crate::road::retire;
use crate::scanout::surface::Scanout;
use crate::state::State;

/// So many monitors are remembered that are away.
const MOST: usize = 64;

/// What is remembered of a monitor that is away while its connector is another's.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Where it was last.
    pub connector: String,
    pub place: Place,
    losses: u32,
    change: Option<Wish>,
}

impl State {
    /// Brings what is remembered to where monitors are now. Scanouts of displays that lost theirs are kept in `retired`.
    pub fn follow_monitors(&mut self, present: &[Gpu], retired: &mut Vec<Scanout>) {
        let seen = self.screens.iter().map(|screen| {
            (screen.name.clone(), (screen.monitor.identity.clone(), self.ports.get(&screen.name).cloned()))
        });
        let seen: BTreeMap<String, At> = seen.collect();
        let connectors = || present.iter().flat_map(|gpu| &gpu.connectors);
        let there: BTreeMap<String, At> = connectors()
            .filter(|connector| connector.connected)
            .map(|connector| (connector.name.clone(), (connector.monitor.clone(), connector.port.clone())))
            .collect();
        let (seen, there) = who(&seen, &there);
        let moves = moves(&seen, &there);
        for (connector, monitor) in moves.leave {
            let replaced = there.contains_key(&connector);
            self.leave_connector(&connector, monitor, replaced, retired);
        }
        for (connector, monitor) in moves.arrive {
            if let Some(memory) = self.away.remove(&monitor) {
                self.arrive_at(&connector, &monitor, memory);
            }
        }
        // A hub's connectors are new ones each time: the old ones are nobody's.
        let exists = |name: &str| connectors().any(|connector| connector.name == name);
        self.screens.retain(|screen| exists(&screen.name) || screen.is_lit() || screen.place.width > 0);
    }

    /// The monitor that is there in its place takes over where that stood, until it says otherwise.
    fn leave_connector(&mut self, connector: &str, monitor: Who, replaced: bool, retired: &mut Vec<Scanout>) {
        let Some(screen) = self.screens.get_mut(connector) else { return };
        let scanout = screen.scanout.take();
        retire(&mut self.timers, scanout, retired);
        self.live(connector, LifeEvent::Gone);
        let change = self.overrides.remove(connector);
        let Some(screen) = self.screens.get_mut(connector) else { return };
        let place = screen.place;
        if !replaced {
            screen.place = Place { x: 0, y: 0, width: 0, height: 0 };
        }
        let losses = std::mem::take(&mut screen.losses);
        screen.monitor.identity = None;
        screen.monitor.edid = None;
        self.ports.remove(connector);
        let memory = Memory { connector: connector.to_owned(), place, losses, change };
        self.rename_homes(connector, &monitor.to_string());
        if self.away.len() == MOST {
            self.away.pop_first();
        }
        self.away.insert(monitor, memory);
    }

    fn arrive_at(&mut self, connector: &str, monitor: &Who, memory: Memory) {
        info!(%monitor, from = memory.connector, to = connector, losses = memory.losses, "monitor came back elsewhere");
        let screen = self.screens.entry(connector);
        screen.place = memory.place;
        screen.losses = memory.losses;
        self.overrides.extend(memory.change.map(|change| (connector.to_owned(), change)));
        self.rename_homes(&monitor.to_string(), connector);
    }

    /// Windows, and applications that are to come back, wait for another name from now on.
    fn rename_homes(&mut self, from: &str, to: &str) {
        let windows = self.shell.windows.iter_mut().chain(&mut self.shell.unmapped);
        let homes = windows.filter_map(|managed| managed.home.as_mut());
        let homes = homes.chain(self.clients.places.values_mut());
        homes.filter(|home| *home == from).for_each(|home| to.clone_into(home));
        self.keep();
    }

    /// Where windows of a monitor that is away show meanwhile: its connector's other monitor, or its neighbour.
    pub fn stand_in_for(&self, name: &str) -> Option<String> {
        let (_, memory) = self.away.iter().find(|(monitor, _)| monitor.to_string() == name)?;
        let port = self.screens.get(&memory.connector).filter(|screen| screen.is_part());
        port.or_else(|| self.screens.nearest(memory.place)).map(|screen| screen.name.clone())
    }
}
