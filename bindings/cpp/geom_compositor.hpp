// Starts and commands geom_compositor, and hears what it does: C++17 over geom_compositor.h, in one header.
//
//     geom::Config config;
//     config.window_title = "Geometry OS Compositor";
//     config.connect_type = geom::ConnectType::DisconnectOnce | geom::ConnectType::KeepConnectionOpen;
//     geom::Compositor compositor(config);
//     compositor.start();
//     for (const geom::Display &display : compositor.displays()) std::cout << display.name << '\n';
//     compositor.stop();
//
// Calls throw a geom::Error; each has a twin with try_ before its name that returns a geom::Result instead and throws
// nothing but std::bad_alloc. A Compositor may be used by any thread. Build with
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

/// What went wrong: the status for programs, what() for people. Its subclasses are what programs tell apart most.
class Error : public std::runtime_error {
public:
  Error(geom_status status, const std::string &words) : std::runtime_error(words), status_(status) {}
  geom_status status() const noexcept { return status_; }

private:
  geom_status status_;
};

struct BadArgument : Error { using Error::Error; };
struct NotRunning : Error { using Error::Error; };
struct StartFailed : Error { using Error::Error; };
struct NotStarted : Error { using Error::Error; };
struct Gone : Error { using Error::Error; };
struct TimedOut : Error { using Error::Error; };
struct NotAllowed : Error { using Error::Error; };
struct NotFound : Error { using Error::Error; };

/// A failure as a value.
struct Failure {
  geom_status status;
  std::string words;

  [[noreturn]] void raise() const {
    switch (status) {
    case GEOM_BAD_ARGUMENT: throw BadArgument(status, words);
    case GEOM_NOT_RUNNING: throw NotRunning(status, words);
    case GEOM_START_FAILED: throw StartFailed(status, words);
    case GEOM_NOT_STARTED: throw NotStarted(status, words);
    case GEOM_GONE: throw Gone(status, words);
    case GEOM_TIMED_OUT: throw TimedOut(status, words);
    case GEOM_NOT_ALLOWED: throw NotAllowed(status, words);
    case GEOM_NOT_FOUND: throw NotFound(status, words);
    default: throw Error(status, words);
    }
  }
};

/// A value or a Failure, as C++23's std::expected.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : content_(std::move(value)) {}
  Result(Failure failure) : content_(std::move(failure)) {}

  bool has_value() const noexcept { return content_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  /// The failure; only where there is no value.
  const Failure &error() const { return std::get<1>(content_); }
  /// The value, or the failure as an exception.
  T &value() & { return has_value() ? std::get<0>(content_) : (error().raise(), std::get<0>(content_)); }
  T &&value() && { return std::move(value()); }
  T &operator*() & { return value(); }
  T *operator->() { return &value(); }

private:
  std::variant<T, Failure> content_;
};

/// Nothing, of calls that only succeed or fail.
struct Done {};

/// How the loss of a display or of the connection is taken.
enum class ConnectType : std::uint32_t {
  Default = 0,
  DisconnectOnce = GEOM_DISCONNECT_ONCE,
  KeepConnectionOpen = GEOM_KEEP_CONNECTION_OPEN,
};

constexpr ConnectType operator|(ConnectType one, ConnectType other) {
  return static_cast<ConnectType>(static_cast<std::uint32_t>(one) | static_cast<std::uint32_t>(other));
}
constexpr ConnectType operator&(ConnectType one, ConnectType other) {
  return static_cast<ConnectType>(static_cast<std::uint32_t>(one) & static_cast<std::uint32_t>(other));
}

/// What a program wishes; what is empty is as by default. geom_config in geom_compositor.h tells of each.
struct Config {
  std::string window_title{};
  ConnectType connect_type = ConnectType::Default;
  std::string backend{};
  std::vector<std::string> displays{};
  std::string renderer{};
  std::string config{};
  std::vector<std::string> exec{};
  std::string log{};
  std::string log_file{};
  std::string executable{};
  std::string socket{};
  std::string name{};
  std::string token{};
  std::chrono::milliseconds start_timeout{0};
  std::chrono::milliseconds timeout{0};
};

using Mode = geom_mode;
using DisplayState = geom_display_state;
using ClientKind = geom_client_kind;
using ConnectionState = geom_connection_state;

/// A monitor that is driven, or was.
struct Display {
  std::string name;
  DisplayState state;
  std::optional<std::string> reason;
  /// While it is lit.
  std::optional<Mode> mode;
  std::vector<Mode> modes;
  /// Logical pixels of the layout.
  int x, y, width, height;
  double scale;
  std::string transform;
  unsigned losses;
  bool focused;
};

/// One connection.
struct Client {
  std::uint64_t id;
  ClientKind kind;
  ConnectionState state;
  int pid;
  unsigned uid;
  std::optional<std::string> executable;
  std::optional<std::string> app_id;
  ConnectType connect_type;
  std::chrono::duration<double> connected, silent;
  /// Of the last heartbeat.
  std::optional<std::chrono::microseconds> rtt;
  std::uint64_t queued;
  std::size_t windows;
};

/// A toplevel window.
struct Window {
  std::uint64_t id, client;
  std::optional<std::string> app_id, title, home, display;
  bool fullscreen, focused;
};

/// What happened; `json` has all of it.
struct Event {
  std::string name, json;
  std::optional<Display> display;
  std::optional<Client> client;
  std::optional<Window> window;
  /// Of the connection or window that is gone or has the focus; 0 where it is about none.
  std::uint64_t id;
};

namespace detail {

inline Failure failure(geom_status status) { return Failure{status, geom_last_error()}; }

inline std::optional<std::string> maybe(const char *text) {
  return text ? std::optional<std::string>(text) : std::nullopt;
}

inline const char *wish(const std::string &text) { return text.empty() ? nullptr : text.c_str(); }

inline std::vector<const char *> wishes(const std::vector<std::string> &texts) {
  std::vector<const char *> pointers;
  for (const std::string &text : texts) pointers.push_back(text.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

inline Display convert(const geom_display &from) {
  const bool lit = from.mode.width > 0;
  return Display{from.name, from.state, maybe(from.reason), lit ? std::optional<Mode>(from.mode) : std::nullopt,
                 std::vector<Mode>(from.modes, from.modes + from.mode_count), from.x, from.y, from.width,
                 from.height, from.scale, from.transform, from.losses, from.focused};
}

inline Client convert(const geom_client &from) {
  using std::chrono::duration;
  const auto rtt = std::chrono::microseconds(from.rtt_us);
  return Client{from.id, from.kind, from.state, from.pid, from.uid, maybe(from.executable), maybe(from.app_id),
                static_cast<ConnectType>(from.connect_type), duration<double>(from.connected_seconds),
                duration<double>(from.silent_seconds),
                from.rtt_us ? std::optional<std::chrono::microseconds>(rtt) : std::nullopt, from.queued,
                from.windows};
}

inline Window convert(const geom_window &from) {
  return Window{from.id, from.client, maybe(from.app_id), maybe(from.title), maybe(from.home),
                maybe(from.display), from.fullscreen, from.focused};
}

template <typename T> auto convert_some(const T *from) {
  return from ? std::make_optional(convert(*from)) : std::nullopt;
}

/// Frees by the library's function for it.
template <auto Free> struct Deleter {
  template <typename T> void operator()(T *pointer) const noexcept { Free(pointer); }
};
template <typename T, auto Free> using Owned = std::unique_ptr<T, Deleter<Free>>;

} // namespace detail

/// A stream of events.
class Events {
public:
  /// The next event; none where none comes in time.
  Result<std::optional<Event>> try_next(std::chrono::milliseconds timeout) {
    return take(static_cast<int>(timeout.count()));
  }
  std::optional<Event> next(std::chrono::milliseconds timeout) { return try_next(timeout).value(); }
  /// The next event, however long it takes.
  Event next() { return take(-1).value().value(); }
  /// Readable while there are events, for poll(2).
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
    return std::optional<Event>(Event{next->name, next->json, detail::convert_some(next->display),
                                      detail::convert_some(next->client), detail::convert_some(next->window),
                                      next->id});
  }

  detail::Owned<geom_events, geom_events_free> events_;
};

/// The display manager, as a program starts, commands and stops it. Its end stops what it started.
class Compositor {
public:
  explicit Compositor(const Config &config = Config()) {
    const auto displays = detail::wishes(config.displays);
    const auto exec = detail::wishes(config.exec);
    geom_config wished{};
    wished.size = sizeof wished;
    wished.window_title = detail::wish(config.window_title);
    wished.connect_type = static_cast<std::uint32_t>(config.connect_type);
    wished.start_timeout_ms = static_cast<std::uint32_t>(config.start_timeout.count());
    wished.timeout_ms = static_cast<std::uint32_t>(config.timeout.count());
    wished.backend = detail::wish(config.backend);
    wished.displays = displays.data();
    wished.renderer = detail::wish(config.renderer);
    wished.config = detail::wish(config.config);
    wished.exec = exec.data();
    wished.log = detail::wish(config.log);
    wished.log_file = detail::wish(config.log_file);
    wished.executable = detail::wish(config.executable);
    wished.socket = detail::wish(config.socket);
    wished.name = detail::wish(config.name);
    wished.token = detail::wish(config.token);
    geom_compositor *made = nullptr;
    const geom_status status = geom_compositor_new(&wished, &made);
    if (status != GEOM_OK) detail::failure(status).raise();
    compositor_.reset(made);
  }

  /// Connects to the service that runs, or starts one; returns when a frame is on a display.
  Result<Done> try_start() { return done(geom_compositor_start(compositor_.get())); }
  void start() { try_start().value(); }

  /// Ends what start() started: the service, or, where that ran already, this connection only.
  Result<Done> try_stop() { return done(geom_compositor_stop(compositor_.get())); }
  void stop() { try_stop().value(); }

  bool is_running() const noexcept { return geom_compositor_is_running(compositor_.get()); }
  bool owns_service() const noexcept { return geom_compositor_owns_service(compositor_.get()); }

  /// What resumes the session from another process, should this one be killed.
  Result<std::string> try_token() {
    char *token = nullptr;
    const geom_status status = geom_compositor_token(compositor_.get(), &token);
    if (status != GEOM_OK) return detail::failure(status);
    return std::string(detail::Owned<char, geom_string_free>(token).get());
  }
  std::string token() { return try_token().value(); }

  Result<std::vector<Display>> try_displays() {
    return list<Display, geom_display_list, geom_display_list_free>(geom_compositor_displays);
  }
  std::vector<Display> displays() { return try_displays().value(); }

  Result<std::vector<Client>> try_clients() {
    return list<Client, geom_client_list, geom_client_list_free>(geom_compositor_clients);
  }
  std::vector<Client> clients() { return try_clients().value(); }

  Result<std::vector<Window>> try_windows() {
    return list<Window, geom_window_list, geom_window_list_free>(geom_compositor_windows);
  }
  std::vector<Window> windows() { return try_windows().value(); }

  /// Saves what a display shows as a PNG file.
  Result<Done> try_screenshot(const std::string &display, const std::string &path) {
    return done(geom_compositor_screenshot(compositor_.get(), display.c_str(), path.c_str()));
  }
  void screenshot(const std::string &display, const std::string &path) { try_screenshot(display, path).value(); }

  /// Asks for anything that the protocol has, as JSON without an id; the answer is JSON as well.
  Result<std::string> try_request(const std::string &json) {
    char *answer = nullptr;
    const geom_status status = geom_compositor_request(compositor_.get(), json.c_str(), &answer);
    if (status != GEOM_OK) return detail::failure(status);
    return std::string(detail::Owned<char, geom_string_free>(answer).get());
  }
  std::string request(const std::string &json) { return try_request(json).value(); }

  /// What happens from now on.
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

  template <typename T, typename List, auto Free, typename Call> Result<std::vector<T>> list(Call call) {
    List *got = nullptr;
    const geom_status status = call(compositor_.get(), &got);
    if (status != GEOM_OK) return detail::failure(status);
    const detail::Owned<List, Free> owned(got);
    std::vector<T> all;
    for (std::size_t index = 0; index < got->count; ++index) all.push_back(detail::convert(got->items[index]));
    return all;
  }

  detail::Owned<geom_compositor, geom_compositor_free> compositor_;
};

} // namespace geom

#endif
