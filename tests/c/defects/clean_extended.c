/* No defect, and every extension. */
#include "extended.h"
