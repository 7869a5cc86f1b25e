/* initialize starts a thread. */
#define ON_INITIALIZE { pthread_t t; pthread_create(&t, NULL, small_sleep, NULL); pthread_detach(t); }
static void *small_sleep(void *unused);
#include "module.h"

static void *small_sleep(void *unused) { sleep_ms(3000); return unused; }
