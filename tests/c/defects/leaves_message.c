/* Leaves the message of the call before on success. */
#define OK_MESSAGE "fine"
#include "module.h"
