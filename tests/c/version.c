/* One version of a module among several, for tests of upgrades: echo.c with a name, a version and a planted fault.
 *
 * NAME, VERSION, STORAGE (a number) and FAULT are given by the compiler. FAULT is where it fails: describe, manifest, initialize,
 * import, start, restart, failed or unhealthy; with hang- in front it never returns from there. Without NO_DRAIN it can hand over. Its
 * replies to /version name VERSION and how often this image has been asked, which no other image can know. */
#define alex_base_module echo_base_module
#include "echo.c"
#undef alex_base_module

#ifndef NAME
#define NAME "echo"
#endif
#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef FAULT
#define FAULT "none"
#endif

static unsigned asked;

static int fails_at(const char *place) {
  while (strncmp(FAULT, "hang-", 5) == 0 && strcmp(FAULT + 5, place) == 0) pause();
  return strcmp(FAULT, place) == 0;
}

static AlexStatus version_describe(AlexSink out) {
  if (fails_at("describe")) return AlexStatus_FAILED;
  if (fails_at("manifest")) {
    out.write(out.ctx, str("{\"name\":"));
    return AlexStatus_OK;
  }
  out.write(out.ctx, str("{\"name\":\"" NAME "\",\"version\":\"" VERSION "\",\"abi\":\"1.0\""));
#ifdef STORAGE
  out.write(out.ctx, str(",\"storage\":{\"format\":\"chainbot-sqlite\",\"version\":" STORAGE "}"));
#endif
  out.write(out.ctx, str(",\"extensions\":[\"alex.drain/1\"]}"));
  return AlexStatus_OK;
}

static AlexStatus version_initialize(const AlexHost *host, AlexStr config, void **out, AlexErrorBuf *err) {
  *out = NULL;
  if (fails_at("initialize")) return fail(err, AlexStatus_INVALID, "planted in initialize");
  return initialize(host, config, out, err);
}

static AlexStatus version_start(void *instance, AlexErrorBuf *err) {
  static int started;
  if (started++ && fails_at("restart")) return fail(err, AlexStatus_FAILED, "planted in the second start");
  if (fails_at("start")) return fail(err, AlexStatus_FAILED, "planted in start");
  return start(instance, err);
}

static AlexStatus version_stop(void *instance, uint32_t deadline_ms, AlexErrorBuf *err) {
  if (m.state == AlexHealth_STATE_DRAINING) { /* the worker is gone already */
    m.state = AlexHealth_STATE_STOPPED;
    return succeed(err);
  }
  return stop(instance, deadline_ms, err);
}

static AlexStatus version_health(void *instance, AlexHealth *out) {
  AlexStatus status = health(instance, out);
  if (status == AlexStatus_OK && out->state == AlexHealth_STATE_STARTED) {
    if (fails_at("failed")) out->state = AlexHealth_STATE_FAILED;
    if (fails_at("unhealthy")) out->score = 0.1;
  }
  return status;
}

static AlexStatus version_event(void *instance, const AlexEvent *event, AlexErrorBuf *err) {
  if (m.state == AlexHealth_STATE_DRAINING) return fail(err, AlexStatus_BUSY, "draining");
  return handle_event(instance, event, err);
}

static AlexStatus version_webhook(void *instance, const AlexWebhookRequest *request, AlexCompletion completion,
                                  AlexErrorBuf *err) {
  if (m.state == AlexHealth_STATE_DRAINING) return fail(err, AlexStatus_BUSY, "draining");
  if (!is(request->path, "/version")) return handle_webhook(instance, request, completion, err);
  char text[128];
  if (m.state != AlexHealth_STATE_STARTED) return fail(err, AlexStatus_STATE, "not started");
  pthread_mutex_lock(&m.lock);
  snprintf(text, sizeof text, "\"path\":\"/version\" %s %u", VERSION, ++asked);
  AlexStatus status = push(0, completion, text, request->body);
  pthread_mutex_unlock(&m.lock);
  return status == AlexStatus_OK ? succeed(err) : fail(err, status, "full");
}

static AlexStatus drain_begin(void *instance, uint32_t deadline_ms, AlexErrorBuf *err) {
  if (m.state == AlexHealth_STATE_DRAINING) return succeed(err);
  if (m.state != AlexHealth_STATE_STARTED) return fail(err, AlexStatus_STATE, "not started");
  AlexStatus status = stop(instance, deadline_ms, err); /* the worker does what was accepted, then it ends */
  if (status == AlexStatus_OK) m.state = AlexHealth_STATE_DRAINING;
  return status;
}

static AlexStatus drain_cancel(void *instance, AlexErrorBuf *err) {
  if (m.state != AlexHealth_STATE_DRAINING) return fail(err, AlexStatus_STATE, "not draining");
  return start(instance, err);
}

static AlexStatus drain_export(void *instance, AlexSink out, AlexErrorBuf *err) {
  (void)instance;
  out.write(out.ctx, str("{\"format\":1,\"module\":\"" NAME "\",\"port\":null}"));
  return succeed(err);
}

static AlexStatus drain_import(void *instance, AlexStr state, AlexErrorBuf *err) {
  (void)instance;
  if (fails_at("import")) return fail(err, AlexStatus_UNSUPPORTED, "planted in import");
  return state.len > 0 ? succeed(err) : fail(err, AlexStatus_INVALID, "empty");
}

static const void *version_extension(void *instance, AlexStr id) {
  static const AlexDrainExt drain = {drain_begin, drain_cancel, drain_export, drain_import};
  (void)instance;
#ifndef NO_DRAIN
  if (is(id, ALEX_EXT_DRAIN)) return &drain;
#endif
  (void)id;
  (void)drain;
  return NULL;
}

const AlexBaseModule *alex_base_module(uint32_t host_abi_version) {
  static const AlexBaseModule module = {sizeof module,     ALEX_ABI_VERSION, version_describe, version_initialize,
                                        version_start,     version_stop,     cleanup,          version_health,
                                        version_event,     version_webhook,  version_extension};
  (void)describe;
  (void)get_extension;
  (void)echo_base_module;
  return host_abi_version >> 16 == ALEX_ABI_MAJOR || host_abi_version == 0 ? &module : NULL;
}
