#include "transcript.hpp"

#include <cstdio>
#include <cstring>

#include "script.hpp"

namespace {

constexpr std::size_t line_bytes_max = 8192;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }
bool is_hex(char c) { return is_lower_hex(c) || (c >= 'A' && c <= 'F'); }
bool is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Length of `shape` at the start, or 0: `x` is any hexadecimal digit, `d` a decimal one.
std::size_t shaped(std::string_view rest, std::string_view shape) {
  if (rest.size() < shape.size()) return 0;
  for (std::size_t i = 0; i < shape.size(); i++) {
    const bool fits = shape[i] == 'x' ? is_hex(rest[i]) : shape[i] == 'd' ? is_digit(rest[i]) : shape[i] == rest[i];
    if (!fits) return 0;
  }
  return shape.size();
}

std::size_t time_len(std::string_view rest) {
  std::size_t len = shaped(rest, "dddd-dd-ddTdd:dd:dd");
  if (len == 0) return 0;
  if (len < rest.size() && rest[len] == '.') {
    std::size_t digits = 0;
    while (len + 1 + digits < rest.size() && is_digit(rest[len + 1 + digits])) digits++;
    if (digits < 1 || digits > 9) return 0;
    len += 1 + digits;
  }
  for (const char *zone : {"Z", "+dd:dd", "-dd:dd"})
    if (const std::size_t more = shaped(rest.substr(len), zone)) return len + more;
  return 0;
}

std::size_t hash_len(std::string_view rest) {
  std::size_t len = 0;
  while (len < rest.size() && is_lower_hex(rest[len])) len++;
  return len == 64 || len == 40 ? len : 0;
}

std::size_t number_len(std::string_view raw, std::size_t at) {
  if (!is_digit(raw[at]) && raw[at] != '-') return 0;
  std::size_t before = at;
  while (before > 0 && raw[before - 1] == ' ') before--;
  if (before < 5 || raw.substr(before - 5, 5) != "_ms\":") return 0;
  std::size_t len = 0;
  while (at + len < raw.size() && raw[at + len] != 0 && std::strchr("0123456789-+.eE", raw[at + len])) len++;
  return len;
}

std::string stable(std::string_view raw) {
  struct Rule {
    std::size_t (*len)(std::string_view);
    const char *name;
  };
  static const Rule rules[] = {
      {[](std::string_view rest) { return shaped(rest, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"); }, "<uuid>"},
      {time_len, "<time>"},
      {hash_len, "<hash>"},
  };
  std::string out;
  for (std::size_t at = 0; at < raw.size();) {
    const std::string_view rest = raw.substr(at);
    std::size_t len = 0;
    const char *name = nullptr;
    for (const Rule &rule : rules) {
      if (name != nullptr || (at > 0 && is_alnum(raw[at - 1]))) break;
      len = rule.len(rest);
      if (len > 0 && !(len < rest.size() && is_alnum(rest[len]))) name = rule.name;
    }
    if (name == nullptr && (len = number_len(raw, at)) > 0) name = "<ms>";
    if (name != nullptr) {
      out += name;
      at += len;
    } else {
      out += raw[at++];
    }
  }
  return out;
}

// Length of the valid UTF-8 character at the start, or 0.
std::size_t character_len(std::string_view rest) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(rest[i]); };
  const unsigned char first = byte(0);
  const std::size_t len = first < 0x80 ? 1 : first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3 : first >= 0xF0 && first < 0xF5 ? 4 : 0;
  if (len == 0 || rest.size() < len) return 0;
  for (std::size_t i = 1; i < len; i++)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // Too long a form, a surrogate, beyond the last character.
  if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F)) return 0;
  if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) return 0;
  return len;
}

std::string escaped(std::string_view raw) {
  std::string out;
  for (std::size_t at = 0; at < raw.size();) {
    const char c = raw[at];
    const std::size_t len = character_len(raw.substr(at));
    const char *short_form = c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : nullptr;
    if (short_form != nullptr) {
      out += short_form;
    } else if (len == 0 || (c >= 0 && c < 0x20) || c == 0x7F) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += hex;
    } else {
      out += raw.substr(at, len);
    }
    at += len == 0 ? 1 : len;
  }
  return out;
}

}  // namespace

std::string transcript_line(std::string_view raw) {
  std::string line = escaped(stable(raw));
  if (line.size() > line_bytes_max) {
    std::size_t end = line_bytes_max;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) end--;
    line.resize(end);
    line += "...";
  }
  return line;
}

void append_json(std::string &json, std::string_view text) {
  for (const char c : text) {
    char code[8];
    if (c == '"' || c == '\\') {
      json += {'\\', c};
    } else if (c >= 0 && c < 0x20) {
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
      json += code;
    } else {
      json += c;
    }
  }
}

std::string find_value(std::string_view document, std::string_view key) {
  const std::string quoted = "\"" + std::string(key) + "\"";
  const auto skip = [&](std::size_t at) { return document.find_first_not_of(" \t\r\n", at); };
  for (std::size_t at = 0; (at = document.find(quoted, at)) != std::string_view::npos; at++) {
    const std::size_t colon = skip(at + quoted.size());
    if (colon == std::string_view::npos || document[colon] != ':') continue;
    const std::size_t value = skip(colon + 1);
    if (value == std::string_view::npos) continue;
    if (document[value] == '"') {
      const std::string text(document.substr(value + 1, document.find('"', value + 1) - value - 1));
      if (text.find('\\') != std::string::npos) throw ScriptError("a saved text holds a backslash: " + std::string(key));
      return text;
    }
    if (is_digit(document[value]) || document[value] == '-') {
      const std::size_t end = document.find_first_not_of("0123456789-+.eE", value);
      return std::string(document.substr(value, end == std::string_view::npos ? end : end - value));
    }
  }
  throw ScriptError("the value was not found: " + std::string(key));
}

bool matches(std::string_view pattern, std::string_view topic) {
  const auto cut = [](std::string_view &rest, bool &ended) {
    const std::size_t dot = rest.find('.');
    const std::string_view segment = rest.substr(0, dot);
    ended = dot == std::string_view::npos;
    rest = ended ? std::string_view() : rest.substr(dot + 1);
    return segment;
  };
  for (bool pattern_ended = false, topic_ended = false;;) {
    if (pattern_ended) return topic_ended;
    const std::string_view want = cut(pattern, pattern_ended);
    if (want == "#" && pattern_ended) return true;
    if (topic_ended) return false;
    const std::string_view have = cut(topic, topic_ended);
    if (want != "*" && want != have) return false;
  }
}
