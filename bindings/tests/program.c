/* Starts a compositor for some seconds, as the Python program of the README does, and shows what the library says. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "geom_compositor.h"

static void must(geom_status status, const char *what) {
  if (status != GEOM_OK) {
    fprintf(stderr, "%s: %d: %s\n", what, (int)status, geom_last_error());
    exit(1);
  }
}

int main(void) {
  geom_config config = GEOM_CONFIG_INIT;
  config.window_title = "Geometry OS Compositor";
  config.connect_type = GEOM_DISCONNECT_ONCE | GEOM_KEEP_CONNECTION_OPEN;

  geom_compositor *compositor = NULL;
  must(geom_compositor_new(&config, &compositor), "new");
  must(geom_compositor_start(compositor), "start");

  geom_events *events = NULL;
  must(geom_compositor_events(compositor, &events), "events");

  geom_display_list *displays = NULL;
  must(geom_compositor_displays(compositor, &displays), "displays");
  for (size_t index = 0; index < displays->count; index++) {
    const geom_display *display = &displays->items[index];
    printf("display %s %" PRIu32 "x%" PRIu32 "\n", display->name, display->mode.width, display->mode.height);
  }

  /* What is off is told as an event, and what does not exist as an error. */
  char request[256];
  snprintf(request, sizeof request, "{\"request\":\"set_display\",\"display\":\"%s\",\"power\":false}",
           displays->items[0].name);
  must(geom_compositor_request(compositor, request, NULL), "power");
  geom_display_list_free(displays);
  for (;;) {
    geom_event *event = NULL;
    must(geom_events_next(events, 10000, &event), "event");
    const int off = event->display != NULL && event->display->state == GEOM_DISPLAY_OFF;
    if (off) printf("event %s %s\n", event->name, event->display->name);
    geom_event_free(event);
    if (off) break;
  }
  geom_events_free(events);
  if (geom_compositor_screenshot(compositor, "HDMI-A-99", "none.png") != GEOM_NOT_FOUND) return 2;

  geom_client_list *clients = NULL;
  must(geom_compositor_clients(compositor, &clients), "clients");
  for (size_t index = 0; index < clients->count; index++) {
    const geom_client *client = &clients->items[index];
    printf("client %s %" PRIu32 "\n", client->app_id, client->connect_type);
  }
  geom_client_list_free(clients);
  printf("owns %d\n", geom_compositor_owns_service(compositor));

  must(geom_compositor_stop(compositor), "stop");
  if (geom_compositor_displays(compositor, &displays) != GEOM_NOT_STARTED) return 3;
  geom_compositor_free(compositor);
  puts("ended");
  return 0;
}
