/* Every request is completed twice. */
#define ANSWER (done.done(done.ctx, AlexStatus_OK, &reply), done.done(done.ctx, AlexStatus_OK, &reply))
#include "module.h"
