/* A detached thread logs after cleanup. */
#define ON_CLEANUP { pthread_t t; pthread_create(&t, NULL, small_late, NULL); pthread_detach(t); }
static void *small_late(void *unused);
#include "module.h"

static void *small_late(void *unused) {
  sleep_ms(50);
  log_line("goodbye");
  return unused;
}
