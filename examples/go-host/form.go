package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

const lineBytesMax = 8192

var (
	uuidShape   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`)
	timeShape   = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})`)
	hashShape   = regexp.MustCompile(`^[0-9a-f]+`)
	numberShape = regexp.MustCompile(`^[-0-9][-+.eE0-9]*`)
)

// volatile gives the length and the name of what differs from run to run at a place, or 0.
func volatile(line []byte, at int) (int, string) {
	rest := line[at:]
	if at == 0 || !isAlnum(line[at-1]) {
		for _, rule := range []struct {
			shape *regexp.Regexp
			name  string
		}{{uuidShape, "<uuid>"}, {timeShape, "<time>"}, {hashShape, "<hash>"}} {
			found := rule.shape.Find(rest)
			if found == nil || (rule.shape == hashShape && len(found) != 64 && len(found) != 40) {
				continue
			}
			if len(found) == len(rest) || !isAlnum(rest[len(found)]) {
				return len(found), rule.name
			}
		}
	}
	if found := numberShape.Find(rest); found != nil && bytes.HasSuffix(bytes.TrimRight(line[:at], " "), []byte(`_ms":`)) {
		return len(found), "<ms>"
	}
	return 0, ""
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// transcriptLine is the line as it is printed; docs/abi/transcript.md says why and how.
func transcriptLine(raw []byte) string {
	var stable bytes.Buffer
	for at := 0; at < len(raw); {
		if length, name := volatile(raw, at); length > 0 {
			stable.WriteString(name)
			at += length
		} else {
			stable.WriteByte(raw[at])
			at++
		}
	}
	line := escaped(stable.Bytes())
	if len(line) > lineBytesMax {
		end := lineBytesMax
		for end > 0 && !utf8.RuneStart(line[end]) {
			end--
		}
		line = line[:end] + "..."
	}
	return line
}

func escaped(raw []byte) string {
	var out strings.Builder
	for len(raw) > 0 {
		char, size := utf8.DecodeRune(raw)
		switch {
		case char == '\\':
			out.WriteString(`\\`)
		case char == '\n':
			out.WriteString(`\n`)
		case char == '\r':
			out.WriteString(`\r`)
		case char == '\t':
			out.WriteString(`\t`)
		case char < 0x20 || char == 0x7F || (char == utf8.RuneError && size == 1):
			fmt.Fprintf(&out, `\x%02x`, raw[0])
		default:
			out.Write(raw[:size])
		}
		raw = raw[size:]
	}
	return out.String()
}

// matches tells whether a topic fits a pattern: `*` is one segment, a last `#` all that follow, none included.
func matches(pattern, topic string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(topic, ".")
	if last := len(want) - 1; want[last] == "#" {
		want = want[:last]
		if len(have) > last {
			have = have[:last]
		}
	}
	if len(want) != len(have) {
		return false
	}
	for at := range want {
		if want[at] != "*" && want[at] != have[at] {
			return false
		}
	}
	return true
}
