// The errors of tasks that run together: kept until all have ended, without allocating.
#pragma once

#include <exception>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include <rota/coro/describe.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/scope/exception_group.hpp>

namespace rota::detail {

/// An owner whose first failing child cancels the others. A child that failed stays in memory, and in a list through
/// its own state, until somebody takes the errors: so noting a failure needs no memory.
class failure_collector : public task_owner {
 public:
  explicit failure_collector(const char* what, line_mark where = nullptr, std::uint32_t flags = 0) noexcept
      : task_owner(flags), what_(what), where_(where) {}
  ~failure_collector() override { drop_failures(); }

  /// The user's line that all of it is about.
  void set_line(line_mark where) noexcept { where_ = where; }
  line_mark line() const noexcept { return where_; }

  bool failed() const noexcept { return first_ != nullptr; }
  bool child_was_cancelled() const noexcept { return child_was_cancelled_; }

  void child_ended(task_state& child) noexcept override {
    if (child.has(task_state::was_cancelled)) {
      child_was_cancelled_ = true;
    } else if (child.has(task_state::failed)) {
      keep(child);
      cancel_others(*error_of(child), line_of(child));
    }
  }

  /// Cancels every child that is left, and the host if it is in the scope, because of `error`.
  void cancel_others(const std::exception_ptr& error, std::source_location where) noexcept {
    if (cancel_requested()) return;
    description reason;
    reason.add("a sibling failed: %s", describe(error).c_str());
    scope_tree::cancel(*this, cancel_kind::sibling, reason.c_str(), where);
  }

  /// How all of it ended: null, a cancel, or an exception_group of the children's errors and the body's. Without memory
  /// for that, std::bad_alloc: what comes after the group must run all the same.
  std::exception_ptr conclude(std::exception_ptr body = nullptr, const char* whose = "its body") noexcept {
    const bool body_failed = body && !is_cancellation(body);
    if (!failed() && !body_failed) return body;
    try {
      return group_of_failures(body_failed ? body : nullptr, whose);
    } catch (...) {  // its errors are told at least
      for (task_state* child = first_; child; child = next_of(*child))
        loop_access::report_lost(*child, *error_of(*child));
      if (body_failed) report("out of memory: the error of %s is lost: %s", what_, describe(body).c_str());
      return std::current_exception();
    }
  }

 protected:
  ROTA_COLD std::exception_ptr group_of_failures(const std::exception_ptr& body, const char* whose) {
    std::vector<exception_group::member> members;
    for (task_state* child = first_; child; child = next_of(*child))
      members.emplace_back(*error_of(*child), describe(*child).c_str());
    if (body) members.emplace_back(body, whose);
    std::exception_ptr group = std::make_exception_ptr(exception_group(message_at(what_, where_), std::move(members)));
    drop_failures();
    return group;
  }

  void keep(task_state& child) noexcept {
    ++child.references_;
    child.set(task_state::retrieved);
    child.wait = 0;  // an ended task waits for nothing: the word leads to the next one
    if (last_)
      last_->wait = reinterpret_cast<std::uintptr_t>(&child);
    else
      first_ = &child;
    last_ = &child;
  }

  bool child_was_cancelled_ = false;

 private:
  static task_state* next_of(task_state& child) noexcept { return reinterpret_cast<task_state*>(child.wait); }
  void drop_failures() noexcept {
    for (task_state* child = std::exchange(first_, nullptr); child;) {
      task_state& one = *std::exchange(child, next_of(*child));
      if (--one.references_ == 0) destroy_task(one);
    }
    last_ = nullptr;
  }

  const char* what_;
  line_mark where_;
  task_state* first_ = nullptr;
  task_state* last_ = nullptr;
};

}  // namespace rota::detail
