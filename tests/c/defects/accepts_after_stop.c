/* Takes events and requests after stop. */
#define WORK_IN(state) ((state) == AlexHealth_STATE_STARTED || (state) == AlexHealth_STATE_STOPPED)
#include "module.h"
