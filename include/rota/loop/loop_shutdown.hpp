// How an event loop ends: its tasks are cancelled and run to their end, then its callbacks are dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

#include <rota/loop/event_loop_class.hpp>
#include <rota/loop/loop_iteration.hpp>

namespace rota {

template <class Condition>
void event_loop::run_reporting(Condition go_on) noexcept {
  for (bool done = false; !done;) {
    try {
      run_while(go_on);
      done = true;
    } catch (...) {
      detail::description text;
      text.add("an exception during the shutdown of an event loop");
      report_error(this, std::current_exception(), text);
    }
  }
}

// Callbacks are dropped from now on, those that wait for something at once.
inline void event_loop::close() {
  shut_down_ = true;
  drop_watches_and_signals();
  run_list(before_poll_);  // watches, which end there
  timers_.for_each([this](detail::timer& t) {
    auto& timer = static_cast<detail::loop_timer&>(t);
    if ((timer.target & detail::loop_timer::posted_tag) == 0) return;
    timers_.cancel(timer);
    fire(timer);
  });
}

// What came after the shutdown.
inline void event_loop::drop_callbacks() noexcept {
  while (detail::posted* posts = inbox_.take()) run_posts(posts);
  while (tasks_ == 0 && !ready_.empty()) run_entry(reinterpret_cast<std::uintptr_t>(ready_.pop()));
}

inline std::size_t event_loop::shutdown() {
  if (reactor_->forked()) return 0;  // the tasks are the parent's
  if (current() == this)
    detail::throw_usage_error(usage_error::kind::loop_already_running,
                              "an event loop was shut down from within its own run%s",
                              detail::by_running_task().c_str());
  check_thread();
  if (watch_ && shutdown_until_ == 0) watch_->loop_ends();
  event_loop* const outer = std::exchange(detail::this_thread::loop(), nullptr);  // we may be inside another one
  detail::scope_tree::cancel(root_, cancel_kind::shutdown, "the event loop is shutting down", {});
  detail::open_scope late;  // stands for "the deadline has passed"
  detail::loop_timer alarm;
  if (shutdown_until_ == 0)
    shutdown_until_ = detail::deadline_after(reactor_->now(), detail::saturate(options_.shutdown_deadline));
  alarm.deadline = shutdown_until_;
  alarm.target = reinterpret_cast<std::uintptr_t>(&late) | detail::loop_timer::scope_tag;
  timers_.arm(alarm);
  const auto busy = [&] { return tasks_ != 0 && !late.cancel_requested(); };
  do {
    run_reporting(busy);
    bool once_more = !ready_.empty() || !inbox_.empty();  // what was posted, and what the last tasks left to call
    steps_left_ = must_poll;
    run_reporting([&] { return std::exchange(once_more, false); });
  } while (busy());
  close();
  run_reporting(
      [&] { return (tasks_ != 0 || reactor_->in_flight() != 0 || !ready_.empty()) && !late.cancel_requested(); });
  if (alarm.next) timers_.cancel(alarm);
  detail::this_thread::loop() = outer;
  return tasks_;
}

// The last things that others see of it. No task runs any more, whether it has ended or not.
inline void event_loop::take_leave() noexcept {
  detail::loop_registry::remove(registered_);
  forget_remote_tasks();  // before the last post: nobody will send a cancel any more
  if (!reactor_->forked()) {
    inbox_.wait_for_posters();
    drop_callbacks();
  }
  drop_watches_and_signals();  // a forked child's are left
}

// Names who has not stopped; in debug builds that is the end of the program.
inline void event_loop::name_who_is_left() noexcept {
  detail::scope_tree::for_each_task(root_, [](detail::task_state& task) {
    report("the event loop was destroyed, but %s did not stop", detail::describe(task).c_str());
  });
  if (ROTA_ASSERTIONS)
    detail::trap("an event loop was destroyed with %zu tasks that ignore their cancellation", tasks_);
}

inline event_loop::~event_loop() {
  if (pthread_equal(pthread_self(), made_on_) == 0 && !reactor_->forked()) [[unlikely]]
    detail::trap(
        "an event loop was destroyed on another thread than the one that made it%s; stop() may be called from here",
        detail::by_running_task().c_str());
  const bool all_have_ended = shutdown() == 0;
  take_leave();
  if (all_have_ended) {
    root_.children = 0;  // a forked child leaves its parent's tasks alone
    if (reactor_->descriptors() != 0 && !reactor_->forked())
      detail::trap("an event loop was destroyed before %zu of its streams or listeners, which would refer to it",
                   reactor_->descriptors());
    return;
  }
  name_who_is_left();
  root_.children = 0;
  (void)reactor_.release();  // never free what the kernel may still write to
}

}  // namespace rota
