/* begin throws away what was accepted. */
#define ON_DRAIN m.count = 0;
#define ON_EVENT_TAKEN sleep_ms(5);
#include "extended.h"
