// A host's side of the module ABI in C++17: modules, instances and services as objects that clean up after themselves.
//
//   auto module = alex::Module::load("libchainbot_plugin.so");
//   alex::Host host;
//   alex::Instance instance = module.initialize(host, R"({"data_dir":"data"})");
//   instance.start();
//   alex::Reply reply = instance.request({"GET", "/api/chainbot/health"}).get();
//
// A status that is not OK is thrown as alex::Error. The library is never unloaded. Control calls belong on one thread; health,
// event and request may be called from any.
#pragma once

#include <dlfcn.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <future>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "alex_module.h"

namespace alex {

inline AlexStr lend(std::string_view text) {
  return AlexStr{reinterpret_cast<const std::uint8_t *>(text.data()), text.size()};
}

inline std::string_view view(AlexStr str) {
  return str.len == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char *>(str.ptr), str.len);
}

inline std::string status_name(AlexStatus status) {
  static constexpr const char *names[] = {"OK",        "INVALID", "STATE", "BUSY",  "UNSUPPORTED",
                                          "CANCELLED", "TIMEOUT", "PANIC", "FAILED"};
  return status <= 0 && status >= -8 ? names[-status] : std::to_string(status);
}

// A call that did not return OK.
class Error : public std::runtime_error {
 public:
  Error(AlexStatus status, std::string message)
      : std::runtime_error(status_name(status) + (message.empty() ? "" : " " + message)),
        status(status),
        message(std::move(message)) {}
  const AlexStatus status;
  const std::string message;
};

// The library cannot be used; what() says why.
class NotAModule : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Reply {
  std::uint32_t status;
  std::string headers;  // a JSON object
  std::string body;
};

struct Request {
  std::string_view method, path, headers = {}, body = {};
  std::string_view mount = {}, peer = {}, trace = {};
  std::uint32_t timeout_ms = 0;
};

// What the module may ask of its host. Derive and override what you offer. Every function is called on threads of the
// module and must not call the module; an exception becomes FAILED. An instance keeps a reference, so a host outlives it.
class Host {
 public:
  Host() = default;
  Host(const Host &) = delete;
  Host &operator=(const Host &) = delete;
  virtual ~Host() = default;

  virtual void log(std::uint32_t level, std::string_view target, std::string_view message, std::string_view fields) {
    static constexpr const char *words[] = {"?", "error", "warn", "info", "debug", "trace"};
    std::string line = std::string(words[level <= 5 ? level : 0]) + " " + std::string(target) + ": " +
                       std::string(message) + " " + std::string(fields) + "\n";
    std::fputs(line.c_str(), stderr);
  }
  virtual AlexStatus publish(const AlexEvent &) { return AlexStatus_OK; }
  virtual AlexStatus subscribe(std::string_view, std::uint64_t &id) {
    id = 1;
    return AlexStatus_OK;
  }
  virtual AlexStatus unsubscribe(std::uint64_t) { return AlexStatus_OK; }
  // The JSON value at a JSON pointer, or nothing.
  virtual std::string config(std::string_view pointer) { return pointer.empty() ? "{}" : ""; }
  virtual std::uint64_t now() {
    auto since = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
  }
  virtual const void *get_extension(std::string_view) { return nullptr; }

  const AlexHost *table() { return &table_; }

 private:
  // No exception may cross into the module.
  template <typename Body>
  static AlexStatus guarded(void *ctx, Body body) noexcept {
    try {
      return body(*static_cast<Host *>(ctx));
    } catch (...) {
      return AlexStatus_FAILED;
    }
  }

  AlexHost table_ = {
      sizeof(AlexHost),
      ALEX_ABI_VERSION,
      this,
      [](void *ctx, std::uint32_t level, AlexStr target, AlexStr message, AlexStr fields) {
        guarded(ctx, [&](Host &host) {
          host.log(level, view(target), view(message), view(fields));
          return AlexStatus_OK;
        });
      },
      [](void *ctx, const AlexEvent *event) { return guarded(ctx, [&](Host &host) { return host.publish(*event); }); },
      [](void *ctx, AlexStr pattern, std::uint64_t *id) {
        return guarded(ctx, [&](Host &host) { return host.subscribe(view(pattern), *id); });
      },
      [](void *ctx, std::uint64_t id) { return guarded(ctx, [&](Host &host) { return host.unsubscribe(id); }); },
      [](void *ctx, AlexStr pointer, AlexSink out) {
        return guarded(ctx, [&](Host &host) {
          const std::string value = host.config(view(pointer));
          if (!value.empty()) out.write(out.ctx, lend(value));
          return AlexStatus_OK;
        });
      },
      [](void *ctx) -> std::uint64_t {
        std::uint64_t now = 0;
        guarded(ctx, [&](Host &host) {
          now = host.now();
          return AlexStatus_OK;
        });
        return now;
      },
      [](void *ctx, AlexStr id) -> const void * {
        const void *found = nullptr;
        guarded(ctx, [&](Host &host) {
          found = host.get_extension(view(id));
          return AlexStatus_OK;
        });
        return found;
      },
  };
};

// Open requests of all modules. A completion's context is a number and never an address, so that a second completion finds
// nothing instead of freed memory.
class Answers {
 public:
  static Answers &all() {
    static Answers *answers = new Answers;  // never destroyed: a module's thread may outlive static objects
    return *answers;
  }

  std::pair<AlexCompletion, std::future<Reply>> open() {
    std::lock_guard<std::mutex> hold(lock_);
    auto &promise = open_[++last_];
    return {AlexCompletion{number_as_pointer(last_), done}, promise.get_future()};
  }

  // The request was refused, so no completion may come.
  void withdraw(const AlexCompletion &completion) {
    std::lock_guard<std::mutex> hold(lock_);
    if (open_.erase(pointer_as_number(completion.ctx)) == 0) strays_++;
  }

  // Completions of nothing that was open, and requests without one: both break the contract.
  std::pair<std::size_t, std::size_t> strays_and_open() {
    std::lock_guard<std::mutex> hold(lock_);
    return {strays_, open_.size()};
  }

 private:
  static void *number_as_pointer(std::uintptr_t number) { return reinterpret_cast<void *>(number); }
  static std::uintptr_t pointer_as_number(void *pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

  static void done(void *ctx, AlexStatus status, const AlexWebhookReply *reply) noexcept {
    Answers &answers = all();
    std::promise<Reply> promise;
    {
      std::lock_guard<std::mutex> hold(answers.lock_);
      auto found = answers.open_.find(pointer_as_number(ctx));
      if (found == answers.open_.end()) {
        answers.strays_++;
        return;
      }
      promise = std::move(found->second);
      answers.open_.erase(found);
    }
    try {
      if (status != AlexStatus_OK) throw Error(status, "");
      if (reply == nullptr) throw Error(AlexStatus_FAILED, "OK without a reply");
      promise.set_value(Reply{reply->http_status, std::string(view(reply->headers)), std::string(view(reply->body))});
    } catch (...) {
      promise.set_exception(std::current_exception());
    }
  }

  std::mutex lock_;
  std::map<std::uintptr_t, std::promise<Reply>> open_;
  std::uintptr_t last_ = 0;
  std::size_t strays_ = 0;
};

// Calls `body` with a buffer for the error, and throws unless it gives OK.
template <typename Body>
void check(Body body) {
  char room[1024];
  AlexErrorBuf err{reinterpret_cast<std::uint8_t *>(room), sizeof room, 0};
  const AlexStatus status = body(&err);
  if (status != AlexStatus_OK) throw Error(status, std::string(room, err.len < sizeof room ? err.len : sizeof room));
}

// An instance. The destructor stops it if need be and releases it.
class Instance {
 public:
  Instance(const AlexBaseModule *module, void *handle) : module_(module), handle_(handle) {}
  Instance(Instance &&other) noexcept : module_(other.module_), handle_(std::exchange(other.handle_, nullptr)) {}
  Instance &operator=(Instance &&other) noexcept {
    std::swap(module_, other.module_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Instance() {
    try {
      close();
    } catch (const std::exception &error) {
      // Not released: threads of the instance may still run, and their memory must stay.
      std::fprintf(stderr, "alex: %s\n", error.what());
    }
  }

  explicit operator bool() const { return handle_ != nullptr; }

  void start() {
    check([&](AlexErrorBuf *err) { return module_->start(handle_, err); });
  }

  // Throws TIMEOUT with what is left; call it again then.
  void stop(std::uint32_t deadline_ms = 10000) {
    check([&](AlexErrorBuf *err) { return module_->stop(handle_, deadline_ms, err); });
  }

  void cleanup() {
    check([&](AlexErrorBuf *err) { return module_->cleanup(handle_, err); });
    handle_ = nullptr;
  }

  void close() {
    if (handle_ == nullptr) return;
    if (!is_resting()) stop();
    cleanup();
  }

  bool is_resting() const {
    const std::uint32_t state = health().state;
    return state == AlexHealth_STATE_INITIALIZED || state == AlexHealth_STATE_STOPPED;
  }

  AlexHealth health() const {
    AlexHealth health = {};
    health.struct_size = sizeof health;
    const AlexStatus status = module_->health(handle_, &health);
    if (status != AlexStatus_OK) throw Error(status, "");
    return health;
  }

  // BUSY means: keep the event and try again.
  void event(std::string_view topic, std::string_view payload, std::uint64_t unix_ns, std::string_view id = {}) {
    AlexEvent event = {};
    event.struct_size = sizeof event;
    event.topic = lend(topic);
    event.payload = lend(payload);
    event.id = lend(id);
    event.unix_ns = unix_ns;
    check([&](AlexErrorBuf *err) { return module_->handle_event(handle_, &event, err); });
  }

  // Forwards a request. A refusal is thrown here; anything later comes through the future.
  std::future<Reply> request(const Request &from) {
    AlexWebhookRequest request = {};
    request.struct_size = sizeof request;
    request.timeout_ms = from.timeout_ms;
    request.method = lend(from.method);
    request.path = lend(from.path);
    request.mount = lend(from.mount);
    request.peer = lend(from.peer);
    request.headers = lend(from.headers);
    request.body = lend(from.body);
    request.trace = lend(from.trace);
    auto [completion, future] = Answers::all().open();
    try {
      check([&, done = completion](AlexErrorBuf *err) {
        return module_->handle_webhook(handle_, &request, done, err);
      });
    } catch (...) {
      Answers::all().withdraw(completion);
      throw;
    }
    return std::move(future);
  }

  const void *extension(std::string_view id) const { return module_->get_extension(handle_, lend(id)); }

 private:
  const AlexBaseModule *module_;
  void *handle_;
};

class Module {
 public:
  // Loads a library. Without a slash the path is a file of the working directory, never one of the system's folders.
  static Module load(const std::string &path) {
    const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
    void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: the manifest says "unload": "never"
    if (library == nullptr) throw NotAModule(dlerror());
    void *symbol = dlsym(library, ALEX_ENTRY_SYMBOL);
    if (symbol == nullptr) throw NotAModule(dlerror());
    const auto entry = reinterpret_cast<decltype(&alex_base_module)>(symbol);
    const AlexBaseModule *module = entry(ALEX_ABI_VERSION);
    if (module == nullptr) {
      // 0 asks for the struct whatever its version, so that a refusal names both numbers.
      const AlexBaseModule *any = entry(0);
      const std::uint32_t theirs = any == nullptr ? 0 : any->abi_version;
      throw NotAModule(path + " has ABI " + std::to_string(theirs >> 16) + "." + std::to_string(theirs & 0xFFFF) +
                       ", this host " + std::to_string(ALEX_ABI_MAJOR) + "." + std::to_string(ALEX_ABI_MINOR));
    }
    if (module->struct_size < ALEX_BASE_MODULE_SIZE_1_0)
      throw NotAModule(path + ": struct_size is " + std::to_string(module->struct_size) + ", ABI 1.0 has " +
                       std::to_string(ALEX_BASE_MODULE_SIZE_1_0));
    return Module(module);
  }

  // The manifest, a JSON document.
  std::string describe() const {
    std::string manifest;
    const AlexSink sink{&manifest,
                        [](void *ctx, AlexStr chunk) { static_cast<std::string *>(ctx)->append(view(chunk)); }};
    const AlexStatus status = module_->describe(sink);
    if (status != AlexStatus_OK) throw Error(status, "");
    return manifest;
  }

  Instance initialize(Host &host, std::string_view config) const {
    void *handle = nullptr;
    check([&](AlexErrorBuf *err) { return module_->initialize(host.table(), lend(config), &handle, err); });
    return Instance(module_, handle);
  }

  // No instance: what calls before `initialize` and after `cleanup` are made with.
  Instance none() const { return Instance(module_, nullptr); }

 private:
  explicit Module(const AlexBaseModule *module) : module_(module) {}
  const AlexBaseModule *module_;
};

}  // namespace alex
