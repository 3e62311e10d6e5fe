// What a pool's threads do, and which of its tasks run or wait, as text: its part of a task dump (loop/task_dump.hpp).
//
// Told is what may be read on any thread: counters, and the list of what run() and spawn() have started, which has a lock.
// What those tasks await, and their children on other strands, is not told: only the thread that runs a strand may look at it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <new>
#include <source_location>
#include <string>
#include <vector>

#include <rota/base/function_name.hpp>
#include <rota/base/report.hpp>
#include <rota/coro/describe.hpp>
#include <rota/pool/pool_root.hpp>
#include <rota/pool/pool_worker.hpp>

namespace rota::detail {

class pool_dump {
 public:
  /// To the file, or to report() when there is none. A debugger, which has stopped the program, gives a file: then no lock is
  /// waited for.
  pool_dump(const void* pool, const pool_core& core, root_list& roots, const std::vector<pool_worker*>& workers,
            std::FILE* to) noexcept
      : pool_(pool), core_(core), roots_(roots), workers_(workers), to_(to) {}

  void write() noexcept {
    description head;
    head.add("thread_pool %p: workers %zu, asleep %u, looking for work %u, queued %u", pool_, workers_.size(),
             core_.parking.sleeping(), core_.parking.searching(), core_.queued());
    put(head);
    for (std::size_t i = 0; i != workers_.size() && i != most_workers; ++i) write_worker(i, *workers_[i]);
    std::size_t shown = 0, left_out = 0;
    std::vector<std::string> roots;  // told without the lock: the report handler may use the pool
    const bool may_look = roots_.look(to_ != nullptr, [&](pool_root& root) {
      if (shown == most_tasks) {
        ++left_out;
        return;
      }
      const description text = describe_root(root);
      if (to_) {
        put(text);
      } else {
        try {
          roots.emplace_back(text.c_str());
        } catch (const std::bad_alloc&) {
          ++left_out;
          return;
        }
      }
      ++shown;
    });
    for (const std::string& text : roots) report("%s", text.c_str());
    description tail;
    if (!may_look)
      tail.add("its list of tasks is being changed");
    else if (left_out != 0)
      tail.add("and %zu more tasks", left_out);
    else
      return;
    put(tail);
  }

 private:
  static constexpr std::size_t most_workers = 256;
  static constexpr std::size_t most_tasks = 1000;

  void put(const description& text) noexcept {
    if (to_)
      std::fprintf(to_, "%s\n", text.c_str());
    else
      report("%s", text.c_str());
  }
  static void add_place(description& text, std::source_location at) noexcept {
    if (at.line() == 0) return;
    text.add("\n    %s at %s:%u", function_name(at.function_name()).c_str(), at.file_name(),
             static_cast<unsigned>(at.line()));
  }
  void write_worker(std::size_t index, const pool_worker& worker) noexcept {
    description text;
    text.add("  worker %zu ", index);
    const std::source_location line = worker.runs();
    if (const nanoseconds asleep = worker.asleep_for(); asleep != 0)
      text.add("has been asleep for %.3f s", static_cast<double>(asleep) / 1e9);
    else
      text.add("%s", line.line() != 0 ? "runs a task" : "runs a function, or looks for work");
    text.add("; forked children that wait here: %zu", static_cast<std::size_t>(worker.deque.size()));
    add_place(text, line);
    put(text);
  }
  description describe_root(pool_root& root) const noexcept {
    description text;
    if (to_)
      text.add("- task");
    else
      root.runs.identity->show(
          [&](const char* name, std::uint64_t id) { text.add("- %s", name_of(name, id).c_str()); });
    text.add("%s", root.runs.rests() ? " waits" : " runs, or is about to");
    add_place(text, root.subject());
    return text;
  }

  const void* const pool_;
  const pool_core& core_;
  root_list& roots_;
  const std::vector<pool_worker*>& workers_;
  std::FILE* const to_;
};

}  // namespace rota::detail
