"""Starts and commands geom_compositor, the DRM/KMS display manager, and hears what it does.

    from geom_compositor import Compositor, ConnectionType

    with Compositor(window_title="Lobby", connect_type=ConnectionType.KEEP_CONNECTION_OPEN) as compositor:
        print(compositor.displays())
"""

from __future__ import annotations

import atexit
import dataclasses
import enum
import os
import select
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Optional, TypeVar

from . import _native
from ._native import (
    BadArgument,
    CompositorError,
    Gone,
    NotAllowed,
    NotFound,
    NotRunning,
    NotStarted,
    StartFailed,
    TimedOut,
)

__all__ = [
    "BadArgument",
    "Client",
    "Compositor",
    "CompositorError",
    "ConnectionType",
    "Display",
    "Event",
    "Events",
    "Gone",
    "Mode",
    "NotAllowed",
    "NotFound",
    "NotRunning",
    "NotStarted",
    "Place",
    "Rtt",
    "StartFailed",
    "Status",
    "TimedOut",
    "Window",
]


class ConnectionType(enum.IntFlag):
    """How the loss of a display or of the connection is taken."""

    #: A loss is final.
    DISCONNECT_ONCE = 1
    #: A loss is waited out. With both, the first is waited out and the second is final.
    KEEP_CONNECTION_OPEN = 2

    def _names(self) -> str:
        return "|".join(str(flag.name) for flag in ConnectionType if flag in self)


@dataclasses.dataclass(frozen=True)
class Mode:
    """Width and height in pixels, refresh in millihertz."""

    width: int
    height: int
    refresh: int


@dataclasses.dataclass(frozen=True)
class Place:
    """A rectangle of the layout, in logical pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class Monitor:
    """Who a monitor is, by its EDID."""

    #: Three letters of the PNP registry.
    make: str
    model: str
    serial: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Display:
    """A monitor that is driven, or was."""

    name: str
    #: "lit", "off", "dark" (its monitor is gone) or "failed".
    state: str
    place: Place
    #: Device pixels for one logical pixel.
    scale: float
    #: "normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180" or "flipped-270".
    transform: str
    #: How often its monitor was lost.
    losses: int
    focused: bool
    #: While it is lit.
    mode: Optional[Mode] = None
    #: The modes that it can be set to, best first.
    modes: tuple[Mode, ...] = ()
    #: Why it failed, where it did.
    reason: Optional[str] = None
    #: Who is plugged in, or was last, where it says so.
    monitor: Optional[Monitor] = None


@dataclasses.dataclass(frozen=True)
class Rtt:
    """Round-trip times of heartbeats, in microseconds."""

    last: int
    least: int
    most: int


@dataclasses.dataclass(frozen=True)
class Client:
    """One connection."""

    id: int
    #: "wayland" or "control".
    kind: str
    #: "accepted", "alive", "unresponsive", "lost" or "closed".
    state: str
    pid: int
    uid: int
    connect_type: ConnectionType
    #: Seconds since it was accepted.
    connected_s: float
    #: Seconds since it was last heard of.
    silent_s: float
    #: Bytes that it has not read.
    queued: int
    windows: int
    #: The displays that its windows are shown on.
    displays: tuple[str, ...] = ()
    executable: Optional[str] = None
    app_id: Optional[str] = None
    security_context: Optional[str] = None
    rtt_us: Optional[Rtt] = None


@dataclasses.dataclass(frozen=True)
class Window:
    """A toplevel window."""

    id: int
    #: Of its connection.
    client: int
    fullscreen: bool
    focused: bool
    app_id: Optional[str] = None
    title: Optional[str] = None
    #: The display that it belongs to.
    home: Optional[str] = None
    #: The lit display that it is shown on.
    display: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Status:
    """The service as a whole."""

    version: str
    pid: int
    uptime_s: float
    backend: str
    wayland_display: str
    displays_lit: int
    frames: int
    clients: int
    unresponsive: int
    refused: int
    troubles: tuple[str, ...] = ()
    title: Optional[str] = None
    config: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Event:
    """What happened; docs/control.md tells of each name."""

    name: str
    #: All of it, as the protocol says it.
    raw: Mapping[str, Any]
    display: Optional[Display] = None
    client: Optional[Client] = None
    window: Optional[Window] = None


_T = TypeVar("_T")


def _make(kind: type[_T], raw: Mapping[str, Any]) -> _T:
    """Of what the protocol says, what this version knows."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in raw:
            value = raw[field.name]
            maker = _MAKERS.get(field.name)
            values[field.name] = maker(value) if maker and value is not None else value
    return kind(**values)


def _flags(names: str) -> ConnectionType:
    flags = ConnectionType(0)
    for name in names.split("|"):
        flags |= ConnectionType[name]
    return flags


_MAKERS: dict[str, Any] = {
    "mode": lambda raw: _make(Mode, raw),
    "modes": lambda raw: tuple(_make(Mode, mode) for mode in raw),
    "place": lambda raw: _make(Place, raw),
    "monitor": lambda raw: _make(Monitor, raw),
    "rtt_us": lambda raw: _make(Rtt, raw),
    "connect_type": _flags,
    "displays": tuple,
    "troubles": tuple,
}


def _event(raw: Mapping[str, Any]) -> Event:
    def part(name: str, kind: type[_T]) -> Optional[_T]:
        value = raw.get(name)
        return _make(kind, value) if isinstance(value, Mapping) else None

    return Event(raw["event"], raw, part("display", Display), part("client", Client), part("window", Window))


class Events(Iterator[Event]):
    """A stream of events: an iterator that waits for each, and ends with the session."""

    def __init__(self, native: _native.Events) -> None:
        self._native = native

    def fileno(self) -> int:
        """A descriptor that is readable while there are events, for select and asyncio."""
        return self._native.fileno()

    def next(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event; None where none comes in so many seconds. StopIteration at the session's end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        while True:
            raw = self._native.take()
            if raw is not None:
                return _event(raw)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            # The interpreter waits, so that Ctrl+C is heard.
            if not poll.poll(None if left is None else left * 1000):
                return None

    def __next__(self) -> Event:
        while True:
            event = self.next()
            if event is not None:
                return event


_running: weakref.WeakSet[Compositor] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for compositor in list(_running):
        compositor.stop()


class Compositor:
    """The display manager, as a program starts, commands and stops it. Any thread may use it.

    Of a mapping or of keywords; all are optional:

    window_title      what the service is called, on its diagnostic screen and in its status
    connect_type      a ConnectionType
    backend           "auto", "kms" or "headless"
    display           a connector's name or a list of them: only these are driven
    renderer          "auto", "pixman", "gles" or "llvmpipe"
    config            the configuration file
    exec              a shell command or a list of them, started as clients
    log, log_file     what is logged, and the file that it goes to instead of standard error
    executable        the program; GEOM_COMPOSITOR_EXECUTABLE, PATH or the place of installation otherwise
    socket            the control socket; GEOM_COMPOSITOR_SOCKET or its default places otherwise
    name              what this program is called among the service's clients
    token             of a session to resume; a new one begins where the service has not kept it
    start_timeout     the most seconds that starting may take, 30 otherwise
    timeout           the most seconds that an answer may take, 10 otherwise

    All but connect_type, socket, name, token and the times are of a service that is started, and not of one that runs.
    """

    def __init__(self, config: Optional[Mapping[str, Any]] = None, /, **keywords: Any) -> None:
        wished: dict[str, Any] = {**(config or {}), **keywords}
        connect_type = wished.get("connect_type")
        if isinstance(connect_type, int):
            known = int(ConnectionType.DISCONNECT_ONCE | ConnectionType.KEEP_CONNECTION_OPEN)
            if connect_type & ~known:
                raise BadArgument(f"connect_type {connect_type:#x} has bits that mean nothing")
            wished["connect_type"] = ConnectionType(connect_type)._names() or None
        for name, value in wished.items():
            if isinstance(value, os.PathLike):
                wished[name] = os.fspath(value)
        self._native = _native.Compositor({name: value for name, value in wished.items() if value is not None})

    def start(self) -> None:
        """Connects to the service that runs, or starts one; returns when a frame is on a display."""
        self._native.start()
        _running.add(self)

    def stop(self) -> None:
        """Ends what start() started: the service, or, where that ran already, this connection only."""
        _running.discard(self)
        self._native.stop()

    def __enter__(self) -> Compositor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """It was started, and its session goes on."""
        return self._native.is_running()

    @property
    def owns_service(self) -> bool:
        """start() began the service, and it runs."""
        return self._native.owns_service()

    @property
    def token(self) -> str:
        """What resumes the session from another process, should this one be killed."""
        return self._native.token()

    def displays(self) -> list[Display]:
        return [_make(Display, raw) for raw in self.request("displays")["displays"]]

    def clients(self) -> list[Client]:
        return [_make(Client, raw) for raw in self.request("clients")["clients"]]

    def windows(self) -> list[Window]:
        return [_make(Window, raw) for raw in self.request("windows")["windows"]]

    def status(self) -> Status:
        return _make(Status, self.request("status")["status"])

    def screenshot(self, display: str) -> bytes:
        """What a display shows, as a PNG."""
        return self._native.screenshot(display)

    def events(self) -> Events:
        """What happens from now on."""
        return Events(self._native.events())

    def request(self, request: str, /, **fields: Any) -> Any:
        """Anything that the protocol has, as docs/control.md shows it: request("identify", seconds=3)."""
        return self._native.request({"request": request, **fields})
