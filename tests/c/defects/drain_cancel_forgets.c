/* cancel says that it is back at work, and is not. */
#define ON_CANCEL
#include "extended.h"
