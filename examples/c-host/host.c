/* A host for ALEX OS modules in C99: loads a library, plays a script of calls, prints a transcript.
 *
 *   cc -std=c99 -Wall -Wextra -pthread -Iinclude -o c-host examples/c-host/[hst]*.c -ldl
 *   ./c-host target/release/libchainbot_plugin.so hello.script
 *
 * The language of scripts and transcripts is in docs/abi/transcript.md. A real host differs in three ways: it
 * takes events and requests from elsewhere, it makes control calls on a thread of its own, and it does not wait
 * for each answer. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host.h"

#define LINE_BYTES_MAX (1024 * 1024)
#define SAVED_MAX 64

static const AlexBaseModule *module;
static void *instance;
static Buf last_data; /* what `save` looks into */
static struct { char name[64]; Buf value; } saved[SAVED_MAX];
static size_t saved_len;
static int broken; /* the module broke the contract in a way seen here */

/* ---- pieces of a transcript line ---- */

static void add_status(Buf *line, AlexStatus status) {
    static const char *const names[] = {"OK",        "INVALID", "STATE", "BUSY",  "UNSUPPORTED",
                                        "CANCELLED", "TIMEOUT", "PANIC", "FAILED"};
    char number[16];
    if (status <= 0 && status >= -8) {
        buf_text(line, names[-status]);
    } else {
        snprintf(number, sizeof number, "%d", (int)status);
        buf_text(line, number);
    }
}

static uint8_t error_bytes[1024];
static AlexErrorBuf error_buf(void) {
    AlexErrorBuf err;
    err.ptr = error_bytes;
    err.cap = sizeof error_bytes;
    err.len = 0;
    return err;
}

static void finish(Buf *line, AlexStatus status, const AlexErrorBuf *err) {
    add_status(line, status);
    if (status != 0 && err->len > 0) {
        buf_text(line, " ");
        buf_add(line, err->ptr, err->len);
    }
    transcript_line(line);
}

/* ---- pieces of a script line ---- */

/* Cuts the first word off `*rest`. */
static char *word(char **rest, const char *line) {
    char *start = *rest, *space = strchr(start, ' ');
    if (*start == 0 || *start == ' ') give_up("a word is missing", line);
    *rest = space == NULL ? start + strlen(start) : space + 1;
    if (space != NULL) *space = 0;
    return start;
}

static void read_file(const char *path, Buf *out) {
    char chunk[4096];
    size_t len;
    FILE *file = fopen(path, "rb");
    if (file == NULL) give_up("cannot read", path);
    while ((len = fread(chunk, 1, sizeof chunk, file)) > 0) buf_add(out, chunk, len);
    if (ferror(file)) give_up("cannot read", path);
    fclose(file);
    buf_add(out, "", 0);
}

/* Replaces every ${NAME}. */
static void expand(const char *line, Buf *out) {
    static const char *const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    for (const char *at = line; *at != 0; at++) {
        size_t len = at[0] == '$' && at[1] == '{' ? strspn(at + 2, letters) : 0, i;
        if (len == 0 || at[2 + len] != '}') {
            buf_add(out, at, 1);
            continue;
        }
        for (i = 0; i < saved_len; i++)
            if (strlen(saved[i].name) == len && memcmp(saved[i].name, at + 2, len) == 0) break;
        if (i == saved_len) give_up("nothing was saved under a name", line);
        buf_add(out, saved[i].value.at, saved[i].value.len);
        at += len + 2;
    }
    buf_add(out, "", 0);
}

/* A header's value, with `@file:PATH` replaced by the file's text. */
static void header_value(const char *value, Buf *json) {
    for (const char *mark; (mark = strstr(value, "@file:")) != NULL;) {
        size_t len = strcspn(mark + 6, " ");
        Buf path = {0}, text = {0};
        buf_json(json, value, (size_t)(mark - value));
        buf_add(&path, mark + 6, len);
        read_file(path.at, &text);
        while (text.len > 0 && strchr(" \t\r\n", text.at[text.len - 1])) text.len--;
        buf_json(json, text.at, text.len);
        buf_free(&path);
        buf_free(&text);
        value = mark + 6 + len;
    }
    buf_json(json, value, strlen(value));
}

/* Reads `[name: value] [name: value]` off `*rest` into a JSON object. */
static void headers(char **rest, const char *line, Buf *json) {
    Buf names = {0};
    buf_text(json, "{");
    while (**rest == '[') {
        char *name = *rest + 1, *end = strchr(name, ']'), *colon = strstr(name, ": ");
        if (end == NULL || colon == NULL || colon > end) give_up("a header is not `[name: value]`", line);
        *end = *colon = 0;
        buf_text(&names, "\n");
        if (strstr(names.at, name) != NULL) {
            Buf exact = {0};
            buf_text(&exact, "\n");
            buf_text(&exact, name);
            buf_text(&exact, "\n");
            if (strstr(names.at, exact.at) != NULL) give_up("a header stands twice", name);
            buf_free(&exact);
        }
        buf_text(&names, name);
        if (json->len > 1) buf_text(json, ",");
        buf_text(json, "\"");
        buf_json(json, name, strlen(name));
        buf_text(json, "\":\"");
        header_value(colon + 2, json);
        buf_text(json, "\"");
        *rest = end + 1;
        if (**rest == ' ') ++*rest;
    }
    buf_text(json, "}");
    buf_free(&names);
}

/* ---- commands ---- */

static void sink_write(void *ctx, AlexStr chunk) { buf_add(ctx, chunk.ptr, chunk.len); }

static void run_describe(void) {
    Buf manifest = {0}, line = {0};
    AlexSink sink;
    AlexStatus status;
    sink.ctx = &manifest;
    sink.write = sink_write;
    status = module->describe(sink);
    buf_text(&line, "describe ");
    add_status(&line, status);
    if (status == 0) {
        buf_text(&line, " ");
        buf_add(&line, manifest.at, manifest.len);
    }
    transcript_line(&line);
    buf_free(&manifest);
    buf_free(&line);
}

static void run_control(const char *command, const char *rest) {
    AlexErrorBuf err = error_buf();
    AlexStatus status;
    Buf line = {0};
    buf_text(&line, command);
    buf_text(&line, " ");
    if (strcmp(command, "initialize") == 0) {
        static int poison; /* must be gone after a failure */
        if (instance != NULL) give_up("an instance is live already", "initialize");
        instance = &poison;
        status = module->initialize(services(), str_of(rest, strlen(rest)), &instance, &err);
        if ((status == 0) != (instance != NULL)) broken = 1;
        if (status != 0) instance = NULL;
    } else if (strcmp(command, "start") == 0) {
        status = module->start(instance, &err);
    } else if (strcmp(command, "stop") == 0) {
        char *end;
        unsigned long ms = strtoul(rest, &end, 10);
        if (*rest == 0 || *end != 0 || ms > UINT32_MAX) give_up("not a number of milliseconds", rest);
        status = module->stop(instance, (uint32_t)ms, &err);
    } else {
        status = module->cleanup(instance, &err);
        if (status == 0) instance = NULL;
    }
    finish(&line, status, &err);
    buf_free(&line);
}

static void run_event(const char *command, char *rest, const char *whole) {
    char *topic = word(&rest, whole);
    AlexErrorBuf err = error_buf();
    AlexEvent event = {0};
    Buf line = {0};
    buf_text(&line, command);
    buf_text(&line, " ");
    buf_text(&line, topic);
    buf_text(&line, " ");
    if (strcmp(command, "event") == 0 && !is_subscribed(topic)) {
        buf_text(&line, "UNROUTED");
        transcript_line(&line);
    } else {
        event.struct_size = sizeof event;
        event.topic = str_of(topic, strlen(topic));
        event.payload = str_of(rest, strlen(rest));
        event.unix_ns = now_ns();
        finish(&line, module->handle_event(instance, &event, &err), &err);
    }
    buf_free(&line);
}

static void add_reply(Buf *line, const Call *call) {
    char number[16];
    const char *type = call->headers.len > 0 ? strstr(call->headers.at, "\"content-type\":\"") : NULL;
    snprintf(number, sizeof number, " %u ", (unsigned)call->http);
    buf_text(line, number);
    if (type == NULL) {
        buf_text(line, "-");
    } else {
        type += strlen("\"content-type\":\"");
        buf_add(line, type, strcspn(type, ";\""));
    }
    buf_text(line, " ");
    buf_add(line, call->body.at, call->body.len);
}

static void run_webhook(char *rest, const char *whole) {
    char *method = word(&rest, whole), *path = word(&rest, whole);
    AlexErrorBuf err = error_buf();
    AlexWebhookRequest request = {0};
    AlexStatus status;
    Buf json = {0}, body = {0}, line = {0};
    Call *call = call_new();
    headers(&rest, whole, &json);
    if (strncmp(rest, "-- @file:", 9) == 0) read_file(rest + 9, &body);
    else if (strncmp(rest, "-- ", 3) == 0) buf_text(&body, rest + 3);
    else if (*rest != 0 && strcmp(rest, "--") != 0) give_up("expected `-- BODY`", whole);
    request.struct_size = sizeof request;
    request.timeout_ms = 30000;
    request.method = str_of(method, strlen(method));
    request.path = str_of(path, strlen(path));
    request.peer = str_of("127.0.0.1", 9);
    request.headers = str_of(json.at, json.len);
    request.body = str_of(body.at, body.len);
    status = module->handle_webhook(instance, &request, call_completion(call), &err);
    buf_text(&line, "webhook ");
    buf_text(&line, method);
    buf_text(&line, " ");
    buf_text(&line, path);
    buf_text(&line, " ");
    if (status != 0) {
        finish(&line, status, &err);
    } else {
        if (!call_wait(call)) {
            fprintf(stderr, "c-host: no completion: %s\n", whole);
            exit(3);
        }
        buf_text(&line, "DONE ");
        add_status(&line, call->status);
        if (call->status == 0) add_reply(&line, call);
        transcript_line(&line);
        buf_clear(&last_data);
        buf_add(&last_data, call->body.at, call->body.len);
    }
    buf_free(&json);
    buf_free(&body);
    buf_free(&line);
}

static void run_wait_event(const char *pattern) {
    Buf topic = {0}, payload = {0}, line = {0};
    buf_text(&line, "wait-event ");
    buf_text(&line, pattern);
    if (wait_event(pattern, &topic, &payload)) {
        buf_text(&line, " OK ");
        buf_add(&line, topic.at, topic.len);
        buf_text(&line, " ");
        buf_add(&line, payload.at, payload.len);
        buf_clear(&last_data);
        buf_add(&last_data, payload.at, payload.len);
    } else {
        buf_text(&line, " TIMEOUT");
    }
    transcript_line(&line);
    buf_free(&topic);
    buf_free(&payload);
    buf_free(&line);
}

static void run_health(void) {
    static const char *const words[] = {"initialized", "starting", "started", "draining",
                                        "stopping",    "stopped",  "failed"};
    AlexHealth health;
    AlexStatus status;
    Buf line = {0};
    char text[256], state[16];
    memset(&health, 0, sizeof health);
    health.struct_size = sizeof health;
    status = module->health(instance, &health);
    buf_text(&line, "health ");
    add_status(&line, status);
    if (status == 0) {
        snprintf(state, sizeof state, "%u", (unsigned)health.state);
        const char *label = health.score >= 0.8 ? "healthy" : health.score >= 0.5 ? "degraded" : "unhealthy";
        const char *name = health.state >= 1 && health.state <= 7 ? words[health.state - 1] : state;
        snprintf(text, sizeof text,
                 " state=%s score=%.2f label=%s in_flight=%u queue_depth=%u panics=%u threads=%s detail=", name,
                 health.score, label, (unsigned)health.in_flight, (unsigned)health.queue_depth,
                 (unsigned)health.panics, health.live_threads > 0 ? "some" : "none");
        buf_text(&line, text);
        buf_add(&line, health.detail, health.detail_len);
    }
    transcript_line(&line);
    buf_free(&line);
}

static void run_save(char *rest, const char *whole) {
    char *name = word(&rest, whole);
    size_t i;
    for (i = 0; i < saved_len && strcmp(saved[i].name, name) != 0;) i++;
    if (i == SAVED_MAX || strlen(name) >= sizeof saved[0].name) give_up("too many or too long names", whole);
    strcpy(saved[i].name, name);
    if (i == saved_len) saved_len++;
    if (!json_find(&last_data, rest, &saved[i].value)) give_up("the value was not found", whole);
}

static void run_line(char *text) {
    Buf whole = {0};
    char *rest = text, *command;
    buf_text(&whole, text);
    command = word(&rest, whole.at);
    if (strcmp(command, "describe") == 0) run_describe();
    else if (strcmp(command, "initialize") == 0 || strcmp(command, "start") == 0) run_control(command, rest);
    else if (strcmp(command, "stop") == 0 || strcmp(command, "cleanup") == 0) run_control(command, rest);
    else if (strcmp(command, "event") == 0 || strcmp(command, "force-event") == 0) run_event(command, rest, whole.at);
    else if (strcmp(command, "webhook") == 0) run_webhook(rest, whole.at);
    else if (strcmp(command, "wait-event") == 0) run_wait_event(rest);
    else if (strcmp(command, "save") == 0) run_save(rest, whole.at);
    else if (strcmp(command, "health") == 0) run_health();
    else if (strcmp(command, "extension") == 0) {
        Buf line = {0};
        buf_text(&line, "extension ");
        buf_text(&line, rest);
        buf_text(&line, module->get_extension(instance, str_of(rest, strlen(rest))) != NULL ? " present" : " absent");
        transcript_line(&line);
        buf_free(&line);
    } else give_up("unknown command", whole.at);
    buf_free(&whole);
}

/* ---- the program ---- */

static void load(const char *library) {
    const AlexBaseModule *(*entry)(uint32_t);
    char path[4096], text[64];
    void *handle, *symbol;
    /* Without a slash dlopen would search the system's folders. */
    snprintf(path, sizeof path, "%s%s", strchr(library, '/') ? "" : "./", library);
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* never closed: the manifest says "unload": "never" */
    if (handle == NULL) give_up("cannot load", dlerror());
    symbol = dlsym(handle, ALEX_ENTRY_SYMBOL);
    if (symbol == NULL) give_up("not a module", dlerror());
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from object to function pointer */
    module = entry(ALEX_ABI_VERSION);
    if (module == NULL) {
        const AlexBaseModule *any = entry(0);
        unsigned theirs = any != NULL ? (unsigned)any->abi_version : 0u;
        snprintf(text, sizeof text, "the module's is %u.%u, this host's %u.%u", theirs >> 16, theirs & 0xFFFF,
                 (unsigned)ALEX_ABI_MAJOR, (unsigned)ALEX_ABI_MINOR);
        give_up("another major version of the ABI", text);
    }
    if (module->struct_size < ALEX_BASE_MODULE_SIZE_1_0) {
        snprintf(text, sizeof text, "struct_size is %u, ABI 1.0 has %u", (unsigned)module->struct_size,
                 (unsigned)ALEX_BASE_MODULE_SIZE_1_0);
        give_up("the module's struct is too small", text);
    }
}

int main(int argc, char **argv) {
    Buf script = {0};
    if (argc != 3) give_up("usage", "c-host LIBRARY SCRIPT");
    load(argv[1]);
    read_file(argv[2], &script);
    for (char *at = script.at, *next; at != NULL && *at != 0; at = next) {
        char *end = strchr(at, '\n');
        Buf line = {0};
        next = end == NULL ? NULL : end + 1;
        if (end == NULL) end = at + strlen(at);
        while (end > at && strchr(" \t\r", end[-1])) end--;
        *end = 0;
        if (end - at > LINE_BYTES_MAX) give_up("a line is longer than 1 MiB", argv[2]);
        if (*at == 0 || *at == '#') continue;
        expand(at, &line);
        run_line(line.at);
        buf_free(&line);
    }
    if (instance != NULL) {
        AlexHealth health = {0};
        health.struct_size = sizeof health;
        module->health(instance, &health);
        if (health.state != AlexHealth_STATE_INITIALIZED && health.state != AlexHealth_STATE_STOPPED)
            run_control("stop", "10000");
        run_control("cleanup", "");
    }
    buf_free(&script);
    if (broken || contract_broken()) {
        fprintf(stderr, "c-host: the module broke the contract\n");
        return 3;
    }
    return 0;
}
