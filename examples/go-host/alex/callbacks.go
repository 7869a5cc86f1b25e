package alex

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"sync"
)

// registry gives numbers to what C must be able to name. C holds numbers and never Go's pointers.
type registry[T any] struct {
	lock sync.Mutex
	last uintptr
	held map[uintptr]T
}

func (r *registry[T]) add(value T) uintptr {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.held == nil {
		r.held = map[uintptr]T{}
	}
	r.last++
	r.held[r.last] = value
	return r.last
}

func (r *registry[T]) get(number uintptr) (T, bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	value, found := r.held[number]
	return value, found
}

func (r *registry[T]) take(number uintptr) (T, bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	value, found := r.held[number]
	delete(r.held, number)
	return value, found
}

func (r *registry[T]) len() int {
	r.lock.Lock()
	defer r.lock.Unlock()
	return len(r.held)
}

var (
	hosts   registry[Host]
	sinks   registry[*[]byte]
	answers registry[chan Answer]

	straysLock sync.Mutex
	strays     int
)

// Strays counts completions of nothing that was open, and Open the requests without one. Both are 0 after `Stop` unless the
// module broke the contract.
func Strays() int {
	straysLock.Lock()
	defer straysLock.Unlock()
	return strays
}

// Open counts accepted requests that have no answer yet.
func Open() int { return answers.len() }

func stray() {
	straysLock.Lock()
	defer straysLock.Unlock()
	strays++
}

// copyOf copies what is lent for a call.
func copyOf(str C.AlexStr) []byte {
	if str.len == 0 {
		return nil
	}
	return C.GoBytes(unsafePointer(str), C.int(str.len))
}

func textOf(str C.AlexStr) string { return string(copyOf(str)) }

//export goLog
func goLog(host C.uintptr_t, level C.uint32_t, target, message, fields C.AlexStr) {
	if host, found := hosts.get(uintptr(host)); found {
		host.Log(Level(level), textOf(target), textOf(message), textOf(fields))
	}
}

//export goPublish
func goPublish(host C.uintptr_t, topic, payload, id C.AlexStr) C.AlexStatus {
	if host, found := hosts.get(uintptr(host)); found {
		return C.AlexStatus(host.Publish(textOf(topic), copyOf(payload), textOf(id)))
	}
	return C.AlexStatus(StatusFailed)
}

//export goSubscribe
func goSubscribe(host C.uintptr_t, pattern C.AlexStr, out *C.uint64_t) C.AlexStatus {
	if host, found := hosts.get(uintptr(host)); found {
		id, status := host.Subscribe(textOf(pattern))
		*out = C.uint64_t(id)
		return C.AlexStatus(status)
	}
	return C.AlexStatus(StatusFailed)
}

//export goUnsubscribe
func goUnsubscribe(host C.uintptr_t, id C.uint64_t) C.AlexStatus {
	if host, found := hosts.get(uintptr(host)); found {
		return C.AlexStatus(host.Unsubscribe(uint64(id)))
	}
	return C.AlexStatus(StatusFailed)
}

//export goConfig
func goConfig(host C.uintptr_t, pointer C.AlexStr, out *C.AlexStr) {
	if host, found := hosts.get(uintptr(host)); found {
		if value := host.Config(textOf(pointer)); len(value) > 0 {
			out.ptr = (*C.uint8_t)(C.CBytes(value))
			out.len = C.size_t(len(value))
		}
	}
}

//export goNow
func goNow(host C.uintptr_t) C.uint64_t {
	if host, found := hosts.get(uintptr(host)); found {
		return C.uint64_t(host.Now())
	}
	return 0
}

//export goWrite
func goWrite(sink C.uintptr_t, chunk C.AlexStr) {
	if sink, found := sinks.get(uintptr(sink)); found {
		*sink = append(*sink, copyOf(chunk)...)
	}
}

//export goDone
func goDone(number C.uintptr_t, status C.AlexStatus, http C.uint32_t, headers, body C.AlexStr) {
	answer, found := answers.take(uintptr(number))
	if !found {
		stray()
		return
	}
	// Never blocks: the channel has room for the one answer.
	if Status(status) != StatusOK {
		answer <- Answer{Err: &Error{Status: Status(status)}}
		return
	}
	answer <- Answer{Reply: Reply{Status: int(http), Headers: textOf(headers), Body: copyOf(body)}}
}
