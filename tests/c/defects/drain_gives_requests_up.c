/* begin answers what was accepted with CANCELLED, as only a stop may. */
#define ON_DRAIN                                                                          \
  for (; m.count; m.count--, m.first = (m.first + 1) % JOB_ROOM) {                        \
    Job job = m.jobs[m.first];                                                            \
    if (!job.is_event) job.done.done(job.done.ctx, AlexStatus_CANCELLED, NULL);           \
  }
#define ON_EVENT_TAKEN sleep_ms(5);
#include "extended.h"
