// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Starts the compositor, lists displays and connections, disables a display and waits for the event
// about it, enables the display again, and stops the compositor.
//
//     c++ -std=c++17 control.cpp $(pkg-config --cflags --libs geom_compositor) -o control
#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

#include "geom_compositor.hpp"

using namespace std::chrono_literals;

namespace {

/// Waits until a display is disabled, for at most 10 seconds between two events.
void wait_until_disabled(geom::Events &events) {
  while (const auto event = events.next(10s)) {
    if (event->display && event->display->state == GEOM_DISPLAY_DISABLED) {
      std::cout << "event " << event->name << ' ' << event->display->name << '\n';
      return;
    }
  }
  throw std::runtime_error("no event about the disabled display");
}

void run() {
  geom::Config config;
  config.window_title = "Geometry OS Compositor";
  config.connect_type = geom::ConnectType::DisconnectOnce | geom::ConnectType::KeepConnectionOpen;
  geom::Compositor compositor(config);

  // Each kind of error has its own exception.
  try {
    compositor.displays();
  } catch (const geom::NotStarted &) {
    // Expected: start() was not called yet.
  }
  compositor.start();

  geom::Events events = compositor.events();
  const auto displays = compositor.displays();
  for (const geom::Display &display : displays) {
    const geom::Mode mode = display.mode.value_or(geom::Mode{});
    std::cout << "display " << display.name << ' ' << mode.width << 'x' << mode.height << '\n';
  }

  // Requests without a method of their own are sent as JSON (docs/control.md). "confirm_within"
  // makes the service enable the display again after 30 seconds, even if this program is killed.
  const std::string name = displays.at(0).name;
  compositor.request(R"({"request":"set_display","display":")" + name +
                     R"(","enabled":false,"confirm_within":30})");
  wait_until_disabled(events);
  // Rolls the change back now.
  compositor.request(R"({"request":"confirm_display","display":")" + name +
                     R"(","keep":false})");

  // Without exceptions: each method has a variant that returns a geom::Result.
  const auto result = compositor.try_screenshot("HDMI-A-99", "none.png");
  if (result || result.error().status != GEOM_NOT_FOUND) {
    throw std::runtime_error("a screenshot of a display that does not exist");
  }

  for (const geom::Client &client : compositor.clients()) {
    std::cout << "client " << client.app_id.value_or("?") << ' '
              << static_cast<unsigned>(client.connect_type) << '\n';
  }
  std::cout << "owns " << compositor.owns_service() << '\n';
  compositor.stop();
  std::cout << "ended" << std::endl;
}

} // namespace

int main() {
  try {
    run();
  } catch (const std::exception &error) {
    std::cerr << "control: " << error.what() << '\n';
    return 1;
  }
}
