/* Takes the topic for a string that ends with NUL. */
#define ON_EVENT if (event->topic.len) small_len = strlen((const char *)event->topic.ptr);
#include <stddef.h>
static volatile size_t small_len;
#include "module.h"
