/* Loads, starts, uses, stops and closes a module again and again, and looks at what stays behind.
 *
 *   unload LIBRARY CYCLES gone|stays
 *
 * Eight threads of the host call the module in each cycle and end only after it was closed: what the module left on them
 * runs then. `gone`: the library's mapping must be gone after each dlclose. `stays`: it must be there, and memory must not
 * grow. Threads, descriptors and keys must be as before either way. Exit code 0 when all of that holds; else 1 with a line that
 * says what does not. Run it in an empty folder. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alex_module.h"

enum { CALLERS = 8, CALLS = 4, ERROR_BYTES = 1024 };

static atomic_int answered, accepted, unexpected;

static AlexStr str(const char *text) {
  AlexStr made = {(const uint8_t *)text, strlen(text)};
  return made;
}

static void give_up(const char *what, const char *about) {
  printf("FAILED: %s: %s\n", what, about);
  exit(1);
}

/* ---- the host ---- */

static void on_log(void *ctx, uint32_t level, AlexStr target, AlexStr message, AlexStr fields) {
  (void)ctx;
  (void)fields;
  if (level <= AlexHost_LOG_WARN)
    fprintf(stderr, "%.*s: %.*s\n", (int)target.len, (const char *)target.ptr, (int)message.len, (const char *)message.ptr);
}
static AlexStatus on_publish(void *ctx, const AlexEvent *event) { return (void)ctx, (void)event, AlexStatus_OK; }
static AlexStatus on_subscribe(void *ctx, AlexStr pattern, uint64_t *id) {
  (void)ctx;
  (void)pattern;
  *id = 1;
  return AlexStatus_OK;
}
static AlexStatus on_unsubscribe(void *ctx, uint64_t id) { return (void)ctx, (void)id, AlexStatus_OK; }
static AlexStatus on_config(void *ctx, AlexStr pointer, AlexSink out) {
  (void)ctx;
  (void)pointer;
  (void)out;
  return AlexStatus_OK;
}
static uint64_t on_now(void *ctx) { return (void)ctx, 1800000000000000000u; }
static const void *on_extension(void *ctx, AlexStr id) { return (void)ctx, (void)id, NULL; }

static const AlexHost host = {sizeof host, ALEX_ABI_VERSION, NULL,      on_log, on_publish,
                              on_subscribe, on_unsubscribe,  on_config, on_now, on_extension};

static void on_done(void *ctx, AlexStatus status, const AlexWebhookReply *reply) {
  (void)ctx;
  if (status == AlexStatus_OK ? reply->http_status != 200 : status != AlexStatus_CANCELLED) atomic_fetch_add(&unexpected, 1);
  atomic_fetch_add(&answered, 1);
}

/* ---- what is measured ---- */

static int count(const char *folder) {
  int entries = 0;
  DIR *dir = opendir(folder);
  if (dir == NULL) give_up("cannot read", folder);
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
    if (entry->d_name[0] != '.') entries++;
  closedir(dir);
  return entries;
}

static int is_mapped(const char *library) {
  const char *name = strrchr(library, '/');
  char line[4096];
  int found = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  if (maps == NULL) give_up("cannot read", "/proc/self/maps");
  while (fgets(line, sizeof line, maps) != NULL)
    if (strstr(line, name ? name : library) != NULL) found = 1;
  fclose(maps);
  return found;
}

static long rss_kib(void) {
  long pages = 0;
  FILE *statm = fopen("/proc/self/statm", "r");
  if (statm == NULL || fscanf(statm, "%*s %ld", &pages) != 1) give_up("cannot read", "/proc/self/statm");
  fclose(statm);
  return pages * 4;
}

/* The number of the next free key of thread-specific data: a key that a closed library forgot is taken for ever, and a process
 * has 1,024 of them. */
static int next_key(void) {
  pthread_key_t key;
  if (pthread_key_create(&key, NULL) != 0) give_up("pthread_key_create", "no key is left");
  pthread_key_delete(key);
  return (int)key;
}

/* ---- one cycle ---- */

static struct {
  const AlexBaseModule *module;
  void *instance;
  pthread_barrier_t called, closed;
} cycle;

static void *call_and_wait(void *unused) {
  char text[ERROR_BYTES];
  (void)unused;
  for (int i = 0; i < CALLS; i++) {
    AlexErrorBuf err = {(uint8_t *)text, sizeof text, 0};
    AlexHealth health = {.struct_size = sizeof health};
    AlexEvent event = {.struct_size = sizeof event, .topic = str("house.light"), .payload = str("{\"on\":true}")};
    AlexWebhookRequest request = {.struct_size = sizeof request, .method = str("GET"),
                                  .path = str("/api/chainbot/health/live"), .headers = str("{}")};
    AlexCompletion completion = {NULL, on_done};
    if (cycle.module->health(cycle.instance, &health) != AlexStatus_OK) atomic_fetch_add(&unexpected, 1);
    if (cycle.module->handle_event(cycle.instance, &event, &err) != AlexStatus_OK) atomic_fetch_add(&unexpected, 1);
    if (cycle.module->get_extension(cycle.instance, str("alex.nothing/1")) != NULL) atomic_fetch_add(&unexpected, 1);
    if (cycle.module->handle_webhook(cycle.instance, &request, completion, &err) == AlexStatus_OK)
      atomic_fetch_add(&accepted, 1);
    else
      atomic_fetch_add(&unexpected, 1);
    /* A refused call makes an error text, which is another way through the library. */
    event.topic = str("");
    if (cycle.module->handle_event(cycle.instance, &event, &err) != AlexStatus_INVALID) atomic_fetch_add(&unexpected, 1);
  }
  pthread_barrier_wait(&cycle.called);
  pthread_barrier_wait(&cycle.closed);
  return NULL;
}

static void expect(AlexStatus status, const char *call, const AlexErrorBuf *err) {
  char text[ERROR_BYTES + 32];
  if (status == AlexStatus_OK) return;
  snprintf(text, sizeof text, "%d %.*s", (int)status, (int)err->len, (const char *)err->ptr);
  give_up(call, text);
}

static void run_cycle(const char *library, int must_be_gone) {
  char text[ERROR_BYTES];
  AlexErrorBuf err = {(uint8_t *)text, sizeof text, 0};
  pthread_t callers[CALLERS];
  const AlexBaseModule *(*entry)(uint32_t);
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL), *symbol;
  if (handle == NULL) give_up("dlopen", dlerror());
  symbol = dlsym(handle, ALEX_ENTRY_SYMBOL);
  if (symbol == NULL) give_up("dlsym", dlerror());
  memcpy(&entry, &symbol, sizeof entry);
  cycle.module = entry(ALEX_ABI_VERSION);
  expect(cycle.module->initialize(&host, str("{\"data_dir\":\"data\",\"values\":{\"api\":{\"port\":null}}}"),
                                  &cycle.instance, &err), "initialize", &err);
  expect(cycle.module->start(cycle.instance, &err), "start", &err);
  pthread_barrier_init(&cycle.called, NULL, CALLERS + 1);
  pthread_barrier_init(&cycle.closed, NULL, CALLERS + 1);
  for (int i = 0; i < CALLERS; i++)
    if (pthread_create(&callers[i], NULL, call_and_wait, NULL) != 0) give_up("pthread_create", "no thread");
  pthread_barrier_wait(&cycle.called);
  expect(cycle.module->stop(cycle.instance, 30000, &err), "stop", &err);
  expect(cycle.module->cleanup(cycle.instance, &err), "cleanup", &err);
  if (dlclose(handle) != 0) give_up("dlclose", dlerror());
  if (is_mapped(library) == must_be_gone) give_up("after dlclose", must_be_gone ? "the library is still mapped" : "the library is gone");
  pthread_barrier_wait(&cycle.closed);
  for (int i = 0; i < CALLERS; i++) pthread_join(callers[i], NULL);
  pthread_barrier_destroy(&cycle.called);
  pthread_barrier_destroy(&cycle.closed);
}

int main(int argc, char **argv) {
  int cycles, must_be_gone, tasks, descriptors, keys;
  long memory;
  char text[240];
  if (argc != 4) give_up("usage", "unload LIBRARY CYCLES gone|stays");
  cycles = atoi(argv[2]);
  must_be_gone = strcmp(argv[3], "gone") == 0;
  /* The first cycles open what stays by design and let the allocator find its size. */
  for (int i = 0; i < cycles / 10 + 1; i++) run_cycle(argv[1], must_be_gone);
  tasks = count("/proc/self/task");
  descriptors = count("/proc/self/fd");
  keys = next_key();
  memory = rss_kib();
  for (int i = 0; i < cycles; i++) run_cycle(argv[1], must_be_gone);
  snprintf(text, sizeof text,
           "%d cycles, tasks %d -> %d, descriptors %d -> %d, keys %d -> %d, resident %ld -> %ld KiB, %d of %d answered", cycles, tasks,
           count("/proc/self/task"), descriptors, count("/proc/self/fd"), keys, next_key(), memory, rss_kib(), (int)answered,
           (int)accepted);
  if (count("/proc/self/task") != tasks || count("/proc/self/fd") != descriptors || next_key() != keys) give_up("left behind", text);
  if (answered != accepted || unexpected != 0) give_up("answers", text);
  /* Flat: less than 4 KiB a cycle, which is less than any forgotten buffer, stack or page of a database. A library that is
   * unloaded takes with it the addresses of what its static objects own on the heap, so each load costs that much anew. A few
   * cycles say nothing, least of all under valgrind, which grows itself. */
  if (cycles >= 100 && rss_kib() - memory > (must_be_gone ? 64L : 4L) * cycles + 4096) give_up("memory grows", text);
  printf("%s\n", text);
  return 0;
}
