/* A released instance leads to a null pointer. */
#define IS_INSTANCE(instance) small_is(instance)
static int small_is(void *instance);
#include "module.h"

static int small_is(void *instance) {
  if (m.state == 0 && instance == m.handle && instance) *(volatile int *)NULL = 1;
  return m.state != 0 && instance == m.handle;
}
