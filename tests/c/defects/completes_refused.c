/* A refused request is completed all the same. */
#define ON_WEBHOOK completion.done(completion.ctx, AlexStatus_FAILED, NULL);
#include "module.h"
