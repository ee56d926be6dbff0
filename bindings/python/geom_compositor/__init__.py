# SPDX-License-Identifier: MIT OR Apache-2.0
"""Client library of geom_compositor, the DRM/KMS display manager: starts and commands the service,
and receives its events.

    from geom_compositor import Compositor, ConnectionType

    keep = ConnectionType.KEEP_CONNECTION_OPEN
    with Compositor(window_title="Lobby", connect_type=keep) as compositor:
        print(compositor.displays())

Methods raise CompositorError or a subclass: BadArgument, NotRunning, StartFailed, NotStarted,
Disconnected, TimedOut, NotAllowed, NotFound. The message tells a person the cause and the remedy.
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
    Disconnected,
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
    "Disconnected",
    "Display",
    "Event",
    "Events",
    "Gpu",
    "InputDevice",
    "LogicalRect",
    "Mode",
    "Monitor",
    "NotAllowed",
    "NotFound",
    "NotRunning",
    "NotStarted",
    "Rtt",
    "Signal",
    "StartFailed",
    "Status",
    "TimedOut",
    "Window",
]


class ConnectionType(enum.IntFlag):
    """What happens when the display that a service was started for is unplugged, or when the
    connection breaks.
    """

    #: The first disconnect is final.
    DISCONNECT_ONCE = 1
    #: Disconnects are survived. With both flags, the first is survived and the second is final.
    KEEP_CONNECTION_OPEN = 2

    def _names(self) -> str:
        return "|".join(str(flag.name) for flag in ConnectionType if flag in self)


@dataclasses.dataclass(frozen=True)
class Mode:
    """A display mode."""

    #: Width in pixels.
    width: int
    #: Height in pixels.
    height: int
    #: Refresh rate in millihertz.
    refresh: int


@dataclasses.dataclass(frozen=True)
class LogicalRect:
    """A rectangle of the layout, in logical pixels."""

    #: Left edge.
    x: int
    #: Top edge.
    y: int
    #: Width.
    width: int
    #: Height.
    height: int


@dataclasses.dataclass(frozen=True)
class Monitor:
    """The identity of a monitor, from its EDID."""

    #: Manufacturer: three letters of the PNP registry.
    make: str
    #: Model name, or the product code if the EDID has no name.
    model: str
    #: Serial number, if the EDID has one.
    serial: Optional[str] = None
    #: Hash of the whole EDID: "edid:" and 16 hexadecimal digits.
    edid: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Signal:
    """The signal that a display gets besides the mode, and the color conversion for it."""

    #: "srgb", "display-p3", "bt2020", "bt2020-pq", "bt2020-hlg", "native", or the path of an ICC
    #: profile.
    color_space: str
    #: "automatic", "full" or "limited".
    rgb_range: str
    #: "none", "graphics", "photo", "cinema" or "game".
    content_type: str
    #: Whether variable refresh rate is enabled now.
    vrr: bool
    #: "none", "full", "center" or "aspect".
    scaling: str = "none"
    #: Upper limit of bits per color channel, if the connector has that property.
    bit_depth: Optional[int] = None
    #: Color temperature of white in kelvin; None if white is the monitor's own.
    white_point: Optional[int] = None
    #: Brightness as a fraction of the display's maximum; None if it is the maximum.
    brightness: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class Display:
    """A monitor that the service drives, or drove until it was unplugged."""

    #: Connector name, such as "HDMI-A-1".
    name: str
    #: "enabled", "disabled", "disconnected" or "failed".
    state: str
    #: Position and size in the layout.
    logical: LogicalRect
    #: Device pixels per logical pixel.
    scale: float
    #: "normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180" or "flipped-270".
    transform: str
    #: Number of times that its monitor was unplugged.
    disconnects: int
    #: Whether it has the keyboard focus.
    focused: bool
    #: Current mode, while the display is enabled.
    mode: Optional[Mode] = None
    #: Timing of the current mode, if it is not in the monitor's mode list.
    modeline: Optional[str] = None
    #: Modes that the display offers, best first.
    modes: tuple[Mode, ...] = ()
    #: Why the display failed, in the state "failed".
    reason: Optional[str] = None
    #: The connected monitor, or the last one, if it has an EDID.
    monitor: Optional[Monitor] = None
    #: Path of the physical port, such as "pci-0000:00:02.0/DP-1".
    port: Optional[str] = None
    #: Signal on the connector, while the display is enabled.
    signal: Optional[Signal] = None
    #: Whether it is powered down (DPMS) and still part of the layout.
    blanked: bool = False
    #: Name of the display whose content it shows, if it is a mirror.
    mirror: Optional[str] = None
    #: Configured settings that could not be applied, each with the reason.
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rtt:
    """Round-trip times of a client's heartbeats, in microseconds."""

    #: Of the last heartbeat.
    last: int
    #: Minimum since the client connected.
    min: int
    #: Maximum since the client connected.
    max: int


@dataclasses.dataclass(frozen=True)
class Client:
    """A connection, of a Wayland client or of a control client."""

    #: Id of the connection, unique while the service runs.
    id: int
    #: "wayland" or "control".
    kind: str
    #: "accepted", "alive", "unresponsive", "lost" (its session is kept) or "closed".
    state: str
    #: Process id; 0 if the process is in another PID namespace.
    pid: int
    #: User id.
    uid: int
    #: Connection type.
    connect_type: ConnectionType
    #: Seconds since the connection was accepted.
    connected_s: float
    #: Seconds since the client last sent anything.
    idle_s: float
    #: Bytes sent to the client that it has not read.
    unread_bytes: int
    #: Number of its toplevel windows.
    windows: int
    #: Names of the displays that show its windows.
    displays: tuple[str, ...] = ()
    #: Path of the client's executable, if the kernel allows to read it.
    executable: Optional[str] = None
    #: Application id of a Wayland client's newest window, or the name of a control client.
    app_id: Optional[str] = None
    #: Sandbox engine and application id, if it connected through wp_security_context_v1.
    security_context: Optional[str] = None
    #: Round-trip times of its heartbeats, if one was answered.
    rtt_us: Optional[Rtt] = None


@dataclasses.dataclass(frozen=True)
class Window:
    """A toplevel window."""

    #: Id of the window, unique while the service runs.
    id: int
    #: Id of its client.
    client: int
    #: Whether the client asked for fullscreen.
    fullscreen: bool
    #: Whether it has the keyboard focus.
    focused: bool
    #: Application id, if the client has set one.
    app_id: Optional[str] = None
    #: Title, if the client has set one.
    title: Optional[str] = None
    #: Name of the display that the window is assigned to.
    assigned_output: Optional[str] = None
    #: Name of the enabled display that shows it: the assigned one, or its neighbor while that is
    #: disconnected.
    display: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class InputDevice:
    """An input device of the seat."""

    #: Kernel name in /dev/input, such as "event3".
    sysname: str
    #: Name that the device reports.
    name: str
    #: Vendor id of the device's bus, 0 if it has none.
    vendor: int
    #: Product id of the vendor, 0 if it has none.
    product: int
    #: "keyboard", "pointer", "touch", "tablet_tool", "tablet_pad", "gesture" and "switch".
    capabilities: tuple[str, ...] = ()
    #: What it is: "keyboard", "mouse", "touchpad", "pointing-stick", "touch", "pen", "pad" and
    #: "switch".
    kinds: tuple[str, ...] = ()
    #: Port that it is plugged into: udev's ID_PATH, or else the kernel's phys.
    port: Optional[str] = None
    #: Name of the display that a touchscreen belongs to, or that another device is configured for.
    display: Optional[str] = None
    #: Settings that it has, with their present values, by their names in [[input]] of the
    #: configuration.
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    #: Where settings that are not the device's own come from, by the setting's name.
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    #: Configured settings that do not apply, each with the reason.
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU that the service has open."""

    #: Path of the device, such as "/dev/dri/card0".
    path: str
    #: Name of the kernel's driver.
    driver: str
    #: Whether commits are atomic; otherwise the legacy KMS interface is used.
    atomic: bool
    #: "gles", or "pixman", which renders on the CPU.
    renderer: str


@dataclasses.dataclass(frozen=True)
class Status:
    """The state of the service as a whole."""

    #: Version of the service.
    version: str
    #: Process id of the service.
    pid: int
    #: Seconds since the service started.
    uptime_s: float
    #: "kms" or "headless".
    backend: str
    #: The value of WAYLAND_DISPLAY for clients.
    wayland_display: str
    #: Number of enabled displays of the layout; mirrors are not counted.
    enabled_displays: int
    #: Frames presented on all displays since the service started.
    frames: int
    #: Number of connections.
    clients: int
    #: Number of connections that are unresponsive.
    unresponsive_clients: int
    #: Number of connections refused since the service started.
    refused_clients: int
    #: Recent problems that a person should know of, oldest first.
    notices: tuple[str, ...] = ()
    #: Title that the service was started with.
    title: Optional[str] = None
    #: Path of the configuration file, if there is one.
    config: Optional[str] = None
    #: Name of the user whose profile applies.
    user: str = ""
    #: Path of that profile. The file need not exist.
    profile: str = ""
    #: Whether libseat's session is enabled; it is not while another VT is active.
    session_active: bool = True
    #: Open GPUs, the primary one first.
    gpus: tuple[Gpu, ...] = ()


@dataclasses.dataclass(frozen=True)
class Event:
    """An event. docs/control.md describes each."""

    #: "display", "layout", "client_connected", "client_state", "client_disconnected", "window",
    #: "window_closed", "focus", "input_device_added", "input_device_removed", "calibration",
    #: "gpu_added", "gpu_removed", "session", "program_ended", "config_error", "config_applied" or
    #: "events_lost".
    name: str
    #: The whole event, as in the protocol.
    raw: Mapping[str, Any]
    #: The display of the event "display".
    display: Optional[Display] = None
    #: The connection of "client_connected" and "client_state".
    client: Optional[Client] = None
    #: The window of the event "window".
    window: Optional[Window] = None
    #: The device of "input_device_added" and "input_device_removed".
    device: Optional[InputDevice] = None
    #: The GPU of "gpu_added" and "gpu_removed".
    gpu: Optional[Gpu] = None


_T = TypeVar("_T")


def _make(kind: type[_T], raw: Mapping[str, Any]) -> _T:
    """Makes a dataclass of a JSON object. Fields that this version does not know are ignored."""
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
    "logical": lambda raw: _make(LogicalRect, raw),
    "monitor": lambda raw: _make(Monitor, raw),
    "signal": lambda raw: _make(Signal, raw),
    "rtt_us": lambda raw: _make(Rtt, raw),
    "kinds": tuple,
    "connect_type": _flags,
    "displays": tuple,
    "notices": tuple,
    "capabilities": tuple,
    "gpus": lambda raw: tuple(_make(Gpu, gpu) for gpu in raw),
    "warnings": tuple,
}


def _event(raw: Mapping[str, Any]) -> Event:
    def part(name: str, kind: type[_T]) -> Optional[_T]:
        value = raw.get(name)
        return _make(kind, value) if isinstance(value, Mapping) else None

    return Event(
        name=raw["event"],
        raw=raw,
        display=part("display", Display),
        client=part("client", Client),
        window=part("window", Window),
        device=part("device", InputDevice),
        gpu=part("gpu", Gpu),
    )


class Events(Iterator[Event]):
    """A stream of events.

    As an iterator, it waits for each event and ends with the session. At most 4096 unread events
    are kept; if there are more, they are replaced by the event "events_lost".
    """

    def __init__(self, native: _native.Events) -> None:
        self._native = native

    def fileno(self) -> int:
        """Returns a descriptor that is readable while there are events, for select and asyncio."""
        return self._native.fileno()

    def next(self, timeout: Optional[float] = None) -> Optional[Event]:
        """Waits for the next event, up to `timeout` seconds, or without limit if that is None.

        Returns None if there is none in time. Raises StopIteration if the session has ended and no
        unread event is left.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        while True:
            raw = self._native.take()
            if raw is not None:
                return _event(raw)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            # Waits in Python and not in the library, so that Ctrl+C interrupts it.
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
    """The display manager, for a program that starts, commands and stops it. Any thread may use it.

    Takes a mapping or keywords. All keys are optional:

    window_title      title of the service, on its diagnostic screen and in its status
    connect_type      a ConnectionType
    backend           "auto", "kms" or "headless"
    display           name of the display to drive, or a list of names; all by default
    renderer          "auto", "pixman", "gles" or "llvmpipe"
    config            path of the configuration file
    exec              shell command that the service starts as its client, or a list of commands
    log               log filter, such as "info" or "debug,smithay=warn"
    log_file          file that the log is appended to; by default, standard error
    executable        path of the program to start; by default, the one that
                      GEOM_COMPOSITOR_EXECUTABLE names, geom_compositor in PATH, or the installed
                      one
    socket            path of the control socket; by default, GEOM_COMPOSITOR_SOCKET, or the user's
                      service, then the system service
    name              name of this program in the service's list of clients; by default,
                      window_title
    token             token of the session to resume; if the service has not kept that session, a
                      new one begins
    start_timeout     maximum time to start, including the first frame, in seconds; 30 by default
    timeout           maximum time to wait for a reply, in seconds; 10 by default

    connect_type, socket, name, token and the timeouts always apply. The other keys apply only to a
    service that is started, not to one that runs already. An unknown key or a value that is not
    allowed raises BadArgument.

    As a context manager, it starts the service and stops it at the end of the block. What start()
    started is also stopped when the interpreter exits.
    """

    def __init__(self, config: Optional[Mapping[str, Any]] = None, /, **keywords: Any) -> None:
        values: dict[str, Any] = {**(config or {}), **keywords}
        connect_type = values.get("connect_type")
        if isinstance(connect_type, int):
            known = int(ConnectionType.DISCONNECT_ONCE | ConnectionType.KEEP_CONNECTION_OPEN)
            if connect_type & ~known:
                raise BadArgument(f"connect_type {connect_type:#x} has unknown bits")
            values["connect_type"] = ConnectionType(connect_type)._names() or None
        for name, value in values.items():
            if isinstance(value, os.PathLike):
                values[name] = os.fspath(value)
        configured = {name: value for name, value in values.items() if value is not None}
        self._native = _native.Compositor(configured)

    def start(self) -> None:
        """Connects to the running service, or starts one. Returns after a frame was presented.

        Does nothing if it was started before and its session has not ended. Raises StartFailed if
        the service can't run or presents no frame within `start_timeout`, and NotAllowed if this
        user may not command the service.
        """
        self._native.start()
        _running.add(self)

    def stop(self) -> None:
        """Reverts start().

        Stops the service and its clients if start() started it, and otherwise only ends this
        program's session. Does nothing if nothing was started.
        """
        _running.discard(self)
        self._native.stop()

    def __enter__(self) -> Compositor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether it was started and its session has not ended."""
        return self._native.is_running()

    @property
    def owns_service(self) -> bool:
        """Whether start() started the service and it runs."""
        return self._native.owns_service()

    @property
    def token(self) -> str:
        """Token that resumes the session from another process, for programs that may be killed.

        A secret. Raises NotStarted.
        """
        return self._native.token()

    def displays(self) -> list[Display]:
        """Lists the displays. Raises as request()."""
        return [_make(Display, raw) for raw in self.request("displays")["displays"]]

    def clients(self) -> list[Client]:
        """Lists the connections. Raises as request()."""
        return [_make(Client, raw) for raw in self.request("clients")["clients"]]

    def windows(self) -> list[Window]:
        """Lists the toplevel windows. Raises as request()."""
        return [_make(Window, raw) for raw in self.request("windows")["windows"]]

    def input_devices(self) -> list[InputDevice]:
        """Lists the input devices. Raises as request()."""
        return [_make(InputDevice, raw) for raw in self.request("input_devices")["input_devices"]]

    def status(self) -> Status:
        """Queries the state of the service. Raises as request()."""
        return _make(Status, self.request("status")["status"])

    def screenshot(self, display: str) -> bytes:
        """Takes a screenshot of a display. Returns the bytes of a PNG file. Raises as request()."""
        return self._native.screenshot(display)

    def events(self) -> Events:
        """Returns a stream of all events from now on. Raises as request()."""
        return Events(self._native.events())

    def request(self, request: str, /, **fields: Any) -> Any:
        """Sends any request of docs/control.md, such as request("identify", seconds=3).

        Returns the response: "done", or a dictionary with one key. Raises NotStarted, Disconnected
        or TimedOut, and for the service's error NotAllowed, NotFound, BadArgument or
        CompositorError.
        """
        return self._native.request({"request": request, **fields})
