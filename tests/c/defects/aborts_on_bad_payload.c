/* Aborts on a payload that is not JSON. */
#define ON_EVENT if (!is_json(event->payload, 0)) abort();
#include "module.h"
