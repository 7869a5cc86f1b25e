/* Every start opens a file and forgets it. */
#include <fcntl.h>
#define ON_START if (open("/dev/null", O_RDONLY) < 0) return say(err, AlexStatus_FAILED, "open");
#include "module.h"
