// capacity_limiter: at most so many at once, a number that may change, and a list of who they are.
#pragma once

#include <coroutine>
#include <cstddef>
#include <string>
#include <utility>

#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/holder.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

class capacity_limiter;

namespace detail {
class capacity_awaiter;

// One that has borrowed: in the limiter's list, in the order in which they came.
class borrower {
 protected:
  borrower() noexcept = default;
  borrower(const borrower&) = delete;
  borrower& operator=(const borrower&) = delete;
  ~borrower() = default;

  void enlist(capacity_limiter& in, task_state* task, line_mark since) noexcept;
  // In the other one's place.
  void replace(borrower& other) noexcept;
  void leave() noexcept;

  holder who_;
  capacity_limiter* of_ = nullptr;  // null: has borrowed nothing

 private:
  friend rota::capacity_limiter;
  borrower* next_ = nullptr;
  borrower* previous_ = nullptr;
};
}  // namespace detail

/// What a semaphore is for known resources, with a total that can be changed while it is in use, to zero even. It knows who
/// has borrowed. For tasks of one loop; exact FIFO, no allocation.
class capacity_limiter : detail::wait_list {
 public:
  class token;

  explicit capacity_limiter(std::size_t total) noexcept : wait_list("capacity_limiter"), total_(total) {}
  /// Ends the program when somebody waits, or has borrowed.
  ~capacity_limiter() {
    if (borrowed_ != 0 && empty()) [[unlikely]]
      detail::trap("a capacity_limiter was destroyed while %zu had borrowed of it, first %s", borrowed_,
                   oldest_->who_.describe().c_str());
  }

  /// `auto token = co_await limiter.acquire();`. Throws rota::cancelled, without a token.
  [[nodiscard(ROTA_UNAWAITED)]] detail::capacity_awaiter acquire() noexcept;
  /// An empty token when that would have to wait. Tasks, and callbacks of the loop.
  [[nodiscard]] token try_acquire(detail::line_mark where = ROTA_CALLERS_LINE) noexcept;

  std::size_t total() const noexcept { return total_; }
  /// More: who waits goes on. Less: nobody gets in before enough have left; those inside stay. Tasks, and callbacks of the
  /// loop.
  void set_total(std::size_t total) noexcept {
    used_here();
    total_ = total;
    serve();
  }
  std::size_t borrowed() const noexcept { return borrowed_; }
  std::size_t available() const noexcept { return borrowed_ < total_ ? total_ - borrowed_ : 0; }
  /// How many tasks wait.
  std::size_t waiting() const noexcept { return size(); }
  /// For people: "task 'importer', last at pool.cpp:50, since pool.cpp:42" for each that has borrowed, one to a line, the
  /// oldest first. Of a token that was moved only the line is known.
  std::string borrowers() const {
    std::string text;
    for (const detail::borrower* one = oldest_; one; one = one->next_) {
      if (!text.empty()) text += '\n';
      text += one->who_.describe().c_str();
    }
    return text;
  }

 private:
  friend detail::borrower;
  friend detail::capacity_awaiter;

  bool has_room() const noexcept { return borrowed_ < total_; }
  void serve() noexcept;

  std::size_t total_;
  std::size_t borrowed_ = 0;
  detail::borrower* oldest_ = nullptr;
  detail::borrower* newest_ = nullptr;
};

/// Has borrowed; gives back at the end of its life. May be moved, to another task of the loop even.
class [[nodiscard("a token that is dropped is given back at once")]] capacity_limiter::token : detail::borrower {
 public:
  /// Has borrowed nothing.
  token() noexcept {}
  token(token&& other) noexcept { take_over(other); }
  token& operator=(token&& other) noexcept {
    if (this != &other) {
      leave();
      take_over(other);
    }
    return *this;
  }
  ~token() { leave(); }

  /// Gives it back now. Throws usage_error (not_held) when it has borrowed nothing.
  void release() {
    if (!of_) [[unlikely]]
      throw usage_error(usage_error::kind::not_held, "a token of a capacity_limiter was given back twice");
    leave();
  }
  explicit operator bool() const noexcept { return of_ != nullptr; }

 private:
  friend capacity_limiter;
  friend detail::capacity_awaiter;
  explicit token(capacity_limiter& in, detail::task_state* task, detail::line_mark since) noexcept {
    enlist(in, task, since);
  }
  explicit token(detail::borrower& has) noexcept { replace(has); }

  void take_over(token& other) noexcept {
    if (!other.of_) return;
    replace(other);
    who_.was_moved();
  }
};

namespace detail {

class [[nodiscard(ROTA_UNAWAITED)]] capacity_awaiter : public list_wait, borrower {
 public:
  explicit capacity_awaiter(capacity_limiter& l) noexcept : limiter_(l) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = begin_at(handle, where, limiter_);
    if (limiter_.has_room() && !me.is_cancelled()) [[likely]] {
      enlist(limiter_, &me, where);
      return me.exec->takes_turns(handle.address());
    }
    return wait_in(limiter_, me, handle.address());
  }
  capacity_limiter::token await_resume() {
    check();
    return capacity_limiter::token(static_cast<borrower&>(*this));
  }

  // For select.
  bool try_now() noexcept {
    if (!limiter_.has_room()) return false;
    enlist_waiter();
    return true;
  }
  wait_list& list() noexcept { return limiter_; }
  const void* channel() const noexcept { return &limiter_; }

 private:
  friend capacity_limiter;
  void enlist_waiter() noexcept { enlist(limiter_, task, line_mark_of(promise_of(frame).waits_at)); }

  capacity_limiter& limiter_;
};

inline void borrower::enlist(capacity_limiter& in, task_state* task, line_mark since) noexcept {
  who_.set(task, since);
  of_ = &in;
  previous_ = in.newest_;
  (previous_ ? previous_->next_ : in.oldest_) = this;
  in.newest_ = this;
  ++in.borrowed_;
}

inline void borrower::replace(borrower& other) noexcept {
  other.of_->used_here();
  who_ = other.who_;
  of_ = std::exchange(other.of_, nullptr);
  next_ = std::exchange(other.next_, nullptr);
  previous_ = std::exchange(other.previous_, nullptr);
  (next_ ? next_->previous_ : of_->newest_) = this;
  (previous_ ? previous_->next_ : of_->oldest_) = this;
}

inline void borrower::leave() noexcept {
  if (!of_) return;
  (next_ ? next_->previous_ : of_->newest_) = previous_;
  (previous_ ? previous_->next_ : of_->oldest_) = next_;
  next_ = previous_ = nullptr;
  capacity_limiter& limiter = *std::exchange(of_, nullptr);
  limiter.used_here();
  --limiter.borrowed_;
  if (!limiter.empty()) limiter.serve();
}

}  // namespace detail

inline detail::capacity_awaiter capacity_limiter::acquire() noexcept { return detail::capacity_awaiter(*this); }

inline capacity_limiter::token capacity_limiter::try_acquire(detail::line_mark where) noexcept {
  used_here();
  return has_room() ? token(*this, detail::running_task(), where) : token();
}

ROTA_NOINLINE inline void capacity_limiter::serve() noexcept {
  while (has_room()) {
    detail::waiter* const first = claim_first();
    if (!first) return;
    auto& next = static_cast<detail::capacity_awaiter&>(*first);
    next.enlist_waiter();
    grant(next);
  }
}

}  // namespace rota
