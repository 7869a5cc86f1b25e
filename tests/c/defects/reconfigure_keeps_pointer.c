/* apply keeps the text that it was lent. */
#define KEEP_CONFIG(config) (small_kept = (config).ptr)
#define ON_EVENT if (small_kept) small_seen = *small_kept;
#define ON_CHECK if (small_kept) small_seen = *small_kept;
#define ON_STOP if (small_kept) small_seen = *small_kept;
static const unsigned char *volatile small_kept;
static volatile unsigned char small_seen;
#include "extended.h"
