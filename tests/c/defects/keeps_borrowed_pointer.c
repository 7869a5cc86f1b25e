/* The worker reads the topic after the call. */
#define ON_EVENT small_kept = event->topic.ptr;
#define ON_EVENT_TAKEN sleep_ms(20); small_seen = *small_kept;
#include <stdint.h>
static const uint8_t *volatile small_kept;
static volatile uint8_t small_seen;
#include "module.h"
