/* Starts and commands geom_compositor, and hears what it does. Written by cbindgen from crates/geom-client/src/ffi.
 *
 * Every function that can fail returns a geom_status, and geom_last_error() has the words. What a function makes is
 * freed by the function named after it. Strings are UTF-8 and end with a zero byte. Handles may be used by any thread;
 * freeing one while another thread uses it is a mistake of the caller's.
 *
 *     cc program.c $(pkg-config --cflags --libs geom_compositor)
 */

#ifndef GEOM_COMPOSITOR_H
#define GEOM_COMPOSITOR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// A loss of the display or of the connection is final.
#define GEOM_DISCONNECT_ONCE 1

// A loss is waited out. With both, the first is waited out and the second is final.
#define GEOM_KEEP_CONNECTION_OPEN 2

// Where a display's life stands.
typedef enum {
  GEOM_DISPLAY_LIT = 0,
  // Switched off, its monitor is there.
  GEOM_DISPLAY_OFF = 1,
  // Its monitor is gone; its windows wait.
  GEOM_DISPLAY_DARK = 2,
  // The kernel refuses to light it.
  GEOM_DISPLAY_FAILED = 3,
} geom_display_state;

// What a client speaks.
typedef enum {
  GEOM_CLIENT_WAYLAND = 0,
  GEOM_CLIENT_CONTROL = 1,
} geom_client_kind;

// Where a connection's life stands.
typedef enum {
  // Connected, and nothing said yet.
  GEOM_CONNECTION_ACCEPTED = 0,
  GEOM_CONNECTION_ALIVE = 1,
  // It did not answer in time.
  GEOM_CONNECTION_UNRESPONSIVE = 2,
  // A control client whose socket broke or whose heartbeat stopped; its session waits.
  GEOM_CONNECTION_LOST = 3,
  GEOM_CONNECTION_CLOSED = 4,
} geom_connection_state;

// How a call ended.
typedef enum {
  GEOM_OK = 0,
  // A value that the caller gave: a null pointer, no UTF-8, a time below 0, a value that the service refuses.
  GEOM_BAD_ARGUMENT = 1,
  // No service answers.
  GEOM_NOT_RUNNING = 2,
  // The service could not be started, or shows nothing.
  GEOM_START_FAILED = 3,
  // geom_compositor_start() was not called, or geom_compositor_stop() was since.
  GEOM_NOT_STARTED = 4,
  // The connection ended.
  GEOM_GONE = 5,
  // No answer in time; of geom_events_next(): no event in time.
  GEOM_TIMED_OUT = 6,
  // This user may not do that.
  GEOM_NOT_ALLOWED = 7,
  // There is no such display, client or window.
  GEOM_NOT_FOUND = 8,
  // The service tried and could not.
  GEOM_FAILED = 9,
  // A mistake of the service's or of this library's.
  GEOM_INTERNAL = 10,
} geom_status;

// The display manager, as a program starts, commands and stops it.
typedef struct geom_compositor geom_compositor;

// A stream of events.
typedef struct geom_events geom_events;

// The strings that a list's entries point to; they move nowhere.
typedef struct geom_strings geom_strings;

// A display mode.
typedef struct {
  // Pixels.
  uint32_t width;
  // Pixels.
  uint32_t height;
  // Millihertz.
  uint32_t refresh;
} geom_mode;

// A monitor that is driven, or was.
typedef struct {
  // The connector's name, "HDMI-A-1" and so on.
  const char *name;
  geom_display_state state;
  // Why it failed; null where it did not.
  const char *reason;
  // All 0 while it is not lit.
  geom_mode mode;
  // The modes that it can be set to, best first.
  const geom_mode *modes;
  size_t mode_count;
  // The top left corner in the layout, in logical pixels.
  int32_t x;
  int32_t y;
  // Logical pixels.
  int32_t width;
  int32_t height;
  // Device pixels for one logical pixel.
  double scale;
  // "normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180" or "flipped-270".
  const char *transform;
  // How often its monitor was lost.
  uint32_t losses;
  bool focused;
} geom_display;

// Displays.
typedef struct {
  size_t count;
  const geom_display *items;
  // Of the library's.
  geom_strings *strings;
} geom_display_list;

// One connection.
typedef struct {
  uint64_t id;
  geom_client_kind kind;
  geom_connection_state state;
  int32_t pid;
  uint32_t uid;
  // The path of its program; null where the kernel does not tell.
  const char *executable;
  // Of a Wayland client's newest window, or the name that a control client gave itself; may be null.
  const char *app_id;
  // GEOM_DISCONNECT_ONCE, GEOM_KEEP_CONNECTION_OPEN or both.
  uint32_t connect_type;
  // Since it was accepted.
  double connected_seconds;
  // Since it was last heard of.
  double silent_seconds;
  // The last heartbeat's round trip in microseconds; 0 where there was none.
  uint64_t rtt_us;
  // Bytes that it has not read.
  uint64_t queued;
  size_t windows;
} geom_client;

// Connections.
typedef struct {
  size_t count;
  const geom_client *items;
  // Of the library's.
  geom_strings *strings;
} geom_client_list;

// A toplevel window.
typedef struct {
  uint64_t id;
  // Of its connection.
  uint64_t client;
  // May be null.
  const char *app_id;
  // May be null.
  const char *title;
  // The display that it belongs to; may be null.
  const char *home;
  // The lit display that it is shown on; may be null.
  const char *display;
  bool fullscreen;
  bool focused;
} geom_window;

// Windows.
typedef struct {
  size_t count;
  const geom_window *items;
  // Of the library's.
  geom_strings *strings;
} geom_window_list;

// What a program wishes. Set it to GEOM_CONFIG_INIT and then what is wished; null and 0 are the defaults. All but
// `connect_type`, `socket`, `name`, `token` and the times are of a service that is started, and not of one that runs already.
typedef struct {
  // sizeof(geom_config): later versions add fields at the end.
  size_t size;
  // What the service is called on its diagnostic screen and in its status.
  const char *window_title;
  // GEOM_DISCONNECT_ONCE, GEOM_KEEP_CONNECTION_OPEN or both; 0 for the service's default.
  uint32_t connect_type;
  // The most that starting may take, the first frame included, in milliseconds; 0 for 30 s.
  uint32_t start_timeout_ms;
  // The most that an answer may take, in milliseconds; 0 for 10 s.
  uint32_t timeout_ms;
  // "auto", "kms" or "headless".
  const char *backend;
  // Drive only these displays: connector names, ended by a null pointer.
  const char *const *displays;
  // "auto", "pixman", "gles" or "llvmpipe".
  const char *renderer;
  // The configuration file.
  const char *config;
  // Shell commands to start as clients, ended by a null pointer.
  const char *const *exec;
  // What is logged: "info", "debug,smithay=warn" and so on.
  const char *log;
  // The file that the log is appended to; standard error without.
  const char *log_file;
  // The program; GEOM_COMPOSITOR_EXECUTABLE, PATH or the place of installation without.
  const char *executable;
  // The control socket; GEOM_COMPOSITOR_SOCKET or its default places without.
  const char *socket;
  // What this program is called among the service's clients; the window title without.
  const char *name;
  // Of a session to resume (geom_compositor_token()); a new one begins where the service has not kept it.
  const char *token;
} geom_config;

// What happened.
typedef struct {
  // "display", "layout", "client_connected", "client_state", "client_gone", "window", "window_closed", "focus",
  // "config_error", "config_applied", "stream_lost": docs/control.md tells of each.
  const char *name;
  // All of it, as JSON.
  const char *json;
  // The display that it is about, or null.
  const geom_display *display;
  // The connection that it is about, or null.
  const geom_client *client;
  // The window that it is about, or null.
  const geom_window *window;
  // The number of the connection or window that is gone or has the focus; 0 where it is about none.
  uint64_t id;
  // Of the library's.
  geom_strings *strings;
} geom_event;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What the last failing call of this thread said, for a person. Valid until the thread's next failing call; never null.
const char *geom_last_error(void);

// Frees the list and all that it points to. Null is fine.
//
// # Safety
// The list is null or of this library and unchanged, and used no more.
void geom_display_list_free(geom_display_list *list);

// Frees the list and all that it points to. Null is fine.
//
// # Safety
// The list is null or of this library and unchanged, and used no more.
void geom_client_list_free(geom_client_list *list);

// Frees the list and all that it points to. Null is fine.
//
// # Safety
// The list is null or of this library and unchanged, and used no more.
void geom_window_list_free(geom_window_list *list);

// Makes a handle; nothing runs yet. Without a config, everything is as by default.
//
// # Safety
// `config` is null or what GEOM_CONFIG_INIT made, with strings and lists where it has any; `compositor` has room.
geom_status geom_compositor_new(const geom_config *config,
                                geom_compositor **compositor);

// Stops it where it runs, and frees the handle. Null is fine.
//
// # Safety
// The handle is null or of geom_compositor_new(), and used no more.
void geom_compositor_free(geom_compositor *compositor);

// Connects to the service that runs, or starts one. Returns when a frame is on a display. Does nothing where it was
// started already.
//
// # Safety
// The handle is of geom_compositor_new().
geom_status geom_compositor_start(geom_compositor *compositor);

// Ends what geom_compositor_start() started: the service, or, where that ran already, this connection only.
//
// # Safety
// The handle is of geom_compositor_new().
geom_status geom_compositor_stop(geom_compositor *compositor);

// Whether it was started, and its session goes on. False for null.
//
// # Safety
// The handle is null or of geom_compositor_new().
bool geom_compositor_is_running(const geom_compositor *compositor);

// Whether geom_compositor_start() began the service, and it runs. False for null.
//
// # Safety
// The handle is null or of geom_compositor_new().
bool geom_compositor_owns_service(const geom_compositor *compositor);

// The displays; freed by geom_display_list_free().
//
// # Safety
// The handle is of geom_compositor_new(); `displays` has room.
geom_status geom_compositor_displays(geom_compositor *compositor, geom_display_list **displays);

// The connections; freed by geom_client_list_free().
//
// # Safety
// The handle is of geom_compositor_new(); `clients` has room.
geom_status geom_compositor_clients(geom_compositor *compositor, geom_client_list **clients);

// The windows; freed by geom_window_list_free().
//
// # Safety
// The handle is of geom_compositor_new(); `windows` has room.
geom_status geom_compositor_windows(geom_compositor *compositor, geom_window_list **windows);

// Saves what a display shows as a PNG file.
//
// # Safety
// The handle is of geom_compositor_new(); both strings are strings.
geom_status geom_compositor_screenshot(geom_compositor *compositor, const char *display, const char *path);

// Asks for anything that the protocol has, as docs/control.md shows it, without an id:
// `{"request":"identify","seconds":3}`. The answer is JSON as well; freed by geom_string_free(). `answer` may be null.
//
// # Safety
// The handle is of geom_compositor_new(); `request` is a string; `answer` is null or has room.
geom_status geom_compositor_request(geom_compositor *compositor,
                                    const char *request,
                                    char **answer);

// What resumes the session from another process, should this one be killed; freed by geom_string_free().
//
// # Safety
// The handle is of geom_compositor_new(); `token` has room.
geom_status geom_compositor_token(geom_compositor *compositor, char **token);

// Frees what geom_compositor_request() and geom_compositor_token() gave. Null is fine.
//
// # Safety
// The string is null or of this library, and used no more.
void geom_string_free(char *string);

// Listens to events from now on; freed by geom_events_free().
//
// # Safety
// The handle is of geom_compositor_new(); `events` has room.
geom_status geom_compositor_events(geom_compositor *compositor, geom_events **events);

// A descriptor that is readable while there are events, for poll(2). Of the stream's: not to be closed. -1 for null.
//
// # Safety
// The stream is null or of geom_compositor_events().
int geom_events_fd(const geom_events *events);

// The next event, freed by geom_event_free(); GEOM_TIMED_OUT where none comes in so many milliseconds, where below 0
// waits for ever; GEOM_GONE at the session's end.
//
// # Safety
// The stream is of geom_compositor_events(); `next` has room.
geom_status geom_events_next(geom_events *events,
                             int timeout_ms,
                             geom_event **next);

// Frees an event. Null is fine.
//
// # Safety
// The event is null or of geom_events_next() and unchanged, and used no more.
void geom_event_free(geom_event *event);

// Ends the stream. Null is fine.
//
// # Safety
// The stream is null or of geom_compositor_events(), and used no more.
void geom_events_free(geom_events *events);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* GEOM_COMPOSITOR_H */

#ifndef __cplusplus
/* What a geom_config begins with: the defaults. In C++: geom_config config{}; config.size = sizeof config; */
#define GEOM_CONFIG_INIT { .size = sizeof(geom_config) }
#endif
