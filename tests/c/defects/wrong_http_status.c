/* Replies without an HTTP status. */
#define HTTP_STATUS 0
#include "module.h"
