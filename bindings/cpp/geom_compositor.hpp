// SPDX-License-Identifier: MIT OR Apache-2.0
//
// C++17 library of geom_compositor: starts and commands the service, and receives its events. One
// header over the C library, geom_compositor.h.
//
//     geom::Config config;
//     config.window_title = "Geometry OS Compositor";
//     config.connect_type = geom::ConnectType::KeepConnectionOpen;
//     geom::Compositor compositor(config);
//     compositor.start();
//     for (const geom::Display &display : compositor.displays()) std::cout << display.name << '\n';
//     compositor.stop();
//
// A call that fails throws geom::Error or a subclass. Each such call has a variant with the prefix
// try_, which returns a geom::Result and throws only std::bad_alloc. A Compositor may be used by
// any thread.
//
//     c++ -std=c++17 program.cpp $(pkg-config --cflags --libs geom_compositor)

#ifndef GEOM_COMPOSITOR_HPP
#define GEOM_COMPOSITOR_HPP

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "geom_compositor.h"

namespace geom {

/// A failed call: status() for programs, what() for people.
class Error : public std::runtime_error {
public:
  Error(geom_status status, const std::string &message)
      : std::runtime_error(message), status_(status) {}
  geom_status status() const noexcept { return status_; }

private:
  geom_status status_;
};

/// An argument is out of range, or the service refuses its value.
struct BadArgument : Error { using Error::Error; };
/// No service accepts connections at the control socket.
struct NotRunning : Error { using Error::Error; };
/// The service could not be started, or presented no frame in time.
struct StartFailed : Error { using Error::Error; };
/// start() was not called, or stop() was called since.
struct NotStarted : Error { using Error::Error; };
/// The connection ended.
struct Disconnected : Error { using Error::Error; };
/// The service did not reply in time.
struct TimedOut : Error { using Error::Error; };
/// This user may not do that.
struct NotAllowed : Error { using Error::Error; };
/// There is no such display, client or window.
struct NotFound : Error { using Error::Error; };

/// A failed call as a value.
struct Failure {
  geom_status status;
  std::string message;

  /// Throws the exception for the status.
  [[noreturn]] void raise() const {
    switch (status) {
    case GEOM_BAD_ARGUMENT: throw BadArgument(status, message);
    case GEOM_NOT_RUNNING: throw NotRunning(status, message);
    case GEOM_START_FAILED: throw StartFailed(status, message);
    case GEOM_NOT_STARTED: throw NotStarted(status, message);
    case GEOM_DISCONNECTED: throw Disconnected(status, message);
    case GEOM_TIMED_OUT: throw TimedOut(status, message);
    case GEOM_NOT_ALLOWED: throw NotAllowed(status, message);
    case GEOM_NOT_FOUND: throw NotFound(status, message);
    default: throw Error(status, message);
    }
  }
};

/// A value or a Failure, like C++23's std::expected.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : content_(std::move(value)) {}
  Result(Failure failure) : content_(std::move(failure)) {}

  bool has_value() const noexcept { return content_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  /// Returns the failure. Only allowed if there is no value.
  const Failure &error() const { return std::get<1>(content_); }
  /// Returns the value, or throws the failure.
  T &value() & {
    if (!has_value()) error().raise();
    return std::get<0>(content_);
  }
  T &&value() && { return std::move(value()); }
  T &operator*() & { return value(); }
  T *operator->() { return &value(); }

private:
  std::variant<T, Failure> content_;
};

/// The value of calls that return nothing.
struct Done {};

/// What happens when the display that a service was started for is unplugged, or when the
/// connection breaks.
enum class ConnectType : std::uint32_t {
  /// The service's configuration decides.
  Default = 0,
  /// The first disconnect is final.
  DisconnectOnce = GEOM_DISCONNECT_ONCE,
  /// Disconnects are survived. With both flags, the first is survived and the second is final.
  KeepConnectionOpen = GEOM_KEEP_CONNECTION_OPEN,
};

constexpr ConnectType operator|(ConnectType one, ConnectType other) {
  using Bits = std::uint32_t;
  return static_cast<ConnectType>(static_cast<Bits>(one) | static_cast<Bits>(other));
}
constexpr ConnectType operator&(ConnectType one, ConnectType other) {
  using Bits = std::uint32_t;
  return static_cast<ConnectType>(static_cast<Bits>(one) & static_cast<Bits>(other));
}

/// Configuration of a Compositor; empty and 0 are the defaults. connect_type, socket, name, token
/// and the timeouts always apply. The other fields apply only to a service that is started, not to
/// one that runs already.
struct Config {
  /// Title of the service, on its diagnostic screen and in its status.
  std::string window_title{};
  /// Connection type.
  ConnectType connect_type = ConnectType::Default;
  /// "auto", "kms" or "headless".
  std::string backend{};
  /// Names of the displays to drive. By default, all.
  std::vector<std::string> displays{};
  /// "auto", "pixman", "gles" or "llvmpipe".
  std::string renderer{};
  /// Path of the configuration file.
  std::string config{};
  /// Shell commands that the service starts as its clients.
  std::vector<std::string> exec{};
  /// Log filter, such as "info" or "debug,smithay=warn".
  std::string log{};
  /// File that the log is appended to. By default, the log goes to standard error.
  std::string log_file{};
  /// Path of the program to start. By default, the one that GEOM_COMPOSITOR_EXECUTABLE names,
  /// geom_compositor in PATH, or the installed one.
  std::string executable{};
  /// Path of the control socket. By default, GEOM_COMPOSITOR_SOCKET, or the user's service, then
  /// the system service.
  std::string socket{};
  /// Name of this program in the service's list of clients. By default, window_title.
  std::string name{};
  /// Token of the session to resume, from token() of an earlier process. If the service has not
  /// kept that session, a new one begins.
  std::string token{};
  /// Maximum time to start, including the first frame. 30 s by default.
  std::chrono::milliseconds start_timeout{0};
  /// Maximum time to wait for a reply. 10 s by default.
  std::chrono::milliseconds timeout{0};
};

/// Width and height in pixels, refresh in millihertz.
using Mode = geom_mode;
/// GEOM_DISPLAY_ENABLED and so on.
using DisplayState = geom_display_state;
/// GEOM_CLIENT_WAYLAND or GEOM_CLIENT_CONTROL.
using ClientKind = geom_client_kind;
/// GEOM_CONNECTION_ALIVE and so on.
using ConnectionState = geom_connection_state;

/// A monitor that the service drives, or drove until it was unplugged.
struct Display {
  /// Connector name, such as "HDMI-A-1".
  std::string name;
  /// Lifecycle state.
  DisplayState state;
  /// Why the display failed, in the state GEOM_DISPLAY_FAILED.
  std::optional<std::string> reason;
  /// Current mode, while the display is enabled.
  std::optional<Mode> mode;
  /// Modes that the display offers, best first.
  std::vector<Mode> modes;
  /// Position and size in the layout, in logical pixels.
  int x, y, width, height;
  /// Device pixels per logical pixel.
  double scale;
  /// "normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180" or "flipped-270".
  std::string transform;
  /// Number of times that its monitor was unplugged.
  unsigned disconnects;
  /// Whether it has the keyboard focus.
  bool focused;
};

/// A connection, of a Wayland client or of a control client.
struct Client {
  /// Id of the connection, unique while the service runs.
  std::uint64_t id;
  /// Protocol that the client speaks.
  ClientKind kind;
  /// State of the connection.
  ConnectionState state;
  /// Process id; 0 if the process is in another PID namespace.
  int pid;
  /// User id.
  unsigned uid;
  /// Path of the client's executable, if the kernel allows to read it.
  std::optional<std::string> executable;
  /// Application id of a Wayland client's newest window, or the name of a control client.
  std::optional<std::string> app_id;
  /// Connection type.
  ConnectType connect_type;
  /// Time since the connection was accepted, and since the client last sent anything.
  std::chrono::duration<double> connected, idle;
  /// Round-trip time of the last heartbeat, if one was answered.
  std::optional<std::chrono::microseconds> rtt;
  /// Bytes sent to the client that it has not read.
  std::uint64_t unread_bytes;
  /// Number of its toplevel windows.
  std::size_t windows;
};

/// A toplevel window.
struct Window {
  /// Id of the window, unique while the service runs, and id of its client.
  std::uint64_t id, client;
  /// Application id and title, if the client has set them.
  std::optional<std::string> app_id, title;
  /// Name of the display that the window is assigned to.
  std::optional<std::string> assigned_output;
  /// Name of the enabled display that shows the window: the assigned one, or its neighbor while
  /// that is disconnected.
  std::optional<std::string> display;
  /// Whether the client asked for fullscreen, and whether the window has the keyboard focus.
  bool fullscreen, focused;
};

/// An event. docs/control.md describes each.
struct Event {
  /// "display", "layout", "client_connected", "client_state", "client_disconnected", "window",
  /// "window_closed", "focus", "input_device_added", "input_device_removed", "calibration",
  /// "gpu_added", "gpu_removed", "session", "program_ended", "config_error", "config_applied" or
  /// "events_lost".
  std::string name;
  /// The whole event as JSON.
  std::string json;
  /// The display of the event "display".
  std::optional<Display> display;
  /// The connection of "client_connected" and "client_state".
  std::optional<Client> client;
  /// The window of the event "window".
  std::optional<Window> window;
  /// Id of the connection or window that the event is about; for "focus", of the window that has
  /// the focus. 0 if there is none.
  std::uint64_t id;
};

namespace detail {

inline Failure failure(geom_status status) { return Failure{status, geom_last_error()}; }

inline std::optional<std::string> to_optional(const char *text) {
  return text ? std::optional<std::string>(text) : std::nullopt;
}

inline const char *or_null(const std::string &text) {
  return text.empty() ? nullptr : text.c_str();
}

/// Returns an array of the strings, terminated by a null pointer.
inline std::vector<const char *> null_terminated(const std::vector<std::string> &texts) {
  std::vector<const char *> pointers;
  for (const std::string &text : texts) pointers.push_back(text.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

inline Display convert(const geom_display &from) {
  const bool enabled = from.mode.width > 0;
  return Display{from.name,
                 from.state,
                 to_optional(from.reason),
                 enabled ? std::optional<Mode>(from.mode) : std::nullopt,
                 std::vector<Mode>(from.modes, from.modes + from.mode_count),
                 from.x,
                 from.y,
                 from.width,
                 from.height,
                 from.scale,
                 from.transform,
                 from.disconnects,
                 from.focused};
}

inline Client convert(const geom_client &from) {
  using std::chrono::duration;
  using std::chrono::microseconds;
  return Client{from.id,
                from.kind,
                from.state,
                from.pid,
                from.uid,
                to_optional(from.executable),
                to_optional(from.app_id),
                static_cast<ConnectType>(from.connect_type),
                duration<double>(from.connected_seconds),
                duration<double>(from.idle_seconds),
                from.rtt_us ? std::make_optional(microseconds(from.rtt_us)) : std::nullopt,
                from.unread_bytes,
                from.windows};
}

inline Window convert(const geom_window &from) {
  return Window{from.id,
                from.client,
                to_optional(from.app_id),
                to_optional(from.title),
                to_optional(from.assigned_output),
                to_optional(from.display),
                from.fullscreen,
                from.focused};
}

template <typename T> auto convert_optional(const T *from) {
  return from ? std::make_optional(convert(*from)) : std::nullopt;
}

/// Frees an object by the C library's function for its type.
template <auto Free> struct Deleter {
  template <typename T> void operator()(T *pointer) const noexcept { Free(pointer); }
};
template <typename T, auto Free> using Owned = std::unique_ptr<T, Deleter<Free>>;

} // namespace detail

/// A stream of events. At most 4096 unread events are kept; if there are more, they are replaced by
/// the event "events_lost".
class Events {
public:
  /// Returns the next event, or nothing if there is none within the timeout. Fails with
  /// GEOM_DISCONNECTED if the session has ended and no unread event is left.
  Result<std::optional<Event>> try_next(std::chrono::milliseconds timeout) {
    return take(static_cast<int>(timeout.count()));
  }
  std::optional<Event> next(std::chrono::milliseconds timeout) { return try_next(timeout).value(); }
  /// Waits for the next event, without limit. Throws Disconnected if the session has ended.
  Event next() { return take(-1).value().value(); }
  /// Returns a file descriptor that is readable while there are events, for poll(2). It belongs to
  /// the stream.
  int fd() const noexcept { return geom_events_fd(events_.get()); }

private:
  friend class Compositor;
  explicit Events(geom_events *events) : events_(events) {}

  Result<std::optional<Event>> take(int timeout_ms) {
    geom_event *next = nullptr;
    const geom_status status = geom_events_next(events_.get(), timeout_ms, &next);
    if (status == GEOM_TIMED_OUT) return std::optional<Event>();
    if (status != GEOM_OK) return detail::failure(status);
    const detail::Owned<geom_event, geom_event_free> owned(next);
    return std::optional<Event>(Event{next->name,
                                      next->json,
                                      detail::convert_optional(next->display),
                                      detail::convert_optional(next->client),
                                      detail::convert_optional(next->window),
                                      next->id});
  }

  detail::Owned<geom_events, geom_events_free> events_;
};

/// The display manager, for a program that starts, commands and stops it. Its destructor stops it
/// as stop() does.
///
/// Requests fail with GEOM_NOT_STARTED, GEOM_DISCONNECTED, GEOM_TIMED_OUT, or the status for the
/// service's error.
class Compositor {
public:
  /// Creates the object. It neither connects nor starts anything. Throws BadArgument if the
  /// configuration is invalid.
  explicit Compositor(const Config &config = Config()) {
    const auto displays = detail::null_terminated(config.displays);
    const auto exec = detail::null_terminated(config.exec);
    geom_config raw{};
    raw.size = sizeof raw;
    raw.window_title = detail::or_null(config.window_title);
    raw.connect_type = static_cast<std::uint32_t>(config.connect_type);
    raw.start_timeout_ms = static_cast<std::uint32_t>(config.start_timeout.count());
    raw.timeout_ms = static_cast<std::uint32_t>(config.timeout.count());
    raw.backend = detail::or_null(config.backend);
    raw.displays = displays.data();
    raw.renderer = detail::or_null(config.renderer);
    raw.config = detail::or_null(config.config);
    raw.exec = exec.data();
    raw.log = detail::or_null(config.log);
    raw.log_file = detail::or_null(config.log_file);
    raw.executable = detail::or_null(config.executable);
    raw.socket = detail::or_null(config.socket);
    raw.name = detail::or_null(config.name);
    raw.token = detail::or_null(config.token);
    geom_compositor *compositor = nullptr;
    const geom_status status = geom_compositor_new(&raw, &compositor);
    if (status != GEOM_OK) detail::failure(status).raise();
    compositor_.reset(compositor);
  }

  /// Connects to the running service, or starts one. Returns after a frame was presented on a
  /// display. Fails with GEOM_START_FAILED if the service can't run or presents no frame in time.
  Result<Done> try_start() { return done(geom_compositor_start(compositor_.get())); }
  void start() { try_start().value(); }

  /// Reverts start(): stops the service and its clients if start() started it, and otherwise only
  /// ends this program's session.
  Result<Done> try_stop() { return done(geom_compositor_stop(compositor_.get())); }
  void stop() { try_stop().value(); }

  /// Returns whether it was started and its session has not ended.
  bool is_running() const noexcept { return geom_compositor_is_running(compositor_.get()); }
  /// Returns whether start() started the service and it runs.
  bool owns_service() const noexcept { return geom_compositor_owns_service(compositor_.get()); }

  /// Returns the token that resumes the session from another process (Config::token), for programs
  /// that may be killed. A secret.
  Result<std::string> try_token() {
    char *token = nullptr;
    const geom_status status = geom_compositor_token(compositor_.get(), &token);
    if (status != GEOM_OK) return detail::failure(status);
    return std::string(detail::Owned<char, geom_string_free>(token).get());
  }
  std::string token() { return try_token().value(); }

  /// Lists the displays.
  Result<std::vector<Display>> try_displays() {
    return list<Display, geom_display_list, geom_display_list_free>(geom_compositor_displays);
  }
  std::vector<Display> displays() { return try_displays().value(); }

  /// Lists the connections.
  Result<std::vector<Client>> try_clients() {
    return list<Client, geom_client_list, geom_client_list_free>(geom_compositor_clients);
  }
  std::vector<Client> clients() { return try_clients().value(); }

  /// Lists the toplevel windows.
  Result<std::vector<Window>> try_windows() {
    return list<Window, geom_window_list, geom_window_list_free>(geom_compositor_windows);
  }
  std::vector<Window> windows() { return try_windows().value(); }

  /// Takes a screenshot of a display, and writes it to a PNG file. An existing file is overwritten.
  Result<Done> try_screenshot(const std::string &display, const std::string &path) {
    return done(geom_compositor_screenshot(compositor_.get(), display.c_str(), path.c_str()));
  }
  void screenshot(const std::string &display, const std::string &path) {
    try_screenshot(display, path).value();
  }

  /// Sends any request of the control protocol (docs/control.md) as JSON without an id. Returns the
  /// response as JSON.
  Result<std::string> try_request(const std::string &json) {
    char *response = nullptr;
    const geom_status status =
        geom_compositor_request(compositor_.get(), json.c_str(), &response);
    if (status != GEOM_OK) return detail::failure(status);
    return std::string(detail::Owned<char, geom_string_free>(response).get());
  }
  std::string request(const std::string &json) { return try_request(json).value(); }

  /// Returns a stream of all events from now on.
  Result<Events> try_events() {
    geom_events *events = nullptr;
    const geom_status status = geom_compositor_events(compositor_.get(), &events);
    if (status != GEOM_OK) return detail::failure(status);
    return Events(events);
  }
  Events events() { return try_events().value(); }

private:
  static Result<Done> done(geom_status status) {
    if (status != GEOM_OK) return detail::failure(status);
    return Done{};
  }

  template <typename T, typename List, auto Free, typename Call>
  Result<std::vector<T>> list(Call call) {
    List *raw = nullptr;
    const geom_status status = call(compositor_.get(), &raw);
    if (status != GEOM_OK) return detail::failure(status);
    const detail::Owned<List, Free> owned(raw);
    std::vector<T> all;
    for (std::size_t index = 0; index < raw->count; ++index) {
      all.push_back(detail::convert(raw->items[index]));
    }
    return all;
  }

  detail::Owned<geom_compositor, geom_compositor_free> compositor_;
};

} // namespace geom

#endif
