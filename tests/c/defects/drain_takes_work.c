/* New work is taken while draining, and nobody does it in this version or in the next. */
#define TAKES_WHILE_DRAINING 1
#define WORK_IN(state) IS_UP(state)
#include "extended.h"
