/* Sets a variable of the environment. */
#define ON_INITIALIZE setenv("SMALL", "1", 1);
#include "module.h"
