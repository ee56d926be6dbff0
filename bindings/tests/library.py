"""What the Python library promises, against a real service; the messages are of the failing line."""

import contextlib
import os
import signal
import subprocess
import sys

import geom_compositor
from geom_compositor import Compositor, ConnectionType

BOTH = ConnectionType.DISCONNECT_ONCE | ConnectionType.KEEP_CONNECTION_OPEN


def raises(kind, call):
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def reasons_are_told():
    assert "window_titel" in raises(geom_compositor.BadArgument, lambda: Compositor(window_titel="x"))
    raises(geom_compositor.BadArgument, lambda: Compositor(connect_type=8))
    raises(geom_compositor.BadArgument, lambda: Compositor(timeout=-1))
    raises(geom_compositor.NotStarted, Compositor().displays)
    missing = Compositor(executable="/nowhere/geom_compositor")
    assert "/nowhere/geom_compositor" in raises(geom_compositor.StartFailed, missing.start)
    wrong = raises(geom_compositor.StartFailed, Compositor(backend="headles").start)
    assert "headles" in wrong and "possible values" in wrong, wrong
    absent = Compositor(backend="headless", display="HDMI-A-9", start_timeout=3)
    text = raises(geom_compositor.StartFailed, absent.start)
    assert "no display is lit" in text, text
    final = Compositor(backend="headless", display="HDMI-A-9", connect_type=ConnectionType.DISCONNECT_ONCE)
    text = raises(geom_compositor.StartFailed, final.start)
    assert "HDMI-A-9" in text, text
    assert not final.is_running


def everything_is_reached():
    with Compositor({"window_title": "Test", "connect_type": BOTH}, backend="headless") as compositor:
        assert compositor.is_running and compositor.owns_service
        status = compositor.status()
        assert (status.backend, status.title) == ("headless", "Test"), status
        assert status.frames > 0, "started before the first frame"
        (display,) = compositor.displays()
        assert display.state == "lit" and display.mode in display.modes, display
        assert compositor.screenshot(display.name).startswith(b"\x89PNG")
        raises(geom_compositor.NotFound, lambda: compositor.screenshot("HDMI-A-9"))
        raises(geom_compositor.BadArgument, lambda: compositor.request("dance"))
        (client,) = compositor.clients()
        assert client.connect_type == BOTH and client.app_id == "Test", client

        events = compositor.events()
        assert events.next(timeout=0) is None
        compositor.request("set_display", display=display.name, power=False)
        event = next(event for event in events if event.name == "display")
        assert event.display.state == "off", event
        compositor.request("set_display", display=display.name, power=True)

        # A second one finds the first's service, and ends nothing but itself.
        second = Compositor(name="second")
        second.start()
        assert not second.owns_service
        assert [client.app_id for client in second.clients()] == ["Test", "second"]
        second.stop()
        assert compositor.is_running
        compositor.start()
    assert not compositor.is_running


def a_service_that_dies_is_noticed_and_started_anew():
    compositor = Compositor(backend="headless", connect_type=ConnectionType.DISCONNECT_ONCE)
    compositor.start()
    events = compositor.events()
    os.kill(compositor.status().pid, signal.SIGKILL)
    assert list(events) == [], "the stream ends with the session"
    raises(geom_compositor.Gone, compositor.displays)
    compositor.start()
    assert compositor.owns_service
    compositor.stop()


def a_program_that_ends_ends_its_service():
    code = "from geom_compositor import Compositor; c = Compositor(backend='headless'); c.start(); print(c.status().pid)"
    pid = int(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        raise AssertionError("the service outlived the program that started it")


reasons_are_told()
everything_is_reached()
a_service_that_dies_is_noticed_and_started_anew()
a_program_that_ends_ends_its_service()
print("all is as promised")
