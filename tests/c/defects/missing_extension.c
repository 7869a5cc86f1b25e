/* The manifest names an extension that get_extension does not have. */
#define MANIFEST "{\"name\":\"small\",\"version\":\"1\",\"abi\":\"1.0\",\"event_topics\":{\"publish\":[\"small.#\"]},\"extensions\":[\"alex.metrics/1\",\"alex.drain/1\"]}"
#include "module.h"
