/* Writes into the Host. */
#define ON_INITIALIZE ((AlexHost *)(uintptr_t)host)->ctx = NULL;
#include "module.h"
