// A host for ALEX OS modules in Go: loads a library, plays a script of calls, prints a transcript.
//
//	cd examples/go-host && go build -o go-host . && ./go-host libchainbot_plugin.so hello.script
//
// Package alex is the part to copy. The language of scripts is in docs/abi/transcript.md.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.org/go-host/alex"
)

const (
	eventsMax          = 1024
	scriptLineBytesMax = 1024 * 1024
)

// errContract: the module did not keep the contract.
var errContract = errors.New("the module broke the contract")

type event struct {
	topic   string
	payload []byte
}

// keepingHost keeps what the module publishes, and knows its subscriptions.
type keepingHost struct {
	alex.Quiet
	lock     sync.Mutex
	events   []event
	ids      map[string]bool
	patterns map[uint64]string
	changed  chan struct{}
}

func newKeepingHost() *keepingHost {
	return &keepingHost{ids: map[string]bool{}, patterns: map[uint64]string{}, changed: make(chan struct{}, 1)}
}

func (h *keepingHost) Publish(topic string, payload []byte, id string) alex.Status {
	h.lock.Lock()
	defer h.lock.Unlock()
	if id != "" && h.ids[id] {
		return alex.StatusOK
	}
	if len(h.events) >= eventsMax {
		return alex.StatusBusy
	}
	if id != "" {
		h.ids[id] = true
	}
	h.events = append(h.events, event{topic, payload})
	select {
	case h.changed <- struct{}{}:
	default: // a change is told already
	}
	return alex.StatusOK
}

func (h *keepingHost) Subscribe(pattern string) (uint64, alex.Status) {
	id, status := h.Quiet.Subscribe(pattern)
	h.lock.Lock()
	defer h.lock.Unlock()
	h.patterns[id] = pattern
	return id, status
}

func (h *keepingHost) Unsubscribe(id uint64) alex.Status {
	h.lock.Lock()
	defer h.lock.Unlock()
	if _, found := h.patterns[id]; !found {
		return alex.StatusInvalid
	}
	delete(h.patterns, id)
	return alex.StatusOK
}

func (h *keepingHost) routes(topic string) bool {
	h.lock.Lock()
	defer h.lock.Unlock()
	for _, pattern := range h.patterns {
		if matches(pattern, topic) {
			return true
		}
	}
	return false
}

// take gives the oldest event that matches; false after ten seconds without one.
func (h *keepingHost) take(pattern string) (event, bool) {
	late := time.After(10 * time.Second)
	for {
		h.lock.Lock()
		for at, kept := range h.events {
			if matches(pattern, kept.topic) {
				h.events = append(h.events[:at], h.events[at+1:]...)
				h.lock.Unlock()
				return kept, true
			}
		}
		h.lock.Unlock()
		select {
		case <-h.changed:
		case <-late:
			return event{}, false
		}
	}
}

// session is a script under way.
type session struct {
	module   *alex.Module
	host     *keepingHost
	instance *alex.Instance
	saved    map[string]string
	document []byte
}

func say(line string) { fmt.Println(transcriptLine([]byte(line))) }

// report prints how a call ended.
func report(head string, err error) {
	if err != nil {
		say(head + " " + err.Error())
	} else {
		say(head + " OK")
	}
}

func (s *session) play(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for number, raw := range bytes.Split(text, []byte("\n")) {
		line := strings.TrimRight(string(raw), " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		if len(line) > scriptLineBytesMax {
			err = errors.New("the line is longer than 1 MiB")
		} else if line, err = s.expand(line); err == nil {
			err = s.run(line)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", path, number+1, err)
		}
	}
	return s.finish()
}

func (s *session) finish() error {
	if s.instance.Live() {
		health, err := s.instance.Health()
		if err != nil || (health.State != alex.StateInitialized && health.State != alex.StateStopped) {
			report("stop", s.instance.Stop(10*time.Second))
		}
		report("cleanup", s.instance.Cleanup())
	}
	if strays, open := alex.Strays(), alex.Open(); strays+open > 0 {
		return fmt.Errorf("%w: %d stray and %d missing completions", errContract, strays, open)
	}
	return nil
}

var nameShape = regexp.MustCompile(`\$\{([A-Za-z0-9_]+)\}`)

// expand replaces every ${NAME}.
func (s *session) expand(line string) (string, error) {
	var err error
	expanded := nameShape.ReplaceAllStringFunc(line, func(found string) string {
		value, known := s.saved[found[2:len(found)-1]]
		if !known {
			err = fmt.Errorf("nothing was saved as %s", found)
		}
		return value
	})
	return expanded, err
}

func (s *session) run(line string) error {
	command, rest, _ := strings.Cut(line, " ")
	switch command {
	case "describe":
		manifest, err := s.module.Describe()
		if err != nil {
			report("describe", err)
		} else {
			say("describe OK " + string(manifest))
		}
	case "initialize":
		if s.instance.Live() {
			return errors.New("an instance is live already")
		}
		instance, err := s.module.Initialize(s.host, rest)
		if err == nil {
			s.instance = instance
		}
		report("initialize", err)
	case "start":
		report("start", s.instance.Start())
	case "stop":
		ms, err := strconv.ParseUint(rest, 10, 32)
		if err != nil {
			return err
		}
		report("stop", s.instance.Stop(time.Duration(ms)*time.Millisecond))
	case "cleanup":
		report("cleanup", s.instance.Cleanup())
	case "event", "force-event":
		topic, payload, _ := strings.Cut(rest, " ")
		if command == "event" && !s.host.routes(topic) {
			say("event " + topic + " UNROUTED")
		} else {
			report(command+" "+topic, s.instance.Event(topic, payload, "", s.host.Now()))
		}
	case "webhook":
		return s.webhook(rest)
	case "wait-event":
		found, ok := s.host.take(rest)
		if !ok {
			say("wait-event " + rest + " TIMEOUT")
			break
		}
		s.document = found.payload
		say("wait-event " + rest + " OK " + found.topic + " " + string(found.payload))
	case "save":
		name, key, _ := strings.Cut(rest, " ")
		value, err := findValue(s.document, key)
		if err != nil {
			return err
		}
		s.saved[name] = value
	case "health":
		s.health()
	case "extension":
		found := "absent"
		if s.instance.HasExtension(rest) {
			found = "present"
		}
		say("extension " + rest + " " + found)
	default:
		return fmt.Errorf("unknown command: %s", command)
	}
	return nil
}

func (s *session) health() {
	got, err := s.instance.Health()
	if err != nil {
		report("health", err)
		return
	}
	threads := "none"
	if got.LiveThreads > 0 {
		threads = "some"
	}
	say(fmt.Sprintf("health OK state=%s score=%.2f label=%s in_flight=%d queue_depth=%d panics=%d threads=%s detail=%s",
		alex.StateName(got.State), got.Score, got.Label(), got.InFlight, got.QueueDepth, got.Panics, threads, got.Detail))
}

var valueShape = `[ \t\r\n]*:[ \t\r\n]*(?:"([^"]*)"|([-0-9][-+.eE0-9]*))`

func findValue(document []byte, key string) (string, error) {
	found := regexp.MustCompile(`"` + regexp.QuoteMeta(key) + `"` + valueShape).FindSubmatch(document)
	if found == nil {
		return "", fmt.Errorf("the value was not found: %s", key)
	}
	value := string(found[1]) + string(found[2])
	if strings.Contains(value, `\`) {
		return "", fmt.Errorf("a saved text holds a backslash: %s", key)
	}
	return value, nil
}

var fileShape = regexp.MustCompile(`@file:[^ ]*`)

// readHeaders reads `[name: value] [name: value]` off the line.
func readHeaders(rest string) (string, string, error) {
	headers := map[string]string{}
	for strings.HasPrefix(rest, "[") {
		header, after, closed := strings.Cut(rest[1:], "]")
		name, value, paired := strings.Cut(header, ": ")
		if !closed || !paired {
			return "", "", errors.New("a header is not `[name: value]`")
		}
		if _, twice := headers[name]; twice {
			return "", "", fmt.Errorf("a header stands twice: %s", name)
		}
		var err error
		headers[name] = fileShape.ReplaceAllStringFunc(value, func(found string) string {
			text, failed := os.ReadFile(found[len("@file:"):])
			if failed != nil {
				err = failed
			}
			return strings.TrimRight(string(text), " \t\r\n")
		})
		if err != nil {
			return "", "", err
		}
		rest = strings.TrimPrefix(after, " ")
	}
	object, err := json.Marshal(headers)
	return string(object), rest, err
}

func (s *session) webhook(line string) error {
	method, line, _ := strings.Cut(line, " ")
	path, line, _ := strings.Cut(line, " ")
	if method == "" || path == "" {
		return errors.New("write `webhook METHOD PATH [name: value] -- BODY`")
	}
	headers, rest, err := readHeaders(line)
	if err != nil {
		return err
	}
	var body []byte
	switch {
	case strings.HasPrefix(rest, "-- @file:"):
		if body, err = os.ReadFile(rest[len("-- @file:"):]); err != nil {
			return err
		}
	case strings.HasPrefix(rest, "-- "):
		body = []byte(rest[3:])
	case rest != "" && rest != "--":
		return errors.New("expected `-- BODY`")
	}
	head := "webhook " + method + " " + path
	answers, err := s.instance.Request(alex.Request{
		Method: method, Path: path, Headers: headers, Body: body, Peer: "127.0.0.1", Timeout: 30 * time.Second,
	})
	if err != nil {
		report(head, err)
		return nil
	}
	s.document = nil
	select {
	case answer := <-answers:
		if answer.Err != nil {
			say(head + " DONE " + answer.Err.Error())
			return nil
		}
		s.document = answer.Reply.Body
		say(fmt.Sprintf("%s DONE OK %d %s %s", head, answer.Reply.Status, contentType(answer.Reply.Headers), s.document))
		return nil
	case <-time.After(40 * time.Second):
		return fmt.Errorf("%w: no completion", errContract)
	}
}

func contentType(headers string) string {
	var object struct {
		Type json.RawMessage `json:"content-type"`
	}
	var one string
	var several []string
	if json.Unmarshal([]byte(headers), &object) != nil {
		return "-"
	}
	if json.Unmarshal(object.Type, &several) == nil && len(several) > 0 {
		one = several[0]
	} else if json.Unmarshal(object.Type, &one) != nil {
		return "-"
	}
	kind, _, _ := strings.Cut(one, ";")
	return kind
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "go-host: usage: go-host LIBRARY SCRIPT")
		os.Exit(2)
	}
	module, err := alex.Load(os.Args[1])
	if err == nil {
		host := newKeepingHost()
		err = (&session{module: module, host: host, instance: module.None(), saved: map[string]string{}}).play(os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-host:", err)
		if errors.Is(err, errContract) {
			os.Exit(3)
		}
		os.Exit(2)
	}
}
