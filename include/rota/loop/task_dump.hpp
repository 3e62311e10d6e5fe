// What every task of a loop is, where it is and what it waits for, as text: for who looks at a program that hangs.
// docs/reference/debugging.md shows how to read it. A task's wait is told by what the wait keeps anyway; since when it waits
// and where it was spawned is known in debug mode only.
#pragma once

#include <signal.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <source_location>
#include <string_view>

#include <rota/base/error.hpp>
#include <rota/base/function_name.hpp>
#include <rota/base/sys.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/task_identity.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/join_handle.hpp>

namespace rota {

namespace detail {

class task_dump {
 public:
  /// To the file, or to report() when there is none. Without `may_number` it changes nothing: then a debugger may call it
  /// wherever the program was stopped.
  task_dump(event_loop& loop, std::FILE* to, bool may_number) noexcept
      : loop_(loop), to_(to), may_number_(may_number), now_(loop_access::now(loop)) {}

  void write() noexcept {
    write_head();
    std::size_t shown = 0;
    std::size_t left_out = 0;
    scope_tree::for_each_task(loop_access::root(loop_), [&](task_state& task) {
      if (shown == most_tasks) {
        ++left_out;
        return;
      }
      ++shown;
      write_task(task);
    });
    if (left_out == 0) return;
    description text;
    text.add("and %zu more tasks", left_out);
    put(text);
  }

 private:
  static constexpr std::size_t most_tasks = 1000;
  static constexpr std::size_t most_frames = 30;                   // of one task
  static constexpr std::size_t most_ready = std::size_t{1} << 14;  // that are looked at for one task

  void put(const description& text) noexcept {
    if (to_)
      std::fprintf(to_, "%s\n", text.c_str());
    else
      report("%s", text.c_str());
  }

  void write_head() noexcept {
    const event_loop_statistics s = loop_.statistics();
    description text;
    text.add("event loop %p, %.*s: tasks %zu, ready %zu, operations in the kernel %zu, timers %zu",
             static_cast<void*>(&loop_), static_cast<int>(to_string(loop_.backend()).size()),
             to_string(loop_.backend()).data(), s.tasks, s.ready, s.operations, s.timers);
    put(text);
  }

  void write_task(task_state& task) noexcept {
    if (may_number_) (void)id_of(task);
    int depth = 0;  // tasks above
    for (scope_node* node = task.parent(); node; node = node->parent())
      depth += scope_tree::is_task_node(*node) ? 1 : 0;
    indent_ = depth < 20 ? 2 * depth : 40;
    description text;
    const task_extras* const extras = task.extras();
    text.add("%*s- %s ", indent_, "", name_of(extras ? extras->name.c_str() : "", extras ? extras->id : 0).c_str());
    void* innermost = task.frame();
    if (task.exec != &loop_) {
      text.add("is not the loop's own");
    } else if (&task == loop_.running()) {
      text.add("runs");
    } else if (task.wait != 0) {
      add_wait(text, task);
      if (void* const frame = loop_.waiting_frame(task)) innermost = frame;
    } else if (!task.has(task_state::started)) {
      text.add("has not begun");
    } else {
      text.add("is ready to go on");
      if (void* const frame = ready_frame_of(task)) innermost = frame;
    }
    if (extras && extras->stepped_at != 0) text.add(" (last step %.3f s ago)", seconds(now_ - extras->stepped_at));
    add_cancel(text, task);
    add_frames(text, task, innermost);
    if (extras && extras->spawned_at.line() != 0) {
      text.add("\n%*s", indent_ + 4, "");
      add_place(text, "spawned in the step that began", extras->spawned_at);
    }
    put(text);
  }

  void add_wait(description& text, task_state& task) noexcept {
    switch (task.waiting_kind()) {
      case wait_kind::operation: add_operation(text, *static_cast<operation*>(task.waiting_for())); return;
      case wait_kind::timer: {
        const nanoseconds left = static_cast<loop_timer*>(task.waiting_for())->deadline - now_;
        text.add("sleeps for another %.3f s", seconds(left > 0 ? left : 0));
        return;
      }
      case wait_kind::custom: break;
    }
    auto& wait = *static_cast<custom_wait*>(task.waiting_for());
    if (task_state* const joined = join_wait::joined_by(wait)) {
      if (may_number_) (void)id_of(*joined);
      text.add("waits for the end of %s", describe(*joined).c_str());
    } else if (const std::size_t children = children_waited_for(task, wait); children != 0) {
      text.add("waits for %zu children", children);
    } else {
      text.add("waits%s", wait.cancel ? "" : " (a cancel cannot end that)");
    }
  }

  static void add_operation(description& text, const operation& op) noexcept {
    switch (op.code) {
      case opcode::read:
      case opcode::recv:
      case opcode::recvmsg: text.add("reads from"); break;
      case opcode::write:
      case opcode::send:
      case opcode::sendmsg: text.add("writes to"); break;
      case opcode::accept: text.add("accepts connections on"); break;
      case opcode::connect: text.add("connects"); break;
      case opcode::poll: text.add("waits until it can %s", op.way() == direction::in ? "read from" : "write to"); break;
    }
    text.add(" descriptor %d%s", op.fd, op.cancel_requested ? ", which the kernel was told to give up" : "");
  }

  // Of an owner that waits for its children's ends: a group, when_all and the like, which belongs to one of its scopes.
  static std::size_t children_waited_for(task_state& task, const custom_wait& wait) noexcept {
    std::size_t found = 0;
    const auto look = [&](scope_node& node) {
      if (!scope_tree::is_owner_node(node)) return;
      auto& owner = static_cast<task_owner&>(static_cast<open_scope&>(node));
      if (owner.waiter == &wait) found = owner.children;
    };
    for (scope_node* node = task.current; node; node = node->parent()) {
      look(*node);
      scope_tree::for_each_child(*node, look);
      if (node == &task) break;
    }
    return found;
  }

  void add_cancel(description& text, task_state& task) noexcept {
    if (!task.is_cancelled()) return;
    text.add("; cancelled");
    scope_node* const by = scope_tree::responsible(task.current);
    const cancel_record* const record = by ? scope_tree::record_of(*by) : nullptr;
    if (record) add_cause(text, *record);
  }

  // The chain of awaits, the innermost first.
  void add_frames(description& text, task_state& task, void* frame) noexcept {
    void* const root = task.frame();
    for (std::size_t shown = 0; shown != most_frames;) {
      const promise_base& promise = promise_of(frame);
      const bool is_root = frame == root || promise.outcome->how() == outcome_base::root;
      const function_name name(promise.waits_at.function_name());
      // What only keeps the arguments has the line of the coroutine that it awaits.
      const bool stands_in = is_root && shown != 0 && task.has(task_state::stands_in);
      if (!stands_in && (is_root || !std::string_view(name.c_str()).starts_with("rota::detail::"))) {
        text.add("\n%*s", indent_ + 4, "");
        add_place(text, name.c_str(), promise.waits_at);
        if (!may_number_) text.add("  frame %p", frame);  // who has a debugger wants to look into it
        ++shown;
      }
      if (is_root) return;
      frame = promise.outcome->parent();
    }
    text.add("\n%*sand more", indent_ + 4, "");
  }
  static void add_place(description& text, const char* what, const std::source_location& at) noexcept {
    text.add("%s at %s:%u", what, at.file_name(), static_cast<unsigned>(at.line()));
  }

  // Entries of the ready queue with one of the low bits set are no frames.
  void* ready_frame_of(task_state& task) noexcept {
    return loop_access::find_ready(loop_, most_ready, [&](void* entry) -> void* {
      if ((reinterpret_cast<std::uintptr_t>(entry) & 7) != 0) return nullptr;
      return promise_of(entry).state == &task ? entry : nullptr;
    });
  }

  static double seconds(nanoseconds t) noexcept { return static_cast<double>(t) / 1e9; }

  event_loop& loop_;
  std::FILE* const to_;
  const bool may_number_;
  const nanoseconds now_;
  int indent_ = 0;
};

}  // namespace detail

inline void event_loop::dump(std::FILE* to) {
  check_thread();
  detail::task_dump(*this, to, true).write();
}

/// Asks every event loop of the process to report what its tasks wait for: event_loop::dump() into the report handler, on
/// each loop's own thread, in its next poll. Returns how many were asked. Any thread, and signal handlers. A loop that is
/// in a step that does not end, or does not run, says nothing. Pools are asked, too (pool/pool_dump.hpp): one is told about by
/// the first of the loops, or of its threads that looks for work.
inline std::size_t dump_tasks() noexcept {
  std::size_t asked = 0;
  detail::loop_registry::for_each([&](detail::registered_loop& its) {
    if (detail::loop_access::kernel(its.loop).forked()) return;
    its.asked_for.store(
        [](event_loop& loop) noexcept {
          detail::task_dump(loop, nullptr, true).write();
          detail::registry<detail::registered_pool>::for_each([](detail::registered_pool& pool) { pool.answer(); });
        },
        std::memory_order_release);
    if (!its.is_asked.exchange(true, std::memory_order_acq_rel)) its.loop.post(its);
    ++asked;
  });
  detail::registry<detail::registered_pool>::for_each([&](detail::registered_pool& pool) {
    if (pool.is_parents()) return;
    pool.ask();
    ++asked;
  });
  return asked;
}

namespace detail {

// Async-signal-safe. The line tells who waits for the dump whether the signal came at all.
inline void on_dump_signal(int) noexcept {
  const int saved = errno;
  const std::size_t asked = dump_tasks();
  char text[] =
      "rota: loops and pools asked for their tasks: ??; one that does not answer is in a step that does not end\n";
  char* const number = text + sizeof "rota: loops and pools asked for their tasks:";
  number[0] = asked < 10 ? ' ' : static_cast<char>('0' + asked / 10);
  number[1] = static_cast<char>('0' + asked % 10);
  (void)sys::write(STDERR_FILENO, text, sizeof text - 1);
  errno = saved;
}

}  // namespace detail

/// From now on this signal calls dump_tasks(), for the whole process; the program goes on. In debug mode rota::run and
/// rota::run_main do it for SIGQUIT, unless the program handles or ignores that. Throws std::system_error for what is no
/// signal or cannot be handled.
inline void dump_on_signal(int signal = SIGQUIT) {
  struct sigaction action{};
  action.sa_handler = &detail::on_dump_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  if (::sigaction(signal, &action, nullptr) != 0) detail::throw_errno(errno, "sigaction");
}

}  // namespace rota

/// For a debugger, which has stopped the program: `call (void)rota_dump_tasks()` in gdb prints the tasks of every loop and
/// pool to stderr at once. In programs that use rota::run or rota::run_main.
extern "C" inline void rota_dump_tasks() noexcept {
  rota::detail::loop_registry::for_each(
      [](rota::detail::registered_loop& its) { rota::detail::task_dump(its.loop, stderr, false).write(); });
  rota::detail::registry<rota::detail::registered_pool>::for_each([](rota::detail::registered_pool& pool) {
    if (!pool.is_parents()) pool.write(pool, stderr);
  });
}

namespace rota::detail {
// At the beginning of a program.
ROTA_COLD inline void prepare_dumps(bool debug) {
  asm volatile("" : : "r"(&rota_dump_tasks));  // else nothing calls it, and it would not be there for the debugger
  struct sigaction now{};
  if (debug && ::sigaction(SIGQUIT, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 &&
      now.sa_handler == SIG_DFL)
    dump_on_signal(SIGQUIT);
}
}  // namespace rota::detail
