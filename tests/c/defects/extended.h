/* The small module with alex.drain/1 and alex.reconfigure/1. What is defined here and in extensions.h is right unless a file
 * says otherwise. */
#ifndef EXTENDED_H
#define EXTENDED_H

#define MANIFEST \
  "{\"name\":\"small\",\"version\":\"1.0.0\",\"abi\":\"1.0\",\"event_topics\":{\"publish\":[\"small.#\"]," \
  "\"subscribe\":[\"test.*\"]},\"webhooks\":[{\"method\":\"*\",\"path\":\"/\"}]," \
  "\"config_schema\":{\"type\":\"object\",\"properties\":{\"level\":{\"type\":\"integer\"},\"restart\":{\"type\":\"boolean\"}}}," \
  "\"extensions\":[\"alex.metrics/1\",\"alex.drain/1\",\"alex.reconfigure/1\"]}"

/* What `begin` and `import_state` do with the lock held, and others before they judge. */
#ifndef ON_DRAIN
#define ON_DRAIN
#endif
#ifndef ON_CANCEL
#define ON_CANCEL m.state = AlexHealth_STATE_STARTED;
#endif
#ifndef ON_IMPORT
#define ON_IMPORT
#endif
#ifndef ON_CHECK
#define ON_CHECK
#endif
#ifndef ON_APPLY
#define ON_APPLY
#endif
/* Whether the worker has nothing left to do. */
#ifndef IS_AT_REST
#define IS_AT_REST (m.count == 0 && m.running == 0)
#endif
#ifndef WRITE_STATE
#define WRITE_STATE out.write(out.ctx, str("{\"format\":1,\"level\":0}"))
#endif
#ifndef WRITE_CONFIG
#define WRITE_CONFIG out.write(out.ctx, text)
#endif
/* Whether a document may be applied, and what is kept of it. */
#ifndef TAKES_CONFIG
#define TAKES_CONFIG(config) is_json(config, 1)
#endif
#ifndef KEEP_CONFIG
#define KEEP_CONFIG(config) small_keep(config)
#endif

#include "module.h"
#endif
