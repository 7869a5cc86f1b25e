/* The last request is answered after stop. It answers slowly, so that one is left whenever it is stopped. */
#define ANSWER { sleep_ms(1); small_last = done; if (!m.leaving) done.done(done.ctx, AlexStatus_OK, &reply); else small_late = 1; }
#define ON_STOPPED if (small_late) { pthread_t t; small_late = 0; pthread_create(&t, NULL, small_answer, NULL); pthread_detach(t); }
#include "alex_module.h"
static AlexCompletion small_last;
static int small_late;
static void *small_answer(void *unused);
#include "module.h"

static void *small_answer(void *unused) {
  sleep_ms(200);
  small_last.done(small_last.ctx, AlexStatus_CANCELLED, NULL);
  return unused;
}
