/* Buffers, and the form of the transcript: docs/abi/transcript.md says why and how. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host.h"

#define LINE_BYTES_MAX 8192

void give_up(const char *what, const char *about) {
    fprintf(stderr, "c-host: %s: %s\n", what, about);
    exit(2);
}

void buf_add(Buf *buf, const void *bytes, size_t len) {
    if (buf->len + len + 1 > buf->cap) {
        size_t cap = (buf->len + len + 1) * 2;
        char *at = realloc(buf->at, cap);
        if (at == NULL) give_up("no memory", "for a text");
        buf->at = at;
        buf->cap = cap;
    }
    if (len > 0) memcpy(buf->at + buf->len, bytes, len);
    buf->len += len;
    buf->at[buf->len] = 0;
}

void buf_text(Buf *buf, const char *text) { buf_add(buf, text, strlen(text)); }

void buf_clear(Buf *buf) {
    buf->len = 0;
    buf_add(buf, "", 0);
}

void buf_free(Buf *buf) {
    free(buf->at);
    memset(buf, 0, sizeof *buf);
}

void buf_json(Buf *buf, const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            snprintf(escaped, sizeof escaped, "\\%c", c);
            buf_text(buf, escaped);
        } else if (c < 0x20) {
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
            buf_text(buf, escaped);
        } else {
            buf_add(buf, &c, 1);
        }
    }
}

AlexStr str_of(const char *text, size_t len) {
    AlexStr str;
    str.ptr = (const uint8_t *)text;
    str.len = len;
    return str;
}

/* ---- volatile values ---- */

static int is_digit(char c) { return c >= '0' && c <= '9'; }
static int is_lower_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }
static int is_hex(char c) { return is_lower_hex(c) || (c >= 'A' && c <= 'F'); }
static int is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Length of `shape` at `at`, or 0. In a shape `x` is any hexadecimal digit, `d` a decimal one. */
static size_t shaped(const char *at, size_t left, const char *shape) {
    size_t len = strlen(shape);
    if (left < len) return 0;
    for (size_t i = 0; i < len; i++) {
        char want = shape[i], have = at[i];
        int fits = want == 'x' ? is_hex(have) : want == 'd' ? is_digit(have) : want == have;
        if (!fits) return 0;
    }
    return len;
}

static size_t time_at(const char *at, size_t left) {
    size_t len = shaped(at, left, "dddd-dd-ddTdd:dd:dd"), zone;
    if (len == 0) return 0;
    if (len < left && at[len] == '.') {
        size_t digits = 0;
        while (len + 1 + digits < left && is_digit(at[len + 1 + digits])) digits++;
        if (digits < 1 || digits > 9) return 0;
        len += 1 + digits;
    }
    if (shaped(at + len, left - len, "Z")) return len + 1;
    zone = shaped(at + len, left - len, "+dd:dd");
    if (zone == 0) zone = shaped(at + len, left - len, "-dd:dd");
    return zone == 0 ? 0 : len + zone;
}

static size_t hash_at(const char *at, size_t left) {
    size_t len = 0;
    while (len < left && len < 65 && is_lower_hex(at[len])) len++;
    return len == 64 || len == 40 ? len : 0;
}

static size_t ms_at(const Buf *text, size_t i) {
    size_t before = i, len = 0;
    if (!is_digit(text->at[i]) && text->at[i] != '-') return 0;
    while (before > 0 && text->at[before - 1] == ' ') before--;
    if (before < 5 || memcmp(text->at + before - 5, "_ms\":", 5) != 0) return 0;
    while (i + len < text->len && text->at[i + len] != 0 && strchr("0123456789-+.eE", text->at[i + len])) len++;
    return len;
}

static void replace_volatile(const Buf *from, Buf *to) {
    for (size_t i = 0; i < from->len;) {
        const char *at = from->at + i, *name = NULL;
        size_t left = from->len - i, len = 0;
        if (i == 0 || !is_alnum(at[-1])) {
            if ((len = shaped(at, left, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"))) name = "<uuid>";
            if (name != NULL && len < left && is_alnum(at[len])) name = NULL;
            if (name == NULL && (len = time_at(at, left)) && !(len < left && is_alnum(at[len]))) name = "<time>";
            if (name == NULL && (len = hash_at(at, left)) && !(len < left && is_alnum(at[len]))) name = "<hash>";
        }
        if (name == NULL && (len = ms_at(from, i))) name = "<ms>";
        if (name != NULL) {
            buf_text(to, name);
            i += len;
        } else {
            buf_add(to, at, 1);
            i++;
        }
    }
}

/* ---- escapes ---- */

/* Length of the valid UTF-8 character at `at`, or 0. */
static size_t utf8_at(const unsigned char *at, size_t left) {
    size_t len = at[0] < 0x80                     ? 1
                 : at[0] >= 0xC2 && at[0] <= 0xDF ? 2
                 : (at[0] & 0xF0) == 0xE0         ? 3
                 : at[0] >= 0xF0 && at[0] <= 0xF4 ? 4
                                                  : 0;
    if (len == 0 || len > left) return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    /* Too long a form, a surrogate, or beyond the last character. */
    if (at[0] == 0xE0 && at[1] < 0xA0) return 0;
    if (at[0] == 0xED && at[1] > 0x9F) return 0;
    if (at[0] == 0xF0 && at[1] < 0x90) return 0;
    if (at[0] == 0xF4 && at[1] > 0x8F) return 0;
    return len;
}

static void escape(const Buf *from, Buf *to) {
    for (size_t i = 0; i < from->len;) {
        const unsigned char *at = (const unsigned char *)from->at + i;
        size_t len = utf8_at(at, from->len - i);
        const char *short_form = *at == '\\'  ? "\\\\"
                                 : *at == '\n' ? "\\n"
                                 : *at == '\r' ? "\\r"
                                 : *at == '\t' ? "\\t"
                                               : NULL;
        if (short_form != NULL) {
            buf_text(to, short_form);
        } else if (len == 0 || *at < 0x20 || *at == 0x7F) {
            char hex[8];
            snprintf(hex, sizeof hex, "\\x%02x", *at);
            buf_text(to, hex);
            len = 1;
        } else {
            buf_add(to, at, len);
        }
        i += len;
    }
}

void transcript_line(const Buf *line) {
    Buf stable = {0}, escaped = {0};
    replace_volatile(line, &stable);
    escape(&stable, &escaped);
    if (escaped.len > LINE_BYTES_MAX) {
        size_t end = LINE_BYTES_MAX;
        while (end > 0 && ((unsigned char)escaped.at[end] & 0xC0) == 0x80) end--;
        escaped.len = end;
        buf_text(&escaped, "...");
    }
    fwrite(escaped.at == NULL ? "" : escaped.at, 1, escaped.len, stdout);
    putchar('\n');
    fflush(stdout);
    buf_free(&stable);
    buf_free(&escaped);
}

/* ---- small readers ---- */

int json_find(const Buf *json, const char *key, Buf *value) {
    Buf quoted = {0};
    int found = 0;
    buf_text(&quoted, "\"");
    buf_text(&quoted, key);
    buf_text(&quoted, "\"");
    for (size_t i = 0; !found && i + quoted.len < json->len; i++) {
        size_t at = i + quoted.len, end;
        if (memcmp(json->at + i, quoted.at, quoted.len) != 0) continue;
        while (at < json->len && strchr(" \t\r\n", json->at[at]) && json->at[at]) at++;
        if (at >= json->len || json->at[at] != ':') continue;
        for (at++; at < json->len && json->at[at] && strchr(" \t\r\n", json->at[at]);) at++;
        if (at < json->len && json->at[at] == '"') {
            for (end = ++at; end < json->len && json->at[end] != '"'; end++)
                if (json->at[end] == '\\') give_up("a saved text holds a backslash", key);
        } else {
            for (end = at; end < json->len && json->at[end] && strchr("0123456789-+.eE", json->at[end]);) end++;
            if (end == at || !(is_digit(json->at[at]) || json->at[at] == '-')) continue;
        }
        buf_clear(value);
        buf_add(value, json->at + at, end - at);
        found = 1;
    }
    buf_free(&quoted);
    return found;
}

int topic_matches(const char *pattern, const char *topic, size_t topic_len) {
    const char *end = topic + topic_len;
    for (;;) {
        size_t want = strcspn(pattern, "."), have = 0;
        if (want == 1 && pattern[0] == '#' && pattern[1] == 0) return 1;
        if (topic > end) return 0;
        while (topic + have < end && topic[have] != '.') have++;
        if (!(want == 1 && pattern[0] == '*') && (want != have || memcmp(pattern, topic, want) != 0)) return 0;
        pattern += want;
        topic += have;
        if (*pattern == 0) return topic == end;
        pattern++;
        topic++; /* one past the end means: no segment is left, and only `#` can match that */
    }
}
