/* handle_event takes 300 ms. */
#define ON_EVENT sleep_ms(300);
#include "module.h"
