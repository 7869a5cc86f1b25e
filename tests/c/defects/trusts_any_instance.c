/* Takes every instance for its own but null. */
#define IS_INSTANCE(instance) ((instance) != NULL)
#include "module.h"
