// What cgo cannot say: calls through function pointers, and a table of functions that lead into Go.
#ifndef GO_BRIDGE_H
#define GO_BRIDGE_H

#include <stdint.h>
#include "alex_module.h"

// An instance is a handle, not an address. Go keeps it as a number: its collector takes a pointer that leads nowhere for
// damage, and ends the process.

// Loads a library and gives its struct, or NULL with a text.
const AlexBaseModule *bridge_load(const char *path, char *error, size_t error_cap);
// A table whose context is a number of Go's. It is never freed, so the module may hold it as long as it likes.
const AlexHost *bridge_host(uintptr_t number);
AlexStatus bridge_describe(const AlexBaseModule *module, uintptr_t number);
AlexStatus bridge_webhook(const AlexBaseModule *module, uintptr_t instance, const AlexWebhookRequest *request,
                          uintptr_t number, AlexErrorBuf *err);

static inline AlexStatus bridge_initialize(const AlexBaseModule *module, const AlexHost *host, AlexStr config,
                                           uintptr_t *out, AlexErrorBuf *err) {
    void *instance = NULL;
    AlexStatus status = module->initialize(host, config, &instance, err);
    *out = (uintptr_t)instance;
    return status;
}
static inline AlexStatus bridge_start(const AlexBaseModule *module, uintptr_t instance, AlexErrorBuf *err) {
    return module->start((void *)instance, err);
}
static inline AlexStatus bridge_stop(const AlexBaseModule *module, uintptr_t instance, uint32_t ms, AlexErrorBuf *err) {
    return module->stop((void *)instance, ms, err);
}
static inline AlexStatus bridge_cleanup(const AlexBaseModule *module, uintptr_t instance, AlexErrorBuf *err) {
    return module->cleanup((void *)instance, err);
}
static inline AlexStatus bridge_health(const AlexBaseModule *module, uintptr_t instance, AlexHealth *out) {
    return module->health((void *)instance, out);
}
static inline AlexStatus bridge_event(const AlexBaseModule *module, uintptr_t instance, const AlexEvent *event,
                                      AlexErrorBuf *err) {
    return module->handle_event((void *)instance, event, err);
}
static inline int bridge_has_extension(const AlexBaseModule *module, uintptr_t instance, AlexStr id) {
    return module->get_extension((void *)instance, id) != NULL;
}

#endif
