// rota::testing::sequencer: puts steps of several tasks into the order that a test wants to see.
#pragma once

#include <cstddef>
#include <set>
#include <stdexcept>
#include <utility>

#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/loop/event_loop.hpp>

namespace rota::testing {

/// Steps are numbered from 0. `const auto turn = co_await sequence(n);` waits until every step below n is over; step n is
/// over when `turn` is destroyed. (Trio has the same.) Tasks of one thread; outlives them.
///
/// Throws usage_error for a step that was asked for before. A task that is cancelled while it waits breaks the sequence:
/// everybody else, now and later, gets std::runtime_error instead of waiting for ever.
class sequencer {
  class awaiter;

 public:
  /// The step is going on.
  class [[nodiscard]] turn {
   public:
    turn(turn&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    turn& operator=(turn&&) = delete;
    ~turn() {
      if (owner_) owner_->step_ended();
    }

   private:
    friend awaiter;
    explicit turn(sequencer& owner) noexcept : owner_(&owner) {}
    sequencer* owner_;
  };

  sequencer() noexcept = default;
  sequencer(const sequencer&) = delete;
  sequencer& operator=(const sequencer&) = delete;
  ~sequencer() {
    if (first_) detail::trap("a sequencer was destroyed while a task waits for one of its steps");
  }

  awaiter operator()(std::size_t step) { return awaiter(*this, step); }

 private:
  void step_ended() noexcept {
    ++current_;
    for (awaiter** link = &first_; *link; link = next_of(**link)) {
      if ((*link)->step_ != current_) continue;
      resume(link);
      return;
    }
  }
  void break_off() noexcept {
    broken_ = true;
    while (first_) resume(&first_);
  }
  static awaiter** next_of(awaiter& waiting) noexcept { return &waiting.after_; }
  static void resume(awaiter** link) noexcept {
    awaiter& waiting = **link;
    *link = waiting.after_;
    detail::make_ready(waiting.frame);
  }

  class [[nodiscard(ROTA_UNAWAITED)]] awaiter : detail::custom_wait {
   public:
    awaiter(sequencer& owner, std::size_t step) : owner_(owner), step_(step) {
      custom_wait::cancel = [](custom_wait& self) noexcept {
        auto& waiting = static_cast<awaiter&>(self);
        waiting.withdrawn_ = true;
        waiting.owner_.break_off();  // this one, too
      };
    }
    awaiter(const awaiter&) = delete;
    awaiter& operator=(const awaiter&) = delete;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle, detail::line_mark where = ROTA_CALLERS_LINE) {
      return start(detail::suspend_at(handle, where), handle.address());
    }
    turn await_resume() {
      if (withdrawn_) detail::throw_cancelled(*task_);
      if (owner_.broken_) throw std::runtime_error("a task was cancelled while it waited for its step of a sequencer");
      return turn(owner_);
    }

   private:
    friend sequencer;

    bool start(detail::task_state& task, void* its_frame) {
      task_ = &task;
      frame = its_frame;
      if (!owner_.asked_for_.insert(step_).second)
        detail::throw_usage_error(usage_error::kind::invalid_argument, "step %zu of a sequencer was asked for twice",
                                  step_);
      if (task.is_cancelled()) {
        withdrawn_ = true;
        owner_.break_off();
      }
      if (owner_.broken_ || step_ == owner_.current_) return false;
      after_ = std::exchange(owner_.first_, this);
      task.waits_for(static_cast<custom_wait*>(this), detail::wait_kind::custom);
      return true;
    }

    sequencer& owner_;
    const std::size_t step_;
    awaiter* after_ = nullptr;
    bool withdrawn_ = false;
    detail::task_state* task_ = nullptr;
  };

  std::size_t current_ = 0;
  awaiter* first_ = nullptr;  // who waits, in no order
  std::set<std::size_t> asked_for_;
  bool broken_ = false;
};

}  // namespace rota::testing
