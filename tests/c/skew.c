/* A module of another version: what a library looks like that was built with an older or a newer header.
 *
 *   -DVERSION=0x00010001   what it says it is
 *   -DEXTRA                its struct has one function more at the end
 *   -DMISSING              its struct lacks the last function */
#include <stddef.h>
#include <string.h>

#include "alex_module.h"

static AlexStatus describe(AlexSink out) {
  static const char manifest[] = "{\"name\":\"skew\",\"version\":\"1.0.0\",\"abi\":\"1.0\",\"webhooks\":[]}";
  AlexStr text = {(const uint8_t *)manifest, sizeof manifest - 1};
  out.write(out.ctx, text);
  return AlexStatus_OK;
}
static AlexStatus refuse(AlexErrorBuf *err) {
  static const char why[] = "this module only shows its version";
  if (err != NULL && err->cap >= sizeof why) {
    memcpy(err->ptr, why, sizeof why - 1);
    err->len = sizeof why - 1;
  }
  return AlexStatus_UNSUPPORTED;
}
static AlexStatus initialize(const AlexHost *host, AlexStr config, void **out, AlexErrorBuf *err) {
  (void)host;
  (void)config;
  *out = NULL;
  return refuse(err);
}
static AlexStatus control(void *instance, AlexErrorBuf *err) { return (void)instance, refuse(err); }
static AlexStatus stop(void *instance, uint32_t deadline_ms, AlexErrorBuf *err) {
  return (void)instance, (void)deadline_ms, refuse(err);
}
static AlexStatus health(void *instance, AlexHealth *out) { return (void)instance, (void)out, AlexStatus_INVALID; }
static AlexStatus event(void *instance, const AlexEvent *got, AlexErrorBuf *err) {
  return (void)instance, (void)got, refuse(err);
}
static AlexStatus webhook(void *instance, const AlexWebhookRequest *got, AlexCompletion completion, AlexErrorBuf *err) {
  return (void)instance, (void)got, (void)completion, refuse(err);
}
static const void *extension(void *instance, AlexStr id) { return (void)instance, (void)id, NULL; }

typedef struct Newer {
  AlexBaseModule base;
  AlexStatus (*added)(void *instance);
} Newer;

const AlexBaseModule *alex_base_module(uint32_t host_abi_version) {
  static Newer module = {{0, VERSION, describe, initialize, control, stop, control, health, event, webhook, extension}, NULL};
#ifdef EXTRA
  module.base.struct_size = sizeof module;
#elif defined(MISSING)
  module.base.struct_size = offsetof(AlexBaseModule, get_extension);
#else
  module.base.struct_size = sizeof module.base;
#endif
  return host_abi_version == 0 || host_abi_version >> 16 == VERSION >> 16 ? &module.base : NULL;
}
