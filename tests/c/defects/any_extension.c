/* get_extension answers ids that it does not know. */
#define OTHER_EXTENSION &metrics
#include "module.h"
