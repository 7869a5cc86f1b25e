/* import_state ends the process when a number is none. */
#define ON_IMPORT if (state.ptr && holds(state, "\"format\":") && !holds(state, "\"format\":1")) abort();
#include "extended.h"
