// Package alex is a host's side of the module ABI: modules, instances and services.
//
//	module, err := alex.Load("./libchainbot_plugin.so")
//	instance, err := module.Initialize(&alex.Quiet{}, `{"data_dir":"data"}`)
//	err = instance.Start()
//	answers, err := instance.Request(alex.Request{Method: "GET", Path: "/api/chainbot/health"})
//	answer := <-answers
//
// The library is never unloaded. Control calls (Initialize, Start, Stop, Cleanup) are made one at a time; the rest may be
// called from any goroutine.
package alex

// #cgo CFLAGS: -I${SRCDIR}/../../../include
// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"
)

// Status is the result of a call; an unknown negative number is an error too.
type Status int32

// The statuses of 1.0.
const (
	StatusOK          Status = 0
	StatusInvalid     Status = -1
	StatusState       Status = -2
	StatusBusy        Status = -3
	StatusUnsupported Status = -4
	StatusCancelled   Status = -5
	StatusTimeout     Status = -6
	StatusPanic       Status = -7
	StatusFailed      Status = -8
)

var statusNames = [...]string{"OK", "INVALID", "STATE", "BUSY", "UNSUPPORTED", "CANCELLED", "TIMEOUT", "PANIC", "FAILED"}

func (s Status) String() string {
	if s <= 0 && int(-s) < len(statusNames) {
		return statusNames[-s]
	}
	return fmt.Sprint(int32(s))
}

// Error is a call that did not return OK.
type Error struct {
	Status  Status
	Message string
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Status.String()
	}
	return e.Status.String() + " " + e.Message
}

// Level of a log line.
type Level uint32

func (l Level) String() string {
	names := [...]string{"?", "error", "warn", "info", "debug", "trace"}
	if int(l) < len(names) {
		return names[l]
	}
	return names[0]
}

// Host is what a module may ask. Every method is called on threads of the module, and must not call the module.
type Host interface {
	Log(level Level, target, message, fields string)
	// Publish takes an event of the module; StatusBusy asks it to try again.
	Publish(topic string, payload []byte, id string) Status
	// Subscribe gives a number for Unsubscribe.
	Subscribe(pattern string) (uint64, Status)
	Unsubscribe(id uint64) Status
	// Config gives the JSON value at a JSON pointer, or nothing.
	Config(pointer string) []byte
	// Now is the wall clock in nanoseconds since the Unix epoch.
	Now() uint64
}

// Quiet is a Host that logs to stderr, drops events and accepts every subscription. Embed it and override.
type Quiet struct{ last uint64 }

// Log writes a line to stderr.
func (*Quiet) Log(level Level, target, message, fields string) {
	fmt.Fprintf(os.Stderr, "%s %s: %s %s\n", level, target, message, fields)
}

// Publish drops the event.
func (*Quiet) Publish(string, []byte, string) Status { return StatusOK }

// Subscribe accepts.
func (q *Quiet) Subscribe(string) (uint64, Status) { return atomic.AddUint64(&q.last, 1), StatusOK }

// Unsubscribe accepts.
func (*Quiet) Unsubscribe(uint64) Status { return StatusOK }

// Config has an empty object.
func (*Quiet) Config(pointer string) []byte {
	if pointer == "" {
		return []byte("{}")
	}
	return nil
}

// Now is the system's clock.
func (*Quiet) Now() uint64 { return uint64(time.Now().UnixNano()) }

// Module is a loaded library.
type Module struct{ table *C.AlexBaseModule }

// Load loads a library by its path; the system's library folders are not searched.
func Load(path string) (*Module, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name, text := C.CString(absolute), (*C.char)(C.calloc(1, 1024))
	defer C.free(unsafe.Pointer(name))
	defer C.free(unsafe.Pointer(text))
	table := C.bridge_load(name, text, 1024)
	if table == nil {
		return nil, errors.New(C.GoString(text))
	}
	return &Module{table}, nil
}

// Describe gives the manifest, a JSON document.
func (m *Module) Describe() ([]byte, error) {
	manifest := []byte{}
	number := sinks.add(&manifest)
	defer sinks.take(number)
	if status := Status(C.bridge_describe(m.table, C.uintptr_t(number))); status != StatusOK {
		return nil, &Error{Status: status}
	}
	return manifest, nil
}

// Instance is an instance of a module. A zero handle is none: calls on it give StatusInvalid.
type Instance struct {
	module *Module
	handle C.uintptr_t
	number uintptr
}

// None is no instance: what calls before Initialize and after Cleanup are made with.
func (m *Module) None() *Instance { return &Instance{module: m} }

// Initialize makes an instance and checks all of its configuration.
func (m *Module) Initialize(host Host, config string) (*Instance, error) {
	lent := &arena{}
	defer lent.free()
	number := hosts.add(host)
	var handle C.uintptr_t
	err := check(func(err *C.AlexErrorBuf) C.AlexStatus {
		return C.bridge_initialize(m.table, C.bridge_host(C.uintptr_t(number)), lent.text(config), &handle, err)
	})
	if err != nil {
		hosts.take(number)
		return nil, err
	}
	return &Instance{m, handle, number}, nil
}

// Live tells whether the instance was not cleaned up.
func (i *Instance) Live() bool { return i.handle != 0 }

// Start starts the instance.
func (i *Instance) Start() error {
	return check(func(err *C.AlexErrorBuf) C.AlexStatus { return C.bridge_start(i.module.table, i.handle, err) })
}

// Stop stops the instance. StatusTimeout says what is left; call it again then.
func (i *Instance) Stop(deadline time.Duration) error {
	ms := C.uint32_t(deadline.Milliseconds())
	return check(func(err *C.AlexErrorBuf) C.AlexStatus { return C.bridge_stop(i.module.table, i.handle, ms, err) })
}

// Cleanup releases the instance.
func (i *Instance) Cleanup() error {
	err := check(func(err *C.AlexErrorBuf) C.AlexStatus { return C.bridge_cleanup(i.module.table, i.handle, err) })
	if err == nil {
		i.handle = 0
		hosts.take(i.number)
	}
	return err
}

// Health is the state of an instance at one moment.
type Health struct {
	State                                     uint32
	Score                                     float64
	Uptime                                    time.Duration
	InFlight, QueueDepth, Panics, LiveThreads uint32
	Detail                                    string
}

// States of an instance.
const (
	StateInitialized uint32 = 1
	StateStopped     uint32 = 6
)

// StateName is the word of the contract, or the number.
func StateName(state uint32) string {
	names := [...]string{"initialized", "starting", "started", "draining", "stopping", "stopped", "failed"}
	if state >= 1 && int(state) <= len(names) {
		return names[state-1]
	}
	return fmt.Sprint(state)
}

// Label is healthy from 0.8, degraded from 0.5, else unhealthy.
func (h Health) Label() string {
	switch {
	case h.Score >= 0.8:
		return "healthy"
	case h.Score >= 0.5:
		return "degraded"
	}
	return "unhealthy"
}

// Health reads the instance's state.
func (i *Instance) Health() (Health, error) {
	var got C.AlexHealth
	got.struct_size = C.sizeof_AlexHealth
	if status := Status(C.bridge_health(i.module.table, i.handle, &got)); status != StatusOK {
		return Health{}, &Error{Status: status}
	}
	detail := C.GoBytes(unsafe.Pointer(&got.detail[0]), C.int(got.detail_len))
	return Health{
		State: uint32(got.state), Score: float64(got.score), Uptime: time.Duration(got.uptime_ms) * time.Millisecond,
		InFlight: uint32(got.in_flight), QueueDepth: uint32(got.queue_depth), Panics: uint32(got.panics),
		LiveThreads: uint32(got.live_threads), Detail: string(detail),
	}, nil
}

// Event hands over an event. StatusBusy means: keep it and try again.
func (i *Instance) Event(topic, payload, id string, unixNs uint64) error {
	lent := &arena{}
	defer lent.free()
	event := C.AlexEvent{struct_size: C.sizeof_AlexEvent, unix_ns: C.uint64_t(unixNs)}
	event.topic, event.payload, event.id = lent.text(topic), lent.text(payload), lent.text(id)
	return check(func(err *C.AlexErrorBuf) C.AlexStatus { return C.bridge_event(i.module.table, i.handle, &event, err) })
}

// Request is an HTTP request to forward. Headers is a JSON object.
type Request struct {
	Method, Path, Mount, Peer, Headers, Trace string
	Body                                      []byte
	Timeout                                   time.Duration
}

// Reply is the answer to a request. Headers is a JSON object.
type Reply struct {
	Status  int
	Headers string
	Body    []byte
}

// Answer is a reply or an error.
type Answer struct {
	Reply Reply
	Err   error
}

// Request forwards a request. A refusal is the error; else exactly one answer comes through the channel.
func (i *Instance) Request(from Request) (<-chan Answer, error) {
	lent := &arena{}
	defer lent.free()
	request := C.AlexWebhookRequest{struct_size: C.sizeof_AlexWebhookRequest}
	request.timeout_ms = C.uint32_t(from.Timeout.Milliseconds())
	request.method, request.path, request.mount = lent.text(from.Method), lent.text(from.Path), lent.text(from.Mount)
	request.peer, request.headers, request.trace = lent.text(from.Peer), lent.text(from.Headers), lent.text(from.Trace)
	request.body = lent.bytes(from.Body)
	answer := make(chan Answer, 1)
	number := answers.add(answer)
	err := check(func(err *C.AlexErrorBuf) C.AlexStatus {
		return C.bridge_webhook(i.module.table, i.handle, &request, C.uintptr_t(number), err)
	})
	if err != nil {
		if _, open := answers.take(number); !open {
			stray() // refused and completed all the same
		}
		return nil, err
	}
	return answer, nil
}

// HasExtension tells whether the instance offers an extension.
func (i *Instance) HasExtension(id string) bool {
	lent := &arena{}
	defer lent.free()
	return C.bridge_has_extension(i.module.table, i.handle, lent.text(id)) != 0
}

// check makes a call with a buffer for the error.
func check(call func(err *C.AlexErrorBuf) C.AlexStatus) error {
	const room = 1024
	buffer := C.malloc(room)
	defer C.free(buffer)
	err := C.AlexErrorBuf{ptr: (*C.uint8_t)(buffer), cap: room}
	status := Status(call(&err))
	if status == StatusOK {
		return nil
	}
	return &Error{status, string(C.GoBytes(buffer, C.int(err.len)))}
}

// arena lends copies in C's memory: a struct that holds Go's pointers may not be given to C.
type arena struct{ held []unsafe.Pointer }

func (a *arena) text(text string) C.AlexStr { return a.bytes([]byte(text)) }

func (a *arena) bytes(data []byte) C.AlexStr {
	if len(data) == 0 {
		return C.AlexStr{}
	}
	made := C.CBytes(data)
	a.held = append(a.held, made)
	return C.AlexStr{ptr: (*C.uint8_t)(made), len: C.size_t(len(data))}
}

func (a *arena) free() {
	for _, held := range a.held {
		C.free(held)
	}
}

func unsafePointer(str C.AlexStr) unsafe.Pointer { return unsafe.Pointer(str.ptr) }
