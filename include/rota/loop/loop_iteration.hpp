// The loop itself: its one `while`, and what it does in each round.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

#include <rota/loop/event_loop_class.hpp>

namespace rota {

// One iteration:
//
//   1. poll     when nothing is ready, when callbacks were called or asked for, or after 64 steps that took 10 us or
//               more: submit what was requested, wait for completions until the next timer (not at all when something
//               is ready); posts of other threads, then completions, then due timers join the ready queue;
//   2. run      exactly the tasks and callbacks that were ready when the batch began, in order. What they make ready
//               waits for the next iteration, so nothing starves (rule R6).
template <class Condition>
void event_loop::run_while(Condition go_on, rounds at_once) {
  check_not_running();
  event_loop*& current = detail::this_thread::loop();
  reactor_->check_not_forked();
  struct leave {
    event_loop*& slot;
    const bool was_forbidden;  // when a loop is destroyed by a task of another one
    ~leave() {
      slot = nullptr;
      detail::blocking_guard::forbidden() = was_forbidden;
    }
  } const on_exit{current, detail::blocking_guard::forbidden()};
  current = this;
  detail::blocking_guard::forbidden() = true;
  const running_here here(*this);
  while (go_on()) {
    if (at_once == rounds::some && !watch_)
      run_rounds();
    else
      run_round();
    if (error_) [[unlikely]]
      std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

inline void event_loop::run() {
  check_may_run();
  bool once = true;
  run_while([&] { return std::exchange(once, false) || !stopped_.exchange(false, std::memory_order_relaxed); },
            rounds::some);
}

inline std::size_t event_loop::begin_batch() noexcept {
  const std::size_t batch = ready_.size();
  steps_left_ -= static_cast<std::ptrdiff_t>(batch);
  steps_ += batch;
  ++iterations_;
  return batch;
}

// GCC decides anew with every change nearby; out of line, a spawn and its join take 4 % longer.
[[gnu::always_inline]] inline void event_loop::run_rounds() {
  if (ready_.empty() || (steps_left_ <= 0 && poll_is_due())) poll();
  do {
    for (std::size_t batch = begin_batch(); batch != 0; --batch) step(ready_.pop());
  } while (steps_left_ > 0 && !ready_.empty());
}

// The same with one batch, in which no task skips its turn.
inline void event_loop::run_round() {
  if (ready_.empty() || (steps_left_ <= 0 && poll_is_due())) poll();
  std::size_t batch = begin_batch();
  const std::ptrdiff_t left = std::exchange(steps_left_, 0);
  if (watch_)
    run_watched(batch);
  else
    for (; batch != 0; --batch) step(ready_.pop());
  steps_left_ += left;
}

[[gnu::always_inline]] inline void event_loop::step(void* entry) {
  const auto bits = reinterpret_cast<std::uintptr_t>(entry);
  if ((bits & (first_step_tag | posted_tag)) == 0)
    run_frame(*detail::promise_of(entry).state, entry);
  else
    run_entry(bits);
}

// The batch of run_round(), in debug mode: one look at the clock after each step.
ROTA_COLD inline void event_loop::run_watched(std::size_t batch) {
  detail::nanoseconds before = reactor_->now();
  for (; batch != 0; --batch) {
    void* entry = ready_.pop();
    const auto bits = reinterpret_cast<std::uintptr_t>(entry);
    if ((bits & posted_tag) == 0) {
      const bool is_first = (bits & first_step_tag) != 0;
      auto& task =
          is_first ? *reinterpret_cast<detail::task_state*>(bits & ~first_step_tag) : *detail::promise_of(entry).state;
      watch_->step_begins(task, is_first ? task.root_line() : detail::promise_of(entry).waits_at, before);
    }
    step(entry);
    const detail::nanoseconds after = reactor_->now();
    if ((bits & posted_tag) == 0) watch_->step_took(after - before);
    before = after;
  }
}

// The loop is busy and has run 64 short steps: asking the kernel each time would cost more than they did.
ROTA_NOINLINE inline bool event_loop::poll_is_due() {
  if (steps_left_ <= must_poll / 2 || !inbox_.empty()) return true;
  const detail::nanoseconds now = reactor_->now();
  const bool first_look = std::exchange(last_look_, last_look_ ? last_look_ : now) == 0;
  if (!first_look && (now - last_look_ >= time_between_polls || ++polls_skipped_ == most_polls_skipped)) return true;
  steps_left_ = steps_between_polls;
  expire_timers(now);
  return false;
}

inline void event_loop::expire_timers(detail::nanoseconds now) {
  no_task_runs();
  timers_.expire(now, [this](detail::timer& t) { fire(static_cast<detail::loop_timer&>(t)); });
}

inline void event_loop::poll(bool may_wait) {
  no_task_runs();
  steps_left_ = steps_between_polls;
  polls_skipped_ = 0;
  last_look_ = 0;
  if (!before_poll_.empty()) [[unlikely]]
    run_list(before_poll_);
  const bool wait = may_wait && ready_.empty() && done_.empty() && inbox_.fall_asleep();
  detail::posted* posts = nullptr;
  try {
    reactor_->wait(wait ? timers_.next_deadline() : 0, done_);
  } catch (...) {
    error_ = std::current_exception();
    end_rounds();
  }
  posts = inbox_.take();
  if (posts) run_posts(posts);
  while (detail::operation* op = done_.pop()) {
    const auto waiter = reinterpret_cast<std::uintptr_t>(op->waiter);
    if ((waiter & detail::posted_waiter_tag) == 0) [[likely]] {
      detail::make_ready(op->waiter);
    } else {
      auto& work = *reinterpret_cast<detail::posted*>(waiter & ~detail::posted_waiter_tag);
      work.run(work);
    }
  }
  for (detail::custom_wait** link = &closing_; *link;) {
    auto& waiter = static_cast<detail::closing_wait&>(**link);
    if (reactor_->is_closed(waiter.fd)) {
      *link = waiter.next;
      detail::make_ready(waiter.frame);
    } else {
      link = &waiter.next;
    }
  }
  if (timers_.size() != 0) expire_timers(reactor_->now());
}

inline void event_loop::run_posts(detail::posted* posts) {
  while (posts) {
    detail::posted& post = *std::exchange(posts, posts->next);  // running it may destroy it
    ++posts_;
    post.run(post);
  }
}

inline void event_loop::run_entry(std::uintptr_t entry) {
  if ((entry & posted_tag) != 0) {
    no_task_runs();
    auto& work = *reinterpret_cast<detail::posted*>(entry & ~posted_tag);
    work.run(work);
    return;
  }
  run_first_step(*reinterpret_cast<detail::task_state*>(entry & ~first_step_tag));
}

inline void event_loop::fire(detail::loop_timer& t) noexcept {
  if ((t.target & detail::loop_timer::posted_tag) != 0)
    push_posted(*reinterpret_cast<detail::posted*>(t.target & ~detail::loop_timer::posted_tag));
  else
    task_runner::fire(t);
}

}  // namespace rota
