/* What the three parts of this host share: text.c (buffers, the transcript's form), services.c (what the module may ask
 * of a host) and host.c (the script). */
#ifndef C_HOST_H
#define C_HOST_H

#include <stddef.h>
#include <stdint.h>
#include "alex_module.h"

/* ---- text.c ---- */

/* Bytes that grow. Start with {0}. */
typedef struct Buf {
    char *at; /* always one NUL behind the end, so that C's functions may read it */
    size_t len, cap;
} Buf;

void buf_add(Buf *buf, const void *bytes, size_t len);
void buf_text(Buf *buf, const char *text);
void buf_clear(Buf *buf);
void buf_free(Buf *buf);
/* Appends `text` as the inside of a JSON string. */
void buf_json(Buf *buf, const char *text, size_t len);
/* Prints one line of the transcript: volatile values replaced, escaped, cut, with a line feed. */
void transcript_line(const Buf *line);
/* The value of the first "key" that is followed by a string or a number; 0 when there is none. */
int json_find(const Buf *json, const char *key, Buf *value);
/* Whether a dotted topic matches a pattern: `*` is one segment, a last `#` all that follow. */
int topic_matches(const char *pattern, const char *topic, size_t topic_len);
AlexStr str_of(const char *text, size_t len);
/* Ends the program with exit code 2: this host cannot do its part. */
void give_up(const char *what, const char *about);

/* ---- services.c ---- */

/* The table for the module; valid as long as the program runs. */
const AlexHost *services(void);
int is_subscribed(const char *topic);
/* Takes the oldest published event that matches; 0 after 10 seconds without one. */
int wait_event(const char *pattern, Buf *topic, Buf *payload);
uint64_t now_ns(void);

/* One request. It is never freed, so that a second completion can be told from a first. */
typedef struct Call {
    int accepted, completions;
    AlexStatus status;
    uint32_t http;
    Buf headers, body;
    struct Call *next;
} Call;

Call *call_new(void);
AlexCompletion call_completion(Call *call);
/* Waits up to 40 seconds; 0 when no completion came. */
int call_wait(Call *call);
/* Whether the module completed something twice, after an error, or unknown to the host. */
int contract_broken(void);

#endif
