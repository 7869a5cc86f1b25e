/* Another major, which it says. */
#include "../wrong_major.c"
