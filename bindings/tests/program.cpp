// The C++ twin of the Python program in the README, and what the header has beside.
#include <chrono>
#include <iostream>

#include "geom_compositor.hpp"

using namespace std::chrono_literals;

int main() {
  geom::Config config;
  config.window_title = "Geometry OS Compositor";
  config.connect_type = geom::ConnectType::DisconnectOnce | geom::ConnectType::KeepConnectionOpen;
  geom::Compositor compositor(config);

  try {
    compositor.displays();
    return 2;
  } catch (const geom::NotStarted &) {
  }
  compositor.start();

  geom::Events events = compositor.events();
  const auto displays = compositor.displays();
  for (const geom::Display &display : displays) {
    std::cout << "display " << display.name << ' ' << display.mode->width << 'x' << display.mode->height << '\n';
  }
  compositor.request("{\"request\":\"set_display\",\"display\":\"" + displays.at(0).name + "\",\"power\":false}");
  for (;;) {
    const auto event = events.next(10s);
    if (!event) return 3;
    if (event->display && event->display->state == GEOM_DISPLAY_OFF) {
      std::cout << "event " << event->name << ' ' << event->display->name << '\n';
      break;
    }
  }

  const auto refused = compositor.try_screenshot("HDMI-A-99", "none.png");
  if (refused || refused.error().status != GEOM_NOT_FOUND) return 4;
  for (const geom::Client &client : compositor.clients()) {
    std::cout << "client " << client.app_id.value_or("?") << ' ' << static_cast<unsigned>(client.connect_type)
              << '\n';
  }
  std::cout << "owns " << compositor.owns_service() << '\n';
  compositor.stop();
  std::cout << "ended" << std::endl;
}
