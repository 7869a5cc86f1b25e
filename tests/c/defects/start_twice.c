/* A second start succeeds. */
#define START_FROM(state) 1
#include "module.h"
