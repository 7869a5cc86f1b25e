/* The manifest is not JSON. */
#define MANIFEST "{'name': 'small'}"
#include "module.h"
