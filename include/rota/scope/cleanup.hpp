// Cleanup that awaits, on every way out: with(resource, body), and what a scope's defer() runs.
//
// C++ destructors cannot await, and after a cancel no await succeeds. So each cleanup runs shielded from outside cancels,
// under a limit that its writer must choose.
#pragma once

#include <concepts>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/callable.hpp>
#include <rota/base/clock.hpp>
#include <rota/base/owned.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/outcome.hpp>
#include <rota/coro/task.hpp>
#include <rota/scope/exception_group.hpp>
#include <rota/scope/timeout.hpp>

namespace rota {

namespace detail {

/// How long a cleanup may take. NaN is refused when it is given: at the end nobody could do anything about it.
template <class Rep, class Period>
nanoseconds cleanup_limit(std::chrono::duration<Rep, Period> limit) {
  const nanoseconds checked = saturate(limit);
  if (checked == not_a_duration) [[unlikely]] {
    task_state* const task = running_task();
    throw_usage_error(usage_error::kind::invalid_argument, "%s, gave a cleanup a time limit that is not a number (NaN)",
                      task ? describe(*task).c_str() : "somebody");
  }
  return checked;
}

/// The errors of a body and of the cleanups after it, as one. A cancel of the body yields to an error of its cleanup:
/// the next suspension throws it again, while the error would be lost.
class cleanup_errors {
 public:
  cleanup_errors(std::exception_ptr body, line_mark where) noexcept : body_(std::move(body)), where_(where) {}
  void add(std::exception_ptr error) noexcept {
    try {
      cleanups_.emplace_back(error, "cleanup");
    } catch (...) {  // out of memory: the next cleanup must run all the same
      if (!body_failed())
        body_ = std::move(error);
      else
        report_lost(error);
    }
  }
  /// Without memory for the group, std::bad_alloc.
  std::exception_ptr combined() noexcept {
    if (cleanups_.empty()) return body_;
    if (!body_failed() && cleanups_.size() == 1) return cleanups_.front().error;
    try {
      if (body_failed()) cleanups_.insert(cleanups_.begin(), exception_group::member(body_, "the body"));
      return std::make_exception_ptr(exception_group(message_at("a body and its cleanup", where_), cleanups_));
    } catch (...) {
      if (body_failed() && cleanups_.front().error != body_) report_lost(body_);
      for (const exception_group::member& m : cleanups_) report_lost(m.error);
      return std::current_exception();
    }
  }

 private:
  bool body_failed() const noexcept { return body_ && !is_cancellation(body_); }
  static void report_lost(const std::exception_ptr& error) noexcept {
    report("out of memory: an error of a body or its cleanup is lost: %s", describe(error).c_str());
  }

  std::exception_ptr body_;
  line_mark where_;
  std::vector<exception_group::member> cleanups_;
};

/// Deferred calls, the newest first.
class cleanup_stack {
  struct node {
    explicit node(nanoseconds l) noexcept : limit(l) {}
    node(const node&) = delete;
    node& operator=(const node&) = delete;
    virtual ~node() = default;
    virtual task<> run() = 0;
    owned<node> next;
    nanoseconds limit;
  };
  template <class F, class... Args>
  struct call final : node {
    template <class G, class... As>
    call(nanoseconds l, G&& g, As&&... as) : node(l), f(std::forward<G>(g)), args(std::forward<As>(as)...) {}
    task<> run() override {
      co_await std::apply([this](Args&... a) { return detail::invoke(std::move(f), std::move(a)...); }, args);
    }
    F f;
    std::tuple<Args...> args;
  };

 public:
  cleanup_stack() noexcept = default;
  ~cleanup_stack() { task_access::discard(runner_); }

  bool empty() const noexcept { return !first_; }

  template <class F, class... Args>
  void push(nanoseconds limit, F&& f, Args&&... args) {
    static_assert(
        std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>,
        "defer(limit, f, args...): f cannot be called with these arguments, which are stored and passed on as rvalues");
    refuse_empty(f, "defer()");
    owned<node> made(
        new call<std::decay_t<F>, std::decay_t<Args>...>(limit, std::forward<F>(f), std::forward<Args>(args)...));
    if (!has_runner_) {
      runner_ = run_all();
      has_runner_ = true;
    }
    made->next = std::move(first_);
    first_ = std::move(made);
  }

  /// Runs them all, also those that are deferred meanwhile. Gives the error to throw, or null. Once; must not be empty.
  task<std::exception_ptr> run(std::exception_ptr body_error, line_mark where) noexcept {
    body_error_ = std::move(body_error);
    where_ = where;
    return std::move(runner_);
  }

 private:
  // (A template, so that only who calls it compiles it.)
  template <int = 0>
  task<std::exception_ptr> run_all() {
    cleanup_errors errors(std::move(body_error_), where_);
    while (first_) {
      const owned<node> one = std::move(first_);
      first_ = std::move(one->next);
      std::exception_ptr error;
      try {
        co_await shield(duration(one->limit), one->run());
      } catch (...) {
        error = std::current_exception();
      }
      if (error) errors.add(std::move(error));
    }
    co_return errors.combined();
  }

  owned<node> first_;
  task<std::exception_ptr> runner_;  // made by the first push: no cleanup is left out because its frame finds no memory
  bool has_runner_ = false;
  std::exception_ptr body_error_;
  line_mark where_ = nullptr;
};

template <class R, class F>
task<body_value_t<F, R>> run_with(nanoseconds limit, R resource, F body, line_mark where) {
  using value = body_value_t<F, R>;
  outcome<value> result;
  try {
    if constexpr (std::is_void_v<value>) {
      co_await detail::invoke(body, resource);
      result.emplace();
    } else {
      result.emplace(co_await detail::invoke(body, resource));
    }
  } catch (...) {
    result.set_exception(std::current_exception());
  }
  cleanup_errors errors(result.exception(), where);
  std::exception_ptr error;
  try {
    co_await shield(duration(limit), resource.close());
  } catch (...) {
    error = std::current_exception();
  }
  if (error) errors.add(std::move(error));
  if (std::exception_ptr all = errors.combined()) std::rethrow_exception(all);
  if constexpr (!std::is_void_v<value>) co_return std::move(result).value();
}

}  // namespace detail

/// Has an awaitable close().
template <class R>
concept closes_awaitably = requires(R& r) {
  { r.close() } -> awaitable;
};

/// Runs `body(resource)`, which returns a task, and closes the resource on every way out: value, exception, cancel.
/// The close is shielded from outside cancels, but after `limit` it is cancelled all the same, which counts as its
/// failure (errc::timed_out); a limit that is NaN throws usage_error at once. Gives the body's value. An error of close()
/// alone is thrown as it is, and wins over a cancel; with an error of the body it is thrown as an exception_group of both.
/// The resource is moved in, and destroyed when the await ends.
template <class Rep, class Period, closes_awaitably R, detail::body_for<R> F>
task<detail::body_value_t<F, R>> with(std::chrono::duration<Rep, Period> limit, R resource, F&& body,
                                      detail::line_mark where = ROTA_CALLERS_LINE) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  detail::refuse_empty(body, "with()");
  return detail::run_with<R, F>(detail::cleanup_limit(limit), std::move(resource), std::forward<F>(body), where);
}
template <class Rep, class Period, class R, class F>
task<> with(std::chrono::duration<Rep, Period>, R, F&&, detail::line_mark = ROTA_CALLERS_LINE) {
  static_assert(closes_awaitably<R>, "with(limit, resource, body): the resource has a close() that can be awaited");
  return detail::refuse_body<F, R>();
}

}  // namespace rota
