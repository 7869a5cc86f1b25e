/* A nested configuration of a kind that nobody writes by hand ends the process. */
#define ON_APPLY if (config.ptr && holds(config, "}}")) abort();
#include "extended.h"
