#include "bridge.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

const AlexBaseModule *bridge_load(const char *path, char *error, size_t error_cap) {
    const AlexBaseModule *(*entry)(uint32_t);
    const AlexBaseModule *module, *any;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* never closed: the manifest says "unload": "never" */
    void *symbol = library == NULL ? NULL : dlsym(library, ALEX_ENTRY_SYMBOL);
    if (symbol == NULL) {
        snprintf(error, error_cap, "%s", dlerror());
        return NULL;
    }
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from object to function pointer */
    module = entry(ALEX_ABI_VERSION);
    if (module == NULL) {
        /* 0 asks for the struct whatever its version, so that a refusal names both numbers. */
        any = entry(0);
        snprintf(error, error_cap, "%s has ABI %u.%u, this host %u.%u", path, any ? (unsigned)(any->abi_version >> 16) : 0u,
                 any ? (unsigned)(any->abi_version & 0xFFFF) : 0u, (unsigned)ALEX_ABI_MAJOR, (unsigned)ALEX_ABI_MINOR);
        return NULL;
    }
    if (module->struct_size < ALEX_BASE_MODULE_SIZE_1_0) {
        snprintf(error, error_cap, "%s: struct_size is %u, ABI 1.0 has %u", path, (unsigned)module->struct_size,
                 (unsigned)ALEX_BASE_MODULE_SIZE_1_0);
        return NULL;
    }
    return module;
}

/* Contexts are numbers and never addresses: Go moves and frees what C holds no reference to. */
static uintptr_t number_of(void *ctx) { return (uintptr_t)ctx; }

static void on_log(void *ctx, uint32_t level, AlexStr target, AlexStr message, AlexStr fields) {
    goLog(number_of(ctx), level, target, message, fields);
}
static AlexStatus on_publish(void *ctx, const AlexEvent *event) {
    return goPublish(number_of(ctx), event->topic, event->payload, event->id);
}
static AlexStatus on_subscribe(void *ctx, AlexStr pattern, uint64_t *out_id) {
    return goSubscribe(number_of(ctx), pattern, out_id);
}
static AlexStatus on_unsubscribe(void *ctx, uint64_t id) { return goUnsubscribe(number_of(ctx), id); }
static AlexStatus on_config(void *ctx, AlexStr pointer, AlexSink out) {
    AlexStr value = {NULL, 0};
    goConfig(number_of(ctx), pointer, &value);
    if (value.len > 0) out.write(out.ctx, value);
    free((void *)value.ptr); /* Go made it with malloc */
    return AlexStatus_OK;
}
static uint64_t on_now(void *ctx) { return goNow(number_of(ctx)); }
static const void *on_extension(void *ctx, AlexStr id) {
    (void)ctx;
    (void)id;
    return NULL;
}

const AlexHost *bridge_host(uintptr_t number) {
    AlexHost *host = calloc(1, sizeof *host);
    if (host == NULL) abort();
    host->struct_size = sizeof *host;
    host->abi_version = ALEX_ABI_VERSION;
    host->ctx = (void *)number;
    host->log = on_log;
    host->publish = on_publish;
    host->subscribe = on_subscribe;
    host->unsubscribe = on_unsubscribe;
    host->config = on_config;
    host->now = on_now;
    host->get_extension = on_extension;
    return host;
}

static void on_write(void *ctx, AlexStr chunk) { goWrite(number_of(ctx), chunk); }

AlexStatus bridge_describe(const AlexBaseModule *module, uintptr_t number) {
    AlexSink sink = {(void *)number, on_write};
    return module->describe(sink);
}

static void on_done(void *ctx, AlexStatus status, const AlexWebhookReply *reply) {
    AlexStr none = {NULL, 0};
    if (reply == NULL) goDone(number_of(ctx), status, 0, none, none);
    else goDone(number_of(ctx), status, reply->http_status, reply->headers, reply->body);
}

AlexStatus bridge_webhook(const AlexBaseModule *module, uintptr_t instance, const AlexWebhookRequest *request,
                          uintptr_t number, AlexErrorBuf *err) {
    AlexCompletion completion = {(void *)number, on_done};
    return module->handle_webhook((void *)instance, request, completion, err);
}
