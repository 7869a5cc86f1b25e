/* No defect. */
#include "module.h"
