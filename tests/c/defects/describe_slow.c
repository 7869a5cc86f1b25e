/* describe takes 150 ms. */
#define ON_DESCRIBE sleep_ms(150);
#include "module.h"
