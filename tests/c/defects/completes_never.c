/* Every fourth request is forgotten. */
#define ANSWER if (small_count++ % 4) done.done(done.ctx, AlexStatus_OK, &reply)
static unsigned small_count;
#include "module.h"
