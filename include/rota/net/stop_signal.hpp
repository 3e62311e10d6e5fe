// How the handlers of serve() learn that the server is stopping.
#pragma once

#include <utility>

#include <rota/coro/cancellation.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/scope/timeout.hpp>

namespace rota {

namespace detail {

class stop_source;

// A scope that is cancelled when the stop is requested; it may be entered afterwards.
class stoppable_scope : public open_scope {
 public:
  explicit stoppable_scope(stop_source& source) noexcept;
  stoppable_scope(const stoppable_scope&) = delete;
  stoppable_scope& operator=(const stoppable_scope&) = delete;
  ~stoppable_scope() {
    *previous_ = next_;
    if (next_) next_->previous_ = previous_;
  }

 private:
  friend stop_source;
  stoppable_scope* next_;
  stoppable_scope** previous_;  // what points here
};

class stop_source {
 public:
  stop_source() noexcept = default;
  stop_source(const stop_source&) = delete;
  stop_source& operator=(const stop_source&) = delete;
  ~stop_source() { ROTA_ASSERT(!first_); }

  bool requested() const noexcept { return requested_; }
  void request() noexcept {
    requested_ = true;
    for (stoppable_scope* scope = first_; scope; scope = scope->next_) stop(*scope);
  }

 private:
  friend stoppable_scope;
  static void stop(stoppable_scope& scope) noexcept {
    scope_tree::cancel(scope, cancel_kind::shutdown, "the server is stopping", {});
  }
  stoppable_scope* first_ = nullptr;
  bool requested_ = false;
};

inline stoppable_scope::stoppable_scope(stop_source& source) noexcept
    : next_(source.first_), previous_(&source.first_) {
  if (next_) next_->previous_ = &next_;
  source.first_ = this;
  if (source.requested()) stop_source::stop(*this);
}

struct stop_signal_access;

}  // namespace detail

/// Says whether the server that called a handler is stopping. A handler that takes one ends at once where it would wait
/// for the peer to begin something new, instead of using up the time of grace. Cheap to copy; valid in the handler and
/// in what it awaits, on the server's loop.
class stop_signal {
 public:
  /// The server has stopped accepting, and waits for its handlers.
  bool requested() const noexcept { return source_->requested(); }

  explicit stop_signal(detail::stop_source& source) noexcept : source_(&source) {}  // for the library

 private:
  friend detail::stop_signal_access;
  detail::stop_source* source_;
};

namespace detail {

struct stop_signal_access {
  template <class A>
  static task<maybe<await_result_t<A>>> move_on(stop_signal stop, A&& a) {
    task_state& me = co_await this_state_awaiter();
    stoppable_scope scope(*stop.source_);
    scope.enter(me);
    const open_scope::leaving at_end{scope};
    try {
      if constexpr (std::is_void_v<await_result_t<A>>) {
        co_await static_cast<A&&>(a);
        co_return true;
      } else {
        co_return co_await static_cast<A&&>(a);
      }
    } catch (const cancelled& exception) {
      if (!scope.absorbs(exception)) throw;
    }
    co_return {};
  }
};

}  // namespace detail

/// Awaits `a`, and cancels it when the server begins to stop, or at once when it is stopping already. Gives
/// std::optional (bool for void): empty (false) when it ended by that. A value that came all the same is given (rule R2):
/// no request that was read is lost. A cancel from outside passes through.
template <awaitable A>
task<detail::maybe<await_result_t<A>>> move_on_when(stop_signal stop, A&& a) {
  return detail::stop_signal_access::move_on<A>(stop, static_cast<A&&>(a));
}

}  // namespace rota
