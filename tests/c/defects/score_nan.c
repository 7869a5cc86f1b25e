/* The score is not a number. */
#define SCORE (0.0 / (double)(m.leaving - m.leaving))
#include "module.h"
