/* A small correct module for tests of hosts. One worker thread answers requests and events.
 *
 * Requests: any path is answered with a JSON document of what arrived; /body gives the body back, bytes unchanged;
 * /health?DETAIL sets the detail and a degraded score; /fail makes the state failed; /hold is answered by stop only;
 * /malformed gets a reply that is none; /cancelled and /late complete with an error; /busy, /wrong and /absent are
 * refused. Events: each accepted one is published again as echo.got with its topic and payload; the topic test.busy is
 * refused twice first; test.chain publishes loop.back, which the module itself subscribes to. A configuration that
 * holds "refuse", "unstartable" or "stuck" makes initialize, start or stop fail; "hang" makes stop never return. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alex_module.h"

enum { JOBS_MAX = 64, TEXT_MAX = 8192 };

typedef struct Job {
  int is_event;
  AlexCompletion completion;
  char head[TEXT_MAX]; /* the document, or the event's topic */
  char *body;
  size_t body_len;
} Job;

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  const AlexHost *host;
  pthread_t worker;
  uint32_t state;
  double score;
  char detail[149];
  Job jobs[JOBS_MAX];
  unsigned first, count;
  AlexCompletion held[JOBS_MAX];
  unsigned held_count, busy_count;
  int leaving, is_stuck, is_hanging, is_unstartable;
} m = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static AlexStr str(const char *text) {
  AlexStr s = {(const uint8_t *)text, strlen(text)};
  return s;
}

static int is(AlexStr s, const char *text) {
  return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

static int holds(AlexStr s, const char *text) {
  size_t len = strlen(text);
  for (size_t at = 0; at + len <= s.len; at++)
    if (memcmp(s.ptr + at, text, len) == 0) return 1;
  return 0;
}

static AlexStatus fail(AlexErrorBuf *err, AlexStatus status, const char *why) {
  if (err) {
    err->len = strlen(why) < err->cap ? strlen(why) : err->cap;
    memcpy(err->ptr, why, err->len);
  }
  return status;
}

static AlexStatus succeed(AlexErrorBuf *err) {
  if (err) err->len = 0;
  return AlexStatus_OK;
}

static void publish(const char *topic, const char *payload) {
  AlexEvent event = {sizeof event, 0, str(topic), str(payload), str(""), str(""), m.host->now(m.host->ctx)};
  m.host->publish(m.host->ctx, &event);
}

static AlexStatus describe(AlexSink out) {
  out.write(out.ctx, str("{\"name\":\"echo\",\"version\":\"1.2.3\",\"abi\":\"1.0\",\"webhooks\":["));
  out.write(out.ctx, str("{\"method\":\"*\",\"path\":\"/\",\"max_body\":4096},{\"path\":\"/body\",\"max_body\":65536}]}"));
  return AlexStatus_OK;
}

static AlexStatus initialize(const AlexHost *host, AlexStr config, void **out, AlexErrorBuf *err) {
  *out = NULL;
  if (holds(config, "refuse")) return fail(err, AlexStatus_INVALID, "the configuration says refuse");
  m.host = host;
  m.is_stuck = holds(config, "stuck");
  m.is_hanging = holds(config, "hang");
  m.is_unstartable = holds(config, "unstartable");
  m.state = AlexHealth_STATE_INITIALIZED;
  m.score = 0.5;
  char fields[TEXT_MAX];
  snprintf(fields, sizeof fields, "{\"bytes\":%zu}", config.len);
  host->log(host->ctx, AlexHost_LOG_INFO, str("echo::setup"), str("configured"), str(fields));
  *out = &m;
  return succeed(err);
}

static void answer(Job *job) {
  AlexWebhookReply reply = {sizeof reply, 200, str("{\"content-type\":\"application/json\",\"x-echo\":[\"a\",\"b\"]}"),
                            {(const uint8_t *)job->body, job->body_len}};
  if (strstr(job->head, "\"path\":\"/cancelled\"")) {
    job->completion.done(job->completion.ctx, AlexStatus_CANCELLED, NULL);
  } else if (strstr(job->head, "\"path\":\"/late\"")) {
    job->completion.done(job->completion.ctx, AlexStatus_TIMEOUT, NULL);
  } else {
    if (strstr(job->head, "\"path\":\"/malformed\"")) reply.http_status = 42;
    if (!strstr(job->head, "\"path\":\"/body\"")) reply.body = str(job->head);
    job->completion.done(job->completion.ctx, AlexStatus_OK, &reply);
  }
}

static void *work(void *unused) {
  (void)unused;
  pthread_mutex_lock(&m.lock);
  for (;;) {
    while (!m.count && !m.leaving) pthread_cond_wait(&m.changed, &m.lock);
    if (!m.count) break;
    Job job = m.jobs[m.first];
    m.first = (m.first + 1) % JOBS_MAX;
    m.count--;
    pthread_mutex_unlock(&m.lock);
    if (job.is_event) {
      char payload[2 * TEXT_MAX];
      snprintf(payload, sizeof payload, "{\"topic\":\"%s\",\"payload\":%.*s}", job.head, (int)job.body_len, job.body);
      publish("echo.got", payload);
      if (strcmp(job.head, "test.chain") == 0) publish("loop.back", "{\"n\":1}");
    } else {
      answer(&job);
    }
    free(job.body);
    pthread_mutex_lock(&m.lock);
  }
  pthread_mutex_unlock(&m.lock);
  return NULL;
}

static AlexStatus start(void *instance, AlexErrorBuf *err) {
  (void)instance;
  uint64_t id;
  if (m.is_unstartable) return fail(err, AlexStatus_FAILED, "the data folder is in use");
  m.host->subscribe(m.host->ctx, str("test.*"), &id);
  m.host->subscribe(m.host->ctx, str("test.chain.#"), &id);
  m.host->subscribe(m.host->ctx, str("loop.#"), &id);
  m.leaving = 0;
  if (pthread_create(&m.worker, NULL, work, NULL)) return fail(err, AlexStatus_FAILED, "no thread");
  m.state = AlexHealth_STATE_STARTED;
  m.score = 1.0;
  strcpy(m.detail, "ok");
  publish("echo.started", "{}");
  return succeed(err);
}

static AlexStatus stop(void *instance, uint32_t deadline_ms, AlexErrorBuf *err) {
  (void)instance;
  (void)deadline_ms;
  while (m.is_hanging) pause();
  if (m.is_stuck) return fail(err, AlexStatus_TIMEOUT, "1 request under way (POST /slow)");
  pthread_mutex_lock(&m.lock);
  m.leaving = 1;
  pthread_cond_broadcast(&m.changed);
  pthread_mutex_unlock(&m.lock);
  pthread_join(m.worker, NULL);
  for (unsigned i = 0; i < m.held_count; i++) m.held[i].done(m.held[i].ctx, AlexStatus_CANCELLED, NULL);
  m.held_count = 0;
  m.state = AlexHealth_STATE_STOPPED;
  m.score = 0.0;
  return succeed(err);
}

static AlexStatus cleanup(void *instance, AlexErrorBuf *err) {
  (void)instance;
  if (m.state != AlexHealth_STATE_STOPPED && m.state != AlexHealth_STATE_INITIALIZED)
    return fail(err, AlexStatus_STATE, "not stopped");
  m.host->log(m.host->ctx, AlexHost_LOG_INFO, str("echo"), str("released"), str(""));
  return succeed(err);
}

static AlexStatus health(void *instance, AlexHealth *out) {
  if (!instance) return AlexStatus_INVALID;
  pthread_mutex_lock(&m.lock);
  out->state = m.state;
  out->score = m.score;
  out->in_flight = m.held_count;
  out->queue_depth = m.count;
  out->live_threads = m.state == AlexHealth_STATE_STARTED;
  out->detail_len = (uint32_t)strlen(m.detail);
  memcpy(out->detail, m.detail, out->detail_len);
  pthread_mutex_unlock(&m.lock);
  return AlexStatus_OK;
}

/* Called with the lock held. */
static AlexStatus push(int is_event, AlexCompletion completion, const char *head, AlexStr body) {
  if (m.count == JOBS_MAX) return AlexStatus_BUSY;
  Job *job = &m.jobs[(m.first + m.count) % JOBS_MAX];
  job->is_event = is_event;
  job->completion = completion;
  snprintf(job->head, sizeof job->head, "%s", head);
  job->body = malloc(body.len + 1);
  if (body.len) memcpy(job->body, body.ptr, body.len);
  job->body_len = body.len;
  m.count++;
  pthread_cond_broadcast(&m.changed);
  return AlexStatus_OK;
}

static AlexStatus handle_event(void *instance, const AlexEvent *event, AlexErrorBuf *err) {
  AlexCompletion none = {NULL, NULL};
  char topic[TEXT_MAX];
  if (!instance) return fail(err, AlexStatus_INVALID, "no instance");
  if (m.state != AlexHealth_STATE_STARTED) return fail(err, AlexStatus_STATE, "not started");
  if (is(event->topic, "test.refused")) return fail(err, AlexStatus_INVALID, "not this one");
  if (is(event->topic, "test.busy") && m.busy_count++ < 2) return fail(err, AlexStatus_BUSY, "full");
  snprintf(topic, sizeof topic, "%.*s", (int)event->topic.len, (const char *)event->topic.ptr);
  pthread_mutex_lock(&m.lock);
  AlexStatus status = push(1, none, topic, event->payload);
  pthread_mutex_unlock(&m.lock);
  return status == AlexStatus_OK ? succeed(err) : fail(err, status, "full");
}

static AlexStatus handle_webhook(void *instance, const AlexWebhookRequest *request, AlexCompletion completion,
                                 AlexErrorBuf *err) {
  char document[TEXT_MAX];
  if (!instance) return fail(err, AlexStatus_INVALID, "no instance");
  if (m.state != AlexHealth_STATE_STARTED) return fail(err, AlexStatus_STATE, "not started");
  if (is(request->path, "/busy")) return fail(err, AlexStatus_BUSY, "secret detail");
  if (is(request->path, "/wrong")) return fail(err, AlexStatus_INVALID, "secret detail");
  if (is(request->path, "/absent")) return fail(err, AlexStatus_UNSUPPORTED, "secret detail");
  snprintf(document, sizeof document,
           "{\"method\":\"%.*s\",\"path\":\"%.*s\",\"mount\":\"%.*s\",\"peer\":\"%.*s\",\"trace\":\"%.*s\",\"headers\":%.*s,\"bytes\":%zu}",
           (int)request->method.len, (const char *)request->method.ptr, (int)request->path.len,
           (const char *)request->path.ptr, (int)request->mount.len, (const char *)request->mount.ptr,
           (int)request->peer.len, (const char *)request->peer.ptr, (int)request->trace.len,
           (const char *)request->trace.ptr, (int)request->headers.len, (const char *)request->headers.ptr, request->body.len);
  pthread_mutex_lock(&m.lock);
  AlexStatus status = AlexStatus_OK;
  if (request->path.len > 8 && memcmp(request->path.ptr, "/health?", 8) == 0) {
    snprintf(m.detail, sizeof m.detail, "%.*s", (int)(request->path.len - 8), (const char *)request->path.ptr + 8);
    m.score = 0.6;
  }
  if (is(request->path, "/fail")) {
    m.state = AlexHealth_STATE_FAILED;
    m.score = 0.0;
    strcpy(m.detail, "the disk is gone");
  }
  if (is(request->path, "/hold") && m.held_count < JOBS_MAX)
    m.held[m.held_count++] = completion;
  else
    status = push(0, completion, document, request->body);
  pthread_mutex_unlock(&m.lock);
  return status == AlexStatus_OK ? succeed(err) : fail(err, status, "full");
}

static const void *get_extension(void *instance, AlexStr id) {
  (void)instance;
  (void)id;
  return NULL;
}

const AlexBaseModule *alex_base_module(uint32_t host_abi_version) {
  static const AlexBaseModule module = {sizeof module, ALEX_ABI_VERSION, describe,     initialize,     start,        stop,
                                        cleanup,       health,           handle_event, handle_webhook, get_extension};
  return host_abi_version >> 16 == ALEX_ABI_MAJOR || host_abi_version == 0 ? &module : NULL;
}
