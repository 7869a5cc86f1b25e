/* Publishes a payload that is not JSON. */
#define ON_START publish("small.note", "started at noon");
#include "module.h"
