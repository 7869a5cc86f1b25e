/* Blocks a signal on the thread of the caller. */
#define ON_START { sigset_t set; sigemptyset(&set); sigaddset(&set, SIGUSR2); pthread_sigmask(SIG_BLOCK, &set, NULL); }
#include "module.h"
