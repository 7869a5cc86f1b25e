/* Installs a signal handler. */
#define ON_START signal(SIGUSR1, SIG_IGN);
#include "module.h"
