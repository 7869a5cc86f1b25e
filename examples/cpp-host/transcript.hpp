// The form of a transcript, and small readers of scripts; docs/abi/transcript.md says why and how.
#pragma once

#include <string>
#include <string_view>

// The line as it is printed: volatile values replaced, escaped, cut.
std::string transcript_line(std::string_view raw);
// Appends `text` as the inside of a JSON string.
void append_json(std::string &json, std::string_view text);
// The value of the first "key" that is followed by a string or a number. Throws ScriptError when there is none.
std::string find_value(std::string_view document, std::string_view key);
// Whether a dotted topic matches a pattern: `*` is one segment, a last `#` all that follow, none included.
bool matches(std::string_view pattern, std::string_view topic);
