/* check changes what it should only judge. */
#define ON_CHECK if (is_json(config, 1)) small_keep(config);
#define KEEP_CONFIG(config) (void)(config)
#include "extended.h"
