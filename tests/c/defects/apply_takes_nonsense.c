/* apply reports success for what is no JSON. */
#define TAKES_CONFIG(config) ((config).ptr != NULL)
#define KEEP_CONFIG(config) (is_json(config, 1) ? small_keep(config) : (void)0)
#include "extended.h"
