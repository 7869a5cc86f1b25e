/* A configuration that is refused is kept all the same. */
#define ON_APPLY if (is_json(config, 1)) small_keep(config);
#include "extended.h"
