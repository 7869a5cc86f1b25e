/* Changes the umask. */
#include <sys/stat.h>
#define ON_START umask(0);
#include "module.h"
