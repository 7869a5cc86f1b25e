/* Publishes a topic that the manifest does not name. */
#define ON_START publish("other.topic", "{}");
#include "module.h"
