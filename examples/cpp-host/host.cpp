// A host for ALEX OS modules in C++17: loads a library, plays a script of calls, prints a transcript.
//
//   c++ -std=c++17 -Wall -Wextra -pthread -Iinclude -o cpp-host examples/cpp-host/*.cpp -ldl
//   ./cpp-host target/release/libchainbot_plugin.so hello.script
//
// `alex.hpp` is the part to copy. The language of scripts is in docs/abi/transcript.md.
#include <condition_variable>
#include <deque>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>

#include "alex.hpp"
#include "script.hpp"
#include "transcript.hpp"

namespace {

constexpr std::size_t events_max = 1024;
constexpr std::size_t script_line_bytes_max = 1024 * 1024;

class BrokenContract : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Keeps what the module publishes, and knows its subscriptions.
class KeepingHost : public alex::Host {
 public:
  struct Event {
    std::string topic, payload;
  };

  AlexStatus publish(const AlexEvent &event) override {
    std::lock_guard<std::mutex> hold(lock_);
    const std::string id(alex::view(event.id));
    if (!id.empty() && ids_.count(id) > 0) return AlexStatus_OK;
    if (events_.size() >= events_max) return AlexStatus_BUSY;
    if (!id.empty()) ids_.insert(id);
    events_.push_back({std::string(alex::view(event.topic)), std::string(alex::view(event.payload))});
    changed_.notify_all();
    return AlexStatus_OK;
  }

  AlexStatus subscribe(std::string_view pattern, std::uint64_t &id) override {
    std::lock_guard<std::mutex> hold(lock_);
    patterns_.emplace(id = ++last_, pattern);
    return AlexStatus_OK;
  }

  AlexStatus unsubscribe(std::uint64_t id) override {
    std::lock_guard<std::mutex> hold(lock_);
    return patterns_.erase(id) > 0 ? AlexStatus_OK : AlexStatus_INVALID;
  }

  bool routes(std::string_view topic) {
    std::lock_guard<std::mutex> hold(lock_);
    for (const auto &[id, pattern] : patterns_)
      if (matches(pattern, topic)) return true;
    return false;
  }

  // Takes the oldest event that matches; false after ten seconds without one.
  bool take(std::string_view pattern, Event &out) {
    std::unique_lock<std::mutex> hold(lock_);
    auto found = events_.end();
    const bool is_there = changed_.wait_for(hold, std::chrono::seconds(10), [&] {
      for (found = events_.begin(); found != events_.end() && !matches(pattern, found->topic);) ++found;
      return found != events_.end();
    });
    if (!is_there) return false;
    out = std::move(*found);
    events_.erase(found);
    return true;
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<Event> events_;
  std::set<std::string> ids_;
  std::map<std::uint64_t, std::string> patterns_;
  std::uint64_t last_ = 0;
};

void say(std::string_view raw) { std::cout << transcript_line(raw) << std::endl; }

std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ScriptError("cannot read " + path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Cuts the first word off.
std::string_view word(std::string_view &rest) {
  const std::size_t space = rest.find(' ');
  const std::string_view first = rest.substr(0, space);
  if (first.empty()) throw ScriptError("a word is missing");
  rest = space == std::string_view::npos ? std::string_view() : rest.substr(space + 1);
  return first;
}

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

// A header's value, with `@file:PATH` replaced by the file's text.
std::string header_value(std::string_view value) {
  std::string out;
  for (std::size_t mark; (mark = value.find("@file:")) != std::string_view::npos;) {
    out += value.substr(0, mark);
    value.remove_prefix(mark + 6);
    const std::size_t end = std::min(value.find(' '), value.size());
    std::string text = read_file(std::string(value.substr(0, end)));
    text.resize(text.find_last_not_of(" \t\r\n") + 1);
    out += text;
    value.remove_prefix(end);
  }
  return out += value;
}

// Reads `[name: value] [name: value]` off `rest` into a JSON object.
std::string headers(std::string_view &rest) {
  std::string json = "{";
  std::set<std::string> names;
  while (starts_with(rest, "[")) {
    const std::size_t end = rest.find(']'), colon = rest.find(": ");
    if (end == std::string_view::npos || colon > end) throw ScriptError("a header is not `[name: value]`");
    const std::string name(rest.substr(1, colon - 1));
    if (!names.insert(name).second) throw ScriptError("a header stands twice: " + name);
    json += json.size() > 1 ? ",\"" : "\"";
    append_json(json, name);
    json += "\":\"";
    append_json(json, header_value(rest.substr(colon + 2, end - colon - 2)));
    json += "\"";
    rest.remove_prefix(end + 1);
    if (starts_with(rest, " ")) rest.remove_prefix(1);
  }
  return json += "}";
}

std::string content_type(const std::string &json) {
  static constexpr std::string_view key = "\"content-type\":\"";
  const std::size_t at = json.find(key);
  if (at == std::string::npos) return "-";
  return json.substr(at + key.size(), json.find_first_of(";\"", at + key.size()) - at - key.size());
}

class Session {
 public:
  explicit Session(const std::string &library) : module_(alex::Module::load(library)), instance_(module_.none()) {}

  void play(const std::string &path) {
    const std::string text = read_file(path);
    std::size_t number = 1;
    for (std::size_t at = 0; at < text.size(); number++) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      std::string line = text.substr(at, end - at);
      at = end + 1;
      line.resize(line.find_last_not_of(" \t\r") + 1);
      if (line.empty() || line[0] == '#') continue;
      try {
        if (line.size() > script_line_bytes_max) throw ScriptError("the line is longer than 1 MiB");
        run(expand(line));
      } catch (const ScriptError &error) {
        throw ScriptError(path + ", line " + std::to_string(number) + ": " + error.what());
      }
    }
    if (instance_) {
      if (!instance_.is_resting()) run("stop 10000");
      run("cleanup");
    }
    const auto [strays, open] = alex::Answers::all().strays_and_open();
    if (strays + open > 0)
      throw BrokenContract(std::to_string(strays) + " stray and " + std::to_string(open) + " missing completions");
  }

 private:
  // Replaces every ${NAME}.
  std::string expand(const std::string &line) const {
    static constexpr const char *letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    std::string out;
    for (std::size_t at = 0; at < line.size();) {
      const std::size_t end = line.compare(at, 2, "${") == 0 ? line.find_first_not_of(letters, at + 2) : at + 2;
      if (end == std::string::npos || end == at + 2 || line[end] != '}') {
        out += line[at++];
        continue;
      }
      const auto found = saved_.find(line.substr(at + 2, end - at - 2));
      if (found == saved_.end()) throw ScriptError("nothing was saved as " + line.substr(at + 2, end - at - 2));
      out += found->second;
      at = end + 1;
    }
    return out;
  }

  void run(std::string_view rest) {
    const std::string command(word(rest));
    if (command == "describe") {
      report_value(command, [&] { return module_.describe(); });
    } else if (command == "initialize") {
      if (instance_) throw ScriptError("an instance is live already");
      report(command, [&] { instance_ = module_.initialize(host_, rest); });
    } else if (command == "start") {
      report(command, [&] { instance_.start(); });
    } else if (command == "stop") {
      const std::uint32_t deadline_ms = milliseconds(rest);
      report(command, [&] { instance_.stop(deadline_ms); });
    } else if (command == "cleanup") {
      report(command, [&] { instance_.cleanup(); });
    } else if (command == "event" || command == "force-event") {
      event(command, rest);
    } else if (command == "webhook") {
      webhook(rest);
    } else if (command == "wait-event") {
      wait_event(rest);
    } else if (command == "save") {
      const std::string name(word(rest));
      saved_[name] = find_value(document_, rest);
    } else if (command == "health") {
      report_value(command, [&] { return health(); });
    } else if (command == "extension") {
      const char *found = instance_.extension(rest) != nullptr ? " present" : " absent";
      say("extension " + std::string(rest) + found);
    } else {
      throw ScriptError("unknown command: " + command);
    }
  }

  static std::uint32_t milliseconds(std::string_view text) {
    std::size_t used = 0;
    unsigned long long ms = 0;
    try {
      ms = std::stoull(std::string(text), &used);
    } catch (const std::exception &) {
      used = 0;
    }
    if (used == 0 || used != text.size() || ms > UINT32_MAX) throw ScriptError("not a number of milliseconds");
    return static_cast<std::uint32_t>(ms);
  }

  // Makes a call and prints how it ended.
  template <typename Call>
  void report(const std::string &head, Call call) {
    try {
      call();
    } catch (const alex::Error &error) {
      return say(head + " " + error.what());
    }
    say(head + " OK");
  }

  template <typename Call>
  void report_value(const std::string &head, Call call) {
    std::string value;
    try {
      value = call();
    } catch (const alex::Error &error) {
      return say(head + " " + error.what());
    }
    say(head + " OK " + value);
  }

  void event(const std::string &command, std::string_view rest) {
    const std::string topic(word(rest));
    if (command == "event" && !host_.routes(topic)) return say("event " + topic + " UNROUTED");
    report(command + " " + topic, [&] { instance_.event(topic, rest, host_.now()); });
  }

  void webhook(std::string_view rest) {
    const std::string method(word(rest)), path(word(rest)), json = headers(rest), head = "webhook " + method + " " + path;
    std::string body;
    if (starts_with(rest, "-- @file:")) body = read_file(std::string(rest.substr(9)));
    else if (starts_with(rest, "-- ")) body = rest.substr(3);
    else if (!rest.empty() && rest != "--") throw ScriptError("expected `-- BODY`");
    alex::Request request{method, path, json, body};
    request.peer = "127.0.0.1";
    request.timeout_ms = 30000;
    std::future<alex::Reply> answer;
    try {
      answer = instance_.request(request);
    } catch (const alex::Error &error) {
      return say(head + " " + error.what());
    }
    if (answer.wait_for(std::chrono::seconds(40)) != std::future_status::ready)
      throw BrokenContract("no completion: " + head);
    document_.clear();
    try {
      alex::Reply reply = answer.get();
      document_ = std::move(reply.body);
      say(head + " DONE OK " + std::to_string(reply.status) + " " + content_type(reply.headers) + " " + document_);
    } catch (const alex::Error &error) {
      say(head + " DONE " + error.what());
    }
  }

  void wait_event(std::string_view pattern) {
    const std::string head = "wait-event " + std::string(pattern);
    KeepingHost::Event found;
    if (!host_.take(pattern, found)) return say(head + " TIMEOUT");
    document_ = std::move(found.payload);
    say(head + " OK " + found.topic + " " + document_);
  }

  std::string health() const {
    static constexpr const char *words[] = {"initialized", "starting", "started", "draining",
                                            "stopping",    "stopped",  "failed"};
    const AlexHealth health = instance_.health();
    const std::string state =
        health.state >= 1 && health.state <= 7 ? words[health.state - 1] : std::to_string(health.state);
    const char *label = health.score >= 0.8 ? "healthy" : health.score >= 0.5 ? "degraded" : "unhealthy";
    char numbers[160];
    std::snprintf(numbers, sizeof numbers, " score=%.2f label=%s in_flight=%u queue_depth=%u panics=%u threads=%s detail=",
                  health.score, label, health.in_flight, health.queue_depth, health.panics,
                  health.live_threads > 0 ? "some" : "none");
    const std::string detail(reinterpret_cast<const char *>(health.detail), health.detail_len);
    return "state=" + state + numbers + detail;
  }

  // In this order: the instance is released before the host that it was given.
  KeepingHost host_;
  alex::Module module_;
  alex::Instance instance_;
  std::map<std::string, std::string> saved_;
  std::string document_;
};

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) {
    std::cerr << "cpp-host: usage: cpp-host LIBRARY SCRIPT\n";
    return 2;
  }
  try {
    Session(argv[1]).play(argv[2]);
  } catch (const BrokenContract &error) {
    std::cerr << "cpp-host: the module broke the contract: " << error.what() << "\n";
    return 3;
  } catch (const std::exception &error) {
    std::cerr << "cpp-host: " << error.what() << "\n";
    return 2;
  }
  return 0;
}
