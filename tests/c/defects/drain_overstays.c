/* begin waits for longer than its deadline. */
#define ON_DRAIN until.tv_sec += 60;
#define IS_AT_REST 0
#include "extended.h"
