/* begin never reports that it is drained. */
#define ON_DRAIN late = 1;
#define IS_AT_REST 0
#include "extended.h"
