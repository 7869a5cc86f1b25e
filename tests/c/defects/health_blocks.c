/* health takes 300 ms. */
#define ON_HEALTH sleep_ms(300);
#include "module.h"
