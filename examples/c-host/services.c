/* What a module may ask of this host. Every function here is called on threads of the module, so all that it
 * touches lies behind one lock; none of them calls the module. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "host.h"

#define EVENTS_MAX 1024 /* kept for wait-event; then publish answers BUSY */
#define IDS_MAX 65536   /* ids of published events; no script comes near */
#define SUBSCRIPTIONS_MAX 256

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static struct { Buf topic, payload; } events[EVENTS_MAX];
static size_t events_len;
static char *ids[IDS_MAX];
static size_t ids_len;
static char *patterns[SUBSCRIPTIONS_MAX]; /* NULL: ended */
static size_t patterns_len;
static Call *calls;
static int unknown_completion;

#define OK AlexStatus_OK
#define BUSY AlexStatus_BUSY
#define INVALID AlexStatus_INVALID

static char *copy(AlexStr str) {
    char *text = malloc(str.len + 1);
    if (text == NULL) give_up("no memory", "for a text");
    if (str.len > 0) memcpy(text, str.ptr, str.len);
    text[str.len] = 0;
    return text;
}

/* Until when a wait may last. Starts a wait's absolute time from the clock that condition variables use. */
static struct timespec seconds_from_now(int seconds) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    return until;
}

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void host_log(void *ctx, uint32_t level, AlexStr target, AlexStr message, AlexStr fields) {
    static const char *const words[] = {"?", "error", "warn", "info", "debug", "trace"};
    (void)ctx;
    fprintf(stderr, "%s %.*s: %.*s %.*s\n", words[level <= 5 ? level : 0], (int)target.len, (const char *)target.ptr,
            (int)message.len, (const char *)message.ptr, (int)fields.len, (const char *)fields.ptr);
}

static AlexStatus host_publish(void *ctx, const AlexEvent *event) {
    AlexStatus status = OK;
    char *id = copy(event->id);
    (void)ctx;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; *id != 0 && i < ids_len; i++)
        if (strcmp(ids[i], id) == 0) goto end; /* delivered again: taken, and not kept twice */
    if (events_len == EVENTS_MAX || ids_len == IDS_MAX) {
        status = BUSY;
        goto end;
    }
    if (*id != 0) {
        ids[ids_len++] = id;
        id = NULL;
    }
    memset(&events[events_len], 0, sizeof events[0]);
    buf_add(&events[events_len].topic, event->topic.ptr, event->topic.len);
    buf_add(&events[events_len].payload, event->payload.ptr, event->payload.len);
    events_len++;
    pthread_cond_broadcast(&changed);
end:
    pthread_mutex_unlock(&lock);
    free(id);
    return status;
}

static AlexStatus host_subscribe(void *ctx, AlexStr pattern, uint64_t *out_id) {
    AlexStatus status = BUSY;
    (void)ctx;
    pthread_mutex_lock(&lock);
    if (patterns_len < SUBSCRIPTIONS_MAX) {
        patterns[patterns_len++] = copy(pattern);
        *out_id = patterns_len;
        status = OK;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

static AlexStatus host_unsubscribe(void *ctx, uint64_t id) {
    AlexStatus status = INVALID;
    (void)ctx;
    pthread_mutex_lock(&lock);
    if (id >= 1 && id <= patterns_len && patterns[id - 1] != NULL) {
        free(patterns[id - 1]);
        patterns[id - 1] = NULL;
        status = OK;
        while (patterns_len > 0 && patterns[patterns_len - 1] == NULL) patterns_len--;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

/* The configuration of this host is an empty object. */
static AlexStatus host_config(void *ctx, AlexStr pointer, AlexSink out) {
    (void)ctx;
    if (pointer.len == 0) out.write(out.ctx, str_of("{}", 2));
    return OK;
}

static uint64_t host_now(void *ctx) {
    (void)ctx;
    return now_ns();
}

static const void *host_get_extension(void *ctx, AlexStr id) {
    (void)ctx;
    (void)id;
    return NULL;
}

const AlexHost *services(void) {
    static AlexHost host;
    host.struct_size = sizeof host;
    host.abi_version = ALEX_ABI_VERSION;
    host.log = host_log;
    host.publish = host_publish;
    host.subscribe = host_subscribe;
    host.unsubscribe = host_unsubscribe;
    host.config = host_config;
    host.now = host_now;
    host.get_extension = host_get_extension;
    return &host;
}

int is_subscribed(const char *topic) {
    int found = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < patterns_len; i++)
        if (patterns[i] != NULL && topic_matches(patterns[i], topic, strlen(topic))) found = 1;
    pthread_mutex_unlock(&lock);
    return found;
}

int wait_event(const char *pattern, Buf *topic, Buf *payload) {
    struct timespec until = seconds_from_now(10);
    size_t i;
    int found = 0;
    pthread_mutex_lock(&lock);
    for (;;) {
        for (i = 0; i < events_len; i++)
            if (topic_matches(pattern, events[i].topic.at, events[i].topic.len)) break;
        found = i < events_len;
        if (found || pthread_cond_timedwait(&changed, &lock, &until) != 0) break;
    }
    if (found) {
        buf_clear(topic);
        buf_add(topic, events[i].topic.at, events[i].topic.len);
        buf_clear(payload);
        buf_add(payload, events[i].payload.at, events[i].payload.len);
        buf_free(&events[i].topic);
        buf_free(&events[i].payload);
        events_len--;
        memmove(&events[i], &events[i + 1], (events_len - i) * sizeof events[0]);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void done(void *ctx, AlexStatus status, const AlexWebhookReply *reply) {
    Call *call;
    pthread_mutex_lock(&lock);
    for (call = calls; call != NULL && (void *)call != ctx;) call = call->next;
    if (call == NULL) {
        unknown_completion = 1;
    } else if (call->completions++ == 0) {
        call->status = status;
        if (reply != NULL) {
            call->http = reply->http_status;
            buf_add(&call->headers, reply->headers.ptr, reply->headers.len);
            buf_add(&call->body, reply->body.ptr, reply->body.len);
        }
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

Call *call_new(void) {
    Call *call = calloc(1, sizeof *call);
    if (call == NULL) give_up("no memory", "for a request");
    pthread_mutex_lock(&lock);
    call->next = calls;
    calls = call;
    pthread_mutex_unlock(&lock);
    return call;
}

AlexCompletion call_completion(Call *call) {
    AlexCompletion completion;
    completion.ctx = call;
    completion.done = done;
    return completion;
}

int call_wait(Call *call) {
    struct timespec until = seconds_from_now(40);
    int completed;
    pthread_mutex_lock(&lock);
    call->accepted = 1;
    while (call->completions == 0 && pthread_cond_timedwait(&changed, &lock, &until) == 0) continue;
    completed = call->completions > 0;
    pthread_mutex_unlock(&lock);
    return completed;
}

int contract_broken(void) {
    int broken;
    pthread_mutex_lock(&lock);
    broken = unknown_completion;
    for (Call *call = calls; call != NULL; call = call->next)
        if (call->completions != call->accepted) broken = 1;
    pthread_mutex_unlock(&lock);
    return broken;
}
