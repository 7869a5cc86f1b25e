/* Every extension of the module, used from C through the header alone: extensions LIBRARY DATA_FOLDER.
 * Prints one line a step; a test compares them. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alex_module.h"

static const AlexBaseModule *module;
static void *instance;
static pthread_t control;
static int thread_warnings;
static char text[1 << 16];
static size_t text_len;

static AlexStr str(const char *value) {
  AlexStr s;
  s.ptr = (const uint8_t *)value;
  s.len = strlen(value);
  return s;
}

static void host_log(void *ctx, uint32_t level, AlexStr target, AlexStr message, AlexStr fields) {
  (void)ctx, (void)level, (void)target, (void)fields;
  if (message.len > 7 && memcmp(message.ptr, "CB-0711", 7) == 0) thread_warnings++;
}
static AlexStatus host_publish(void *ctx, const AlexEvent *event) {
  (void)ctx, (void)event;
  return AlexStatus_OK;
}
static AlexStatus host_subscribe(void *ctx, AlexStr pattern, uint64_t *out) {
  (void)ctx, (void)pattern;
  *out = 1;
  return AlexStatus_OK;
}
static AlexStatus host_unsubscribe(void *ctx, uint64_t id) {
  (void)ctx, (void)id;
  return AlexStatus_OK;
}
static AlexStatus host_config(void *ctx, AlexStr pointer, AlexSink out) {
  (void)ctx, (void)pointer, (void)out;
  return AlexStatus_OK;
}
static uint64_t host_now(void *ctx) {
  (void)ctx;
  return UINT64_C(1800000000000000000);
}
static uint32_t is_control_thread(void *ctx) {
  (void)ctx;
  return pthread_equal(pthread_self(), control) ? 1 : 0;
}
static const void *host_extension(void *ctx, AlexStr id) {
  static const AlexThreadCheckExt check = {is_control_thread};
  (void)ctx;
  return id.len == strlen(ALEX_EXT_THREAD_CHECK) && memcmp(id.ptr, ALEX_EXT_THREAD_CHECK, id.len) == 0 ? &check : NULL;
}

static void collect(void *ctx, AlexStr chunk) {
  (void)ctx;
  if (text_len + chunk.len >= sizeof text) exit(9);
  memcpy(text + text_len, chunk.ptr, chunk.len);
  text_len += chunk.len;
  text[text_len] = 0;
}
static AlexSink sink(void) {
  AlexSink s;
  s.ctx = NULL;
  s.write = collect;
  text_len = 0;
  text[0] = 0;
  return s;
}

static uint8_t room[512];
static AlexErrorBuf err;
static AlexErrorBuf *error(void) {
  err.ptr = room;
  err.cap = sizeof room;
  err.len = 0;
  return &err;
}

/* The status and the code of the message, which is all that stays the same. */
static void tell(const char *step, AlexStatus status) {
  printf("%s %d%s%.*s\n", step, (int)status, err.len > 0 ? " " : "", err.len > 7 ? 7 : (int)err.len, (const char *)room);
  err.len = 0;
}

static void *stop_elsewhere(void *unused) {
  (void)unused;
  tell("stop on another thread", module->stop(instance, 30000, error()));
  return NULL;
}

int main(int argc, char **argv) {
  static const AlexHost host = {sizeof host,      ALEX_ABI_VERSION, NULL,     host_log,      host_publish, host_subscribe,
                                host_unsubscribe, host_config,      host_now, host_extension};
  const AlexMetricsExt *metrics;
  const AlexDrainExt *drain;
  const AlexReconfigureExt *reconfigure;
  const AlexBaseModule *(*entry)(uint32_t);
  AlexHealth health;
  char config[1024], changed[2048], restart[2048];
  pthread_t other;
  void *library, *symbol;
  if (argc != 3 || (library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL)) == NULL) return 2;
  symbol = dlsym(library, ALEX_ENTRY_SYMBOL);
  if (symbol == NULL) return 2;
  memcpy(&entry, &symbol, sizeof entry);
  module = entry(ALEX_ABI_VERSION);
  control = pthread_self();
  snprintf(config, sizeof config, "{\"data_dir\":\"%s\",\"values\":{\"api\":{\"port\":null}}}", argv[2]);
  snprintf(changed, sizeof changed,
           "{\"data_dir\":\"%s\",\"values\":{\"api\":{\"port\":null},\"egress\":{\"public\":false}}}", argv[2]);
  snprintf(restart, sizeof restart, "{\"data_dir\":\"%s\",\"values\":{\"api\":{\"port\":0},\"egress\":{\"public\":false}}}",
           argv[2]);
  tell("initialize", module->initialize(&host, str(config), &instance, error()));
  metrics = module->get_extension(instance, str(ALEX_EXT_METRICS));
  drain = module->get_extension(instance, str(ALEX_EXT_DRAIN));
  reconfigure = module->get_extension(instance, str(ALEX_EXT_RECONFIGURE));
  if (metrics == NULL || drain == NULL || reconfigure == NULL) return 3;
  tell("import of another version", drain->import_state(instance, str("{\"format\":77}"), error()));
  tell("import", drain->import_state(instance, str("{\"format\":1,\"module\":\"chainbot\",\"port\":null}"), error()));
  tell("apply before start", reconfigure->apply(instance, str(changed), error()));
  tell("start", module->start(instance, error()));
  tell("metrics", metrics->snapshot(instance, sink()));
  printf("score %d, commits %d, end %d\n", strstr(text, "\nchainbot_health_score 1\n") != NULL,
         strstr(text, "chainbot_journal_commit_seconds_count") != NULL, strcmp(text + text_len - 6, "# EOF\n") == 0);
  tell("check", reconfigure->check(instance, str(changed), error()));
  tell("apply of what needs a restart", reconfigure->apply(instance, str(restart), error()));
  tell("snapshot", reconfigure->snapshot(instance, sink()));
  printf("public before %d\n", strstr(text, "\"egress.public\":{\"change\":\"live\",\"origin\":") != NULL &&
                                   strstr(text, "\"value\":false},\"gpio.pins\"") == NULL);
  tell("apply", reconfigure->apply(instance, str(changed), error()));
  tell("snapshot", reconfigure->snapshot(instance, sink()));
  printf("closed after %d, restart %d\n", strstr(text, "\"egress.public\":{") != NULL && strstr(strstr(text, "\"egress.public\":{"), "\"value\":false}") != NULL,
         strstr(text, "\"api.port\":{\"change\":\"restart\"") != NULL);
  tell("export before a drain", drain->export_state(instance, sink(), error()));
  tell("drain", drain->begin(instance, 30000, error()));
  health.struct_size = sizeof health;
  tell("health", module->health(instance, &health));
  printf("state %u, score %.1f\n", (unsigned)health.state, health.score);
  tell("export", drain->export_state(instance, sink(), error()));
  printf("format %d\n", strstr(text, "\"format\":1") != NULL);
  tell("cancel", drain->cancel(instance, error()));
  tell("drain again", drain->begin(instance, 30000, error()));
  printf("warnings %d\n", thread_warnings);
  if (pthread_create(&other, NULL, stop_elsewhere, NULL) != 0) return 4;
  pthread_join(other, NULL);
  printf("warnings %d\n", thread_warnings);
  tell("cleanup", module->cleanup(instance, error()));
  return 0;
}
