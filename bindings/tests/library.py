# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tests of the Python package with a headless service. A failure is an AssertionError."""

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


def errors_have_a_kind_and_name_the_cause():
    text = raises(geom_compositor.BadArgument, lambda: Compositor(window_titel="x"))
    assert "window_titel" in text, text
    raises(geom_compositor.BadArgument, lambda: Compositor(connect_type=8))
    raises(geom_compositor.BadArgument, lambda: Compositor(timeout=-1))
    raises(geom_compositor.NotStarted, Compositor().displays)
    missing = Compositor(executable="/nowhere/geom_compositor")
    assert "/nowhere/geom_compositor" in raises(geom_compositor.StartFailed, missing.start)
    wrong = raises(geom_compositor.StartFailed, Compositor(backend="headles").start)
    assert "headles" in wrong and "possible values" in wrong, wrong
    absent = Compositor(backend="headless", display="HDMI-A-9", start_timeout=3)
    text = raises(geom_compositor.StartFailed, absent.start)
    assert "no display is enabled" in text, text
    once = ConnectionType.DISCONNECT_ONCE
    final = Compositor(backend="headless", display="HDMI-A-9", connect_type=once)
    text = raises(geom_compositor.StartFailed, final.start)
    assert "HDMI-A-9" in text, text
    assert not final.is_running


def methods_return_the_state_of_the_service():
    config = {"window_title": "Test", "connect_type": BOTH}
    with Compositor(config, backend="headless") as compositor:
        assert compositor.is_running and compositor.owns_service
        status = compositor.status()
        assert (status.backend, status.title) == ("headless", "Test"), status
        assert status.session_active and status.gpus == (), status
        assert compositor.input_devices() == [], "a headless service has none"
        assert status.frames > 0, "started before the first frame"
        (display,) = compositor.displays()
        assert display.state == "enabled" and display.mode in display.modes, display
        assert compositor.screenshot(display.name).startswith(b"\x89PNG")
        raises(geom_compositor.NotFound, lambda: compositor.screenshot("HDMI-A-9"))
        raises(geom_compositor.BadArgument, lambda: compositor.request("dance"))
        (client,) = compositor.clients()
        assert client.connect_type == BOTH and client.app_id == "Test", client

        events = compositor.events()
        assert events.next(timeout=0) is None
        compositor.request("set_display", display=display.name, enabled=False)
        event = next(event for event in events if event.name == "display")
        assert event.display.state == "disabled", event
        compositor.request("set_display", display=display.name, enabled=True)

        # A second one connects to the running service, and stopping it does not stop the service.
        second = Compositor(name="second")
        second.start()
        assert not second.owns_service
        assert [client.app_id for client in second.clients()] == ["Test", "second"]
        second.stop()
        assert compositor.is_running
        compositor.start()
    assert not compositor.is_running


def compositor_can_be_started_again_after_its_service_was_killed():
    compositor = Compositor(backend="headless", connect_type=ConnectionType.DISCONNECT_ONCE)
    compositor.start()
    events = compositor.events()
    os.kill(compositor.status().pid, signal.SIGKILL)
    assert list(events) == [], "the stream ends with the session"
    raises(geom_compositor.Disconnected, compositor.displays)
    compositor.start()
    assert compositor.owns_service
    compositor.stop()


def service_stops_when_its_program_exits():
    code = """
from geom_compositor import Compositor
compositor = Compositor(backend="headless")
compositor.start()
print(compositor.status().pid)
"""
    program = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    pid = int(program.stdout)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        raise AssertionError("the service outlived the program that started it")


errors_have_a_kind_and_name_the_cause()
methods_return_the_state_of_the_service()
compositor_can_be_started_again_after_its_service_was_killed()
service_stops_when_its_program_exits()
print("all tests passed")
