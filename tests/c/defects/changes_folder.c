/* Changes the working directory. */
#define ON_START if (chdir("/")) return say(err, AlexStatus_FAILED, "chdir");
#include "module.h"
