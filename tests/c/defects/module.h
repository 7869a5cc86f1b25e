/* A small, correct module, of which every file beside it spoils one thing.
 *
 * A defect is a macro: `#define ON_START leak();` before the include puts a statement into `start`. What has no macro is
 * as the contract says: one worker thread answers requests and takes events, every argument is checked, every
 * call keeps the table of states. It offers alex.metrics/1; extended.h adds the other two. */
#ifndef DEFECT_MODULE_H
#define DEFECT_MODULE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alex_module.h"

/* Statements at the named place. */
#ifndef ON_DESCRIBE
#define ON_DESCRIBE
#endif
#ifndef ON_INITIALIZE
#define ON_INITIALIZE
#endif
#ifndef ON_INITIALIZE_FAILED
#define ON_INITIALIZE_FAILED
#endif
#ifndef ON_START
#define ON_START
#endif
#ifndef ON_STOP
#define ON_STOP
#endif
#ifndef ON_STOPPED
#define ON_STOPPED
#endif
#ifndef ON_CLEANUP
#define ON_CLEANUP
#endif
#ifndef ON_HEALTH
#define ON_HEALTH
#endif
#ifndef ON_EVENT
#define ON_EVENT
#endif
#ifndef ON_WEBHOOK
#define ON_WEBHOOK
#endif
#ifndef ON_EXTENSION
#define ON_EXTENSION
#endif
/* On the worker. */
#ifndef ON_EVENT_TAKEN
#define ON_EVENT_TAKEN
#endif
#ifndef ANSWER
#define ANSWER done.done(done.ctx, AlexStatus_OK, &reply)
#endif
#ifndef HTTP_STATUS
#define HTTP_STATUS 200
#endif
/* Values. */
#ifndef MANIFEST
#define MANIFEST \
  "{\"name\":\"small\",\"version\":\"1.0.0\",\"abi\":\"1.0\",\"event_topics\":{\"publish\":[\"small.#\"]," \
  "\"subscribe\":[\"test.*\"]},\"webhooks\":[{\"method\":\"*\",\"path\":\"/\"},{\"method\":\"POST\",\"path\":\"/hooks/{name}\"}]," \
  "\"config_schema\":{\"type\":\"object\"},\"extensions\":[\"alex.metrics/1\"]}"
#endif
#ifndef SCORE
#define SCORE (m.state == AlexHealth_STATE_STARTED ? 1.0 : 0.5)
#endif
#ifndef START_FROM
#define START_FROM(state) ((state) == AlexHealth_STATE_INITIALIZED || (state) == AlexHealth_STATE_STOPPED)
#endif
#ifndef TAKES_WHILE_DRAINING
#define TAKES_WHILE_DRAINING 0
#endif
#ifndef WORK_IN
#define WORK_IN(state) ((state) == AlexHealth_STATE_STARTED)
#endif
#ifndef IS_INSTANCE
#define IS_INSTANCE(instance) (m.state != 0 && (instance) == m.handle)
#endif
#ifndef MESSAGE_ROOM
#define MESSAGE_ROOM(err) ((err)->cap)
#endif
#ifndef OK_MESSAGE
#define OK_MESSAGE ""
#endif
#ifndef OTHER_EXTENSION
#define OTHER_EXTENSION NULL
#endif
#ifndef JOB_ROOM
#define JOB_ROOM 256
#endif
/* Whether work runs, or has come to rest for another version. */
#define IS_UP(state) ((state) == AlexHealth_STATE_STARTED || (state) == AlexHealth_STATE_DRAINING)

typedef struct Job {
  int is_event;
  AlexCompletion done;
} Job;

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  const AlexHost *host;
  AlexHost copied;
  void *handle;
  uintptr_t generation;
  uint32_t state;
  pthread_t worker;
  int leaving;
  uint64_t subscription;
  Job jobs[JOB_ROOM];
  unsigned first, count, running;
} m = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* For defects that wait. */
static inline void sleep_ms(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static inline AlexStr str(const char *text) {
  AlexStr s = {(const uint8_t *)text, strlen(text)};
  return s;
}

static inline int is_id(AlexStr id, const char *own) {
  return id.ptr && id.len == strlen(own) && memcmp(id.ptr, own, id.len) == 0;
}

static inline AlexStatus say(AlexErrorBuf *err, AlexStatus status, const char *why) {
  if (err) {
    size_t len = strlen(why), room = MESSAGE_ROOM(err);
    err->len = len < room ? len : room;
    if (err->len) memcpy(err->ptr, why, err->len);
  }
  return status;
}

static inline AlexStatus ok(AlexErrorBuf *err) {
  return say(err, AlexStatus_OK, OK_MESSAGE);
}

/* Continuation bytes, overlong forms, surrogates, the end: UTF-8 as RFC 3629 has it. */
static inline int is_text(AlexStr s) {
  if (s.len == 0) return 1;
  if (!s.ptr) return 0;
  for (size_t at = 0; at < s.len;) {
    uint8_t c = s.ptr[at++];
    size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 9;
    if (more == 9 || at + more > s.len) return 0;
    for (size_t i = 0; i < more; i++) {
      uint8_t d = s.ptr[at + i], low = 0x80, high = 0xbf;
      if (i == 0 && c == 0xe0) low = 0xa0;
      if (i == 0 && c == 0xed) high = 0x9f;
      if (i == 0 && c == 0xf0) low = 0x90;
      if (i == 0 && c == 0xf4) high = 0x8f;
      if (d < low || d > high) return 0;
    }
    at += more;
  }
  return 1;
}

static inline int json_value(const uint8_t **at, const uint8_t *end, int depth);

static inline void json_space(const uint8_t **at, const uint8_t *end) {
  while (*at < end && (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r')) ++*at;
}

static inline int json_string(const uint8_t **at, const uint8_t *end) {
  if (*at == end || *(*at)++ != '"') return 0;
  while (*at < end && **at != '"') {
    if (**at < 0x20) return 0;
    if (*(*at)++ == '\\') {
      if (*at == end || !strchr("\"\\/bfnrtu", **at)) return 0;
      if (*(*at)++ == 'u')
        for (int i = 0; i < 4; i++)
          if (*at == end || !strchr("0123456789abcdefABCDEF", *(*at)++)) return 0;
    }
  }
  return *at < end && *(*at)++ == '"';
}

static inline int json_list(const uint8_t **at, const uint8_t *end, int depth, int is_object) {
  uint8_t close = is_object ? '}' : ']';
  ++*at;
  json_space(at, end);
  if (*at < end && **at == close) return ++*at, 1;
  for (;;) {
    json_space(at, end);
    if (is_object) {
      if (!json_string(at, end)) return 0;
      json_space(at, end);
      if (*at == end || *(*at)++ != ':') return 0;
    }
    if (!json_value(at, end, depth - 1)) return 0;
    json_space(at, end);
    if (*at == end) return 0;
    uint8_t c = *(*at)++;
    if (c == close) return 1;
    if (c != ',') return 0;
  }
}

static inline int json_value(const uint8_t **at, const uint8_t *end, int depth) {
  static const char *const words[] = {"true", "false", "null"};
  json_space(at, end);
  if (*at == end || depth == 0) return 0;
  if (**at == '{' || **at == '[') return json_list(at, end, depth, **at == '{');
  if (**at == '"') return json_string(at, end);
  for (int i = 0; i < 3; i++)
    if ((size_t)(end - *at) >= strlen(words[i]) && memcmp(*at, words[i], strlen(words[i])) == 0) return *at += strlen(words[i]), 1;
  const uint8_t *begin = *at;
  while (*at < end && **at && strchr("+-.0123456789eE", **at)) ++*at;
  return *at > begin;
}

/* Whether it is JSON, or a JSON object. */
static inline int is_json(AlexStr s, int is_object) {
  if (!is_text(s) || s.len == 0) return 0;
  const uint8_t *at = s.ptr, *end = s.ptr + s.len;
  json_space(&at, end);
  if (is_object && (at == end || *at != '{')) return 0;
  if (!json_value(&at, end, 64)) return 0;
  json_space(&at, end);
  return at == end;
}

#ifdef OWN_CODE
OWN_CODE
#endif

static inline void publish(const char *topic, const char *payload) {
  AlexEvent event = {sizeof event, 0, str(topic), str(payload), str(""), str(""), m.copied.now(m.copied.ctx)};
  m.copied.publish(m.copied.ctx, &event);
}

static inline void log_line(const char *message) {
  m.copied.log(m.copied.ctx, AlexHost_LOG_INFO, str("small"), str(message), str(""));
}

static AlexStatus small_describe(AlexSink out) {
  ON_DESCRIBE
  out.write(out.ctx, str(MANIFEST));
  return AlexStatus_OK;
}

static AlexStatus small_initialize(const AlexHost *host, AlexStr config, void **out, AlexErrorBuf *err) {
  if (!out) return say(err, AlexStatus_INVALID, "out is null");
  *out = NULL;
  if (!host || host->struct_size < sizeof *host || host->abi_version >> 16 != ALEX_ABI_MAJOR || !host->log || !host->publish ||
      !host->subscribe || !host->unsubscribe || !host->config || !host->now || !host->get_extension || !is_json(config, 1)) {
    ON_INITIALIZE_FAILED
    return say(err, AlexStatus_INVALID, "the host or the configuration is wrong");
  }
  if (m.state) return say(err, AlexStatus_STATE, "there is an instance");
  m.host = host;
  m.copied = *host;
  /* A handle is a number that is never given twice. */
  m.handle = (void *)(0x1000 + ++m.generation * 16);
  pthread_mutex_lock(&m.lock);
  m.state = AlexHealth_STATE_INITIALIZED;
  pthread_mutex_unlock(&m.lock);
  ON_INITIALIZE
  log_line("initialized");
  *out = m.handle;
  return ok(err);
}

static void *small_work(void *unused) {
  (void)unused;
  pthread_mutex_lock(&m.lock);
  for (;;) {
    while (!m.count && !m.leaving) pthread_cond_wait(&m.changed, &m.lock);
    if (!m.count) break;
    Job job = m.jobs[m.first];
    m.first = (m.first + 1) % JOB_ROOM;
    m.count--;
    m.running = 1;
    pthread_mutex_unlock(&m.lock);
    if (job.is_event) {
      ON_EVENT_TAKEN
    } else {
      AlexCompletion done = job.done;
      AlexWebhookReply reply = {sizeof reply, HTTP_STATUS, str("{\"content-type\":\"text/plain\"}"), str("done")};
      (void)done;
      (void)reply;
      ANSWER;
    }
    pthread_mutex_lock(&m.lock);
    m.running = 0;
    pthread_cond_broadcast(&m.changed);
  }
  pthread_mutex_unlock(&m.lock);
  return NULL;
}

static AlexStatus small_start(void *instance, AlexErrorBuf *err) {
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  if (!START_FROM(m.state)) return say(err, AlexStatus_STATE, "already started");
  if (m.state == AlexHealth_STATE_STARTED) return ok(err);
  AlexStatus status = m.copied.subscribe(m.copied.ctx, str("test.*"), &m.subscription);
  if (status != AlexStatus_OK) return say(err, status, "the host refused the subscription");
  m.leaving = 0;
  if (pthread_create(&m.worker, NULL, small_work, NULL)) return say(err, AlexStatus_FAILED, "no thread");
  ON_START
  pthread_mutex_lock(&m.lock);
  m.state = AlexHealth_STATE_STARTED;
  pthread_mutex_unlock(&m.lock);
  publish("small.started", "{\"at\":1}");
  return ok(err);
}

static AlexStatus small_stop(void *instance, uint32_t deadline_ms, AlexErrorBuf *err) {
  (void)deadline_ms;
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  if (!IS_UP(m.state)) return say(err, AlexStatus_STATE, "not started");
  ON_STOP
  pthread_mutex_lock(&m.lock);
  m.state = AlexHealth_STATE_STOPPING;
  m.leaving = 1;
  pthread_cond_broadcast(&m.changed);
  pthread_mutex_unlock(&m.lock);
  pthread_join(m.worker, NULL);
  m.copied.unsubscribe(m.copied.ctx, m.subscription);
  ON_STOPPED
  pthread_mutex_lock(&m.lock);
  m.state = AlexHealth_STATE_STOPPED;
  pthread_mutex_unlock(&m.lock);
  return ok(err);
}

static AlexStatus small_cleanup(void *instance, AlexErrorBuf *err) {
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  if (m.state != AlexHealth_STATE_STOPPED && m.state != AlexHealth_STATE_INITIALIZED)
    return say(err, AlexStatus_STATE, "not stopped");
  log_line("released");
  ON_CLEANUP
  m.state = 0;
  return ok(err);
}

static AlexStatus small_health(void *instance, AlexHealth *out) {
  if (!IS_INSTANCE(instance) || !out || out->struct_size < sizeof *out) return AlexStatus_INVALID;
  ON_HEALTH
  pthread_mutex_lock(&m.lock);
  out->state = m.state;
  out->score = SCORE;
  out->uptime_ms = 0;
  out->in_flight = m.count + m.running;
  out->queue_depth = m.count;
  out->panics = 0;
  out->live_threads = IS_UP(m.state);
  out->detail_len = 2;
  memcpy(out->detail, "ok", 2);
  pthread_mutex_unlock(&m.lock);
  return AlexStatus_OK;
}

/* With the lock, so that no stop comes between the look at the state and the queue. */
static AlexStatus small_push(int is_event, AlexCompletion done, AlexErrorBuf *err) {
  AlexStatus status = AlexStatus_OK;
  pthread_mutex_lock(&m.lock);
  if (m.state == AlexHealth_STATE_DRAINING && !TAKES_WHILE_DRAINING) {
    status = AlexStatus_BUSY;
  } else if (!WORK_IN(m.state)) {
    status = AlexStatus_STATE;
  } else if (m.count == JOB_ROOM) {
    status = AlexStatus_BUSY;
  } else {
    Job job = {is_event, done};
    m.jobs[(m.first + m.count++) % JOB_ROOM] = job;
    pthread_cond_broadcast(&m.changed);
  }
  pthread_mutex_unlock(&m.lock);
  return status == AlexStatus_OK ? ok(err) : say(err, status, status == AlexStatus_BUSY ? "no room, or draining" : "not started");
}

static AlexStatus small_handle_event(void *instance, const AlexEvent *event, AlexErrorBuf *err) {
  AlexCompletion none = {NULL, NULL};
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  if (!event || event->struct_size < sizeof *event) return say(err, AlexStatus_INVALID, "the event is null or too small");
  ON_EVENT
  if (event->topic.len == 0 || !is_text(event->topic) || !is_text(event->id) || !is_text(event->trace) || !is_json(event->payload, 0))
    return say(err, AlexStatus_INVALID, "a field of the event is wrong");
  return small_push(1, none, err);
}

static AlexStatus small_handle_webhook(void *instance, const AlexWebhookRequest *request, AlexCompletion completion,
                                       AlexErrorBuf *err) {
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  if (!request || request->struct_size < sizeof *request || !completion.done)
    return say(err, AlexStatus_INVALID, "the request or its completion is null or too small");
  if (!is_text(request->method) || !is_text(request->path) || !is_text(request->mount) || !is_text(request->peer) ||
      !is_text(request->trace) || (request->headers.len && !is_json(request->headers, 1)) || (!request->body.ptr && request->body.len)) {
    ON_WEBHOOK
    return say(err, AlexStatus_INVALID, "a field of the request is wrong");
  }
#ifdef ON_WEBHOOK_GOOD
  ON_WEBHOOK_GOOD
#endif
  return small_push(0, completion, err);
}

static AlexStatus small_snapshot(void *instance, AlexSink out) {
  if (!IS_INSTANCE(instance)) return AlexStatus_INVALID;
  out.write(out.ctx, str("# TYPE small_lives gauge\nsmall_lives 1\n# EOF\n"));
  return AlexStatus_OK;
}

#ifdef EXTENDED_H
#include "extensions.h"
#endif

static const void *small_get_extension(void *instance, AlexStr id) {
  static const AlexMetricsExt metrics = {small_snapshot};
  (void)instance;
  ON_EXTENSION
  if (is_id(id, ALEX_EXT_METRICS)) return &metrics;
#ifdef EXTENDED_H
  if (is_id(id, ALEX_EXT_DRAIN)) return &small_drain;
  if (is_id(id, ALEX_EXT_RECONFIGURE)) return &small_reconfigure;
#endif
  return OTHER_EXTENSION;
}

#ifndef OWN_ENTRY
const AlexBaseModule *alex_base_module(uint32_t host_abi_version) {
  static const AlexBaseModule module = {sizeof module,      ALEX_ABI_VERSION, small_describe,     small_initialize,
                                        small_start,        small_stop,       small_cleanup,      small_health,
                                        small_handle_event, small_handle_webhook, small_get_extension};
  return host_abi_version >> 16 == ALEX_ABI_MAJOR || host_abi_version == 0 ? &module : NULL;
}
#endif

#endif
