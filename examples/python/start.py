# SPDX-License-Identifier: MIT OR Apache-2.0
# Starts the compositor for 5 seconds: on the machine's monitors, or on a virtual display if there
# is no GPU. Without a client, it shows the diagnostic screen.
import sys, time
from geom_compositor import Compositor, ConnectionType

config = {
    "window_title": "Geometry OS Compositor",
    "connect_type": ConnectionType.DISCONNECT_ONCE | ConnectionType.KEEP_CONNECTION_OPEN,
}
compositor = Compositor(config)
compositor.start()
time.sleep(5)
compositor.stop()
