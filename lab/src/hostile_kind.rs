//! The kinds of hostile clients, for the program that is one and for those that start it.

use std::fmt;

use clap::ValueEnum;

/// What a hostile client of the lab (`geom-lab-hostile`) does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostileKind {
    /// A popup that is its own parent.
    PopupCycle,
    /// A pool that is resized to no bytes.
    EmptyPool,
    /// A title that is null.
    NullString,
    /// A global that is bound without its interface's name.
    UnnamedGlobal,
    /// A subsurface that is placed above itself.
    SubsurfaceCycle,
    /// A cursor shape for a seat's pointer, whether it has one or not.
    CursorShape,
    /// Requests without end.
    Requests,
    /// File descriptors without end.
    Descriptors,
    /// Surfaces without end.
    Surfaces,
    /// 80,000 surfaces, created and destroyed.
    ShortLivedSurfaces,
    /// Pools of shared memory without end.
    Pools,
    /// Windows without end, each the parent of the next.
    Dialogs,
    /// Subsurfaces in each other without end.
    Subsurfaces,
    /// Popups on each other without end.
    Popups,
    /// A region of rectangles without end.
    Region,
    /// Popups that take all input.
    PopupGrab,
    /// Requests whose answers are never read.
    NeverReads,
    /// Bytes that are no requests.
    Garbage,
    /// Control requests of 1 MiB.
    ControlLines,
    /// Control connections without end.
    ControlConnections,
}

impl fmt::Display for HostileKind {
    /// Writes the name that the program takes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
