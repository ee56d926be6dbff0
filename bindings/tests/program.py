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
