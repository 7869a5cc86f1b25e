/* The score is a percentage. */
#define SCORE 100.0
#include "module.h"
