/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Starts the compositor, lists displays and connections, disables a display and waits for the event
 * about it, enables the display again, and stops the compositor.
 *
 *     cc -std=c99 control.c $(pkg-config --cflags --libs geom_compositor) -o control
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "geom_compositor.h"

/* Ends the program if a call failed. The library has stopped nothing then: a service that this
 * program started keeps running, with its displays. */
static void must(geom_status status, const char *what) {
  if (status != GEOM_OK) {
    fprintf(stderr, "%s: %d: %s\n", what, (int)status, geom_last_error());
    exit(1);
  }
}

/* Waits until a display is disabled, for at most 10 seconds between two events. */
static void wait_until_disabled(geom_events *events) {
  for (;;) {
    geom_event *event = NULL;
    must(geom_events_next(events, 10000, &event), "wait for the event");
    const int disabled = event->display != NULL && event->display->state == GEOM_DISPLAY_DISABLED;
    if (disabled) printf("event %s %s\n", event->name, event->display->name);
    geom_event_free(event);
    if (disabled) return;
  }
}

int main(void) {
  geom_config config = GEOM_CONFIG_INIT;
  config.window_title = "Geometry OS Compositor";
  config.connect_type = GEOM_DISCONNECT_ONCE | GEOM_KEEP_CONNECTION_OPEN;

  geom_compositor *compositor = NULL;
  must(geom_compositor_new(&config, &compositor), "create the compositor");
  must(geom_compositor_start(compositor), "start the compositor");

  geom_events *events = NULL;
  must(geom_compositor_events(compositor, &events), "subscribe to events");

  geom_display_list *displays = NULL;
  must(geom_compositor_displays(compositor, &displays), "list displays");
  for (size_t index = 0; index < displays->count; index++) {
    const geom_display *display = &displays->items[index];
    const geom_mode mode = display->mode;
    printf("display %s %" PRIu32 "x%" PRIu32 "\n", display->name, mode.width, mode.height);
  }
  if (displays->count == 0) return 2;

  /* Requests without a function of their own are sent as JSON (docs/control.md). "confirm_within"
   * makes the service enable the display again after 30 seconds, even if this program is killed. */
  char request[256];
  snprintf(request, sizeof request,
           "{\"request\":\"set_display\",\"display\":\"%s\",\"enabled\":false,"
           "\"confirm_within\":30}",
           displays->items[0].name);
  must(geom_compositor_request(compositor, request, NULL), "disable the display");
  wait_until_disabled(events);

  /* Rolls the change back now. */
  snprintf(request, sizeof request,
           "{\"request\":\"confirm_display\",\"display\":\"%s\",\"keep\":false}",
           displays->items[0].name);
  must(geom_compositor_request(compositor, request, NULL), "enable the display");
  geom_display_list_free(displays);
  geom_events_free(events);

  /* Programs tell errors apart by their status. */
  if (geom_compositor_screenshot(compositor, "HDMI-A-99", "none.png") != GEOM_NOT_FOUND) return 3;

  geom_client_list *clients = NULL;
  must(geom_compositor_clients(compositor, &clients), "list connections");
  for (size_t index = 0; index < clients->count; index++) {
    const geom_client *client = &clients->items[index];
    const char *name = client->app_id != NULL ? client->app_id : "?";
    printf("client %s %" PRIu32 "\n", name, client->connect_type);
  }
  geom_client_list_free(clients);
  printf("owns %d\n", geom_compositor_owns_service(compositor));

  must(geom_compositor_stop(compositor), "stop the compositor");
  if (geom_compositor_displays(compositor, &displays) != GEOM_NOT_STARTED) return 4;
  geom_compositor_free(compositor);
  puts("ended");
  return 0;
}
