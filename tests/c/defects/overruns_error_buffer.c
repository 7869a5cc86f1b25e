/* Writes messages without a look at the room. */
#define MESSAGE_ROOM(err) ((size_t)512)
#include "module.h"
