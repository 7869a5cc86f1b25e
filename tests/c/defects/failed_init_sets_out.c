/* A failed initialize leaves something in `out`. */
#define ON_INITIALIZE_FAILED *out = &m;
#include "module.h"
