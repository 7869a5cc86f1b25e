/* stop does not keep its deadline. */
#define ON_STOP sleep_ms(60000);
#include "module.h"
