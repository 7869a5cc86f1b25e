/* A log line that is not UTF-8. */
#define ON_START log_line("gr\xfc\xdf");
#include "module.h"
