// loop_group(n, f, args...): f on n event loops at once, each on a thread of its own. docs/design/0015-several-loops.md.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <coroutine>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <source_location>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/callable.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/owned.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/join_handle.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/loop/task_owner.hpp>
#include <rota/pool/cpu_count.hpp>
#include <rota/pool/pool_call.hpp>
#include <rota/scope/exception_group.hpp>

namespace rota {

struct loop_group_options {
  /// 0: as many loops as the process may use CPUs (usable_cpus()). Implicit: loop_group(4, f).
  loop_group_options(unsigned n = 0, std::source_location at = std::source_location::current()) noexcept
      : loops(n), where(at) {}

  unsigned loops;
  /// The thread of loop i stays on the i-th CPU of the affinity mask.
  bool pin = false;
  /// How each of the loops is made.
  event_loop_options loop;
  /// What errors are said to come from.
  std::source_location where;
};

namespace detail {
class loop_crew;
}

/// Where f runs: one loop of a group. Cheap to copy; valid as long as a task of any loop of the group runs.
class loop_member {
 public:
  /// From 0 on.
  std::size_t index() const noexcept { return index_; }
  std::size_t size() const noexcept;
  /// Any loop of the group, for post(), call_soon_threadsafe() and spawn_threadsafe(). Throws usage_error when there is none
  /// of this number.
  event_loop& loop(std::size_t i) const;
  event_loop& loop() const { return loop(index_); }
  /// Cancels f on every loop; loop_group() then returns. Any thread.
  void stop_group() const noexcept;

  loop_member(detail::loop_crew& crew, std::size_t index) noexcept : crew_(&crew), index_(index) {}  // for the library

 private:
  detail::loop_crew* crew_;
  std::size_t index_;
};

namespace detail {

/// One loop of a group. (A pointer to a function, not a virtual one: g++ warns of the latter, when f is a lambda of the program,
/// that the frame which holds it has no linkage.)
struct loop_seat {
  using start_function = join_handle<> (*)(loop_seat& self, event_loop& on, loop_member here);
  explicit loop_seat(start_function f) noexcept : start(f) {}
  loop_seat(const loop_seat&) = delete;
  loop_seat& operator=(const loop_seat&) = delete;
  virtual ~loop_seat() = default;

  const start_function start;  // on the loop's thread, once

  struct stop_message : posted {
    loop_seat* seat = nullptr;
  };

  loop_crew* crew = nullptr;
  std::size_t index = 0;
  owned<event_loop> loop;    // any thread may post to it between the first meeting of the threads and the last
  join_handle<> body;        // of the loop's thread
  stop_message stop;         // to that one
  std::exception_ptr error;  // for check(), when the threads have ended
  bool was_cancelled = false;
};

/// The threads of a group, and the points at which they wait for each other: all loops are made before the first f begins,
/// all f have ended before the first loop goes down, and all have gone down before the first is destroyed. They run their
/// loops meanwhile: every task of any of them may post to every other one, and is answered.
class loop_crew {
 public:
  explicit loop_crew(const loop_group_options& options) : options_(options) {
    seats_.reserve(options.loops);
    threads_.reserve(options.loops);
  }
  loop_crew(const loop_crew&) = delete;
  loop_crew& operator=(const loop_crew&) = delete;
  ~loop_crew() {
    for (loop_seat* seat : seats_) delete seat;
    pthread_cond_destroy(&met_);
    pthread_mutex_destroy(&mutex_);
  }

  void add(owned<loop_seat> seat) {
    seat->crew = this;
    seat->index = seats_.size();
    seats_.push_back(seat.release());
  }
  std::size_t size() const noexcept { return seats_.size(); }
  event_loop& loop(std::size_t i) const noexcept { return *seats_[i]->loop; }

  /// False: there is not a single thread, and nobody will be told; check() says why.
  bool start(remote_waiter& waiter) noexcept {
    waiter_ = &waiter;
    // Signals are for the threads of the program.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    {
      const mutex_lock guard(mutex_);  // nobody gets past the first meeting before it is known how many come to it
      while (threads_.size() != seats_.size()) {
        pthread_t thread;
        start_error_ = pthread_create(&thread, nullptr, &thread_main, seats_[threads_.size()]);
        if (start_error_ != 0) break;
        threads_.push_back(thread);
      }
      living_ = expected_ = threads_.size();
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return !threads_.empty();
  }
  /// Cancels f on every loop. Any thread; only the first call counts.
  void cancel(cancel_kind kind, const char* why) noexcept {
    const mutex_lock guard(mutex_);
    if (std::exchange(cancel_asked_, true)) return;
    cancel_kind_ = kind;
    cancel_reason_ = why;
    if (may_begin_ && leaving_ != expected_) send_cancel();
  }
  /// Who waited was told.
  void join() noexcept {
    for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  }
  /// Throws what failed. True: an f ended by being cancelled.
  bool check() const {
    if (start_error_ != 0) throw std::system_error(start_error_, std::generic_category(), "loop_group: pthread_create");
    std::vector<exception_group::member> errors;
    bool any_cancelled = false;
    for (const loop_seat* seat : seats_) {
      any_cancelled |= seat->was_cancelled;
      if (seat->error)
        errors.emplace_back(seat->error, "loop " + std::to_string(seat->index) + " of " + std::to_string(size()));
    }
    if (!errors.empty())
      throw exception_group(message_at("a loop group", line_mark_of(options_.where)), std::move(errors));
    return any_cancelled;
  }

 private:
  static void* thread_main(void* argument) noexcept {
    auto& seat = *static_cast<loop_seat*>(argument);
    seat.crew->run(seat);
    return nullptr;
  }
  void run(loop_seat& seat) noexcept {
    char name[16];
    std::snprintf(name, sizeof name, "rota-loop-%u", static_cast<unsigned>(seat.index % 100000));
    pthread_setname_np(pthread_self(), name);
    if (options_.pin) pin_to_cpu(pthread_self(), static_cast<unsigned>(seat.index));
    try {
      seat.loop = owned<event_loop>(new event_loop(options_.loop));
    } catch (...) {
      seat.error = std::current_exception();
    }
    if (meet_at_begin()) drive(seat);
    meet_at_end(seat);
    if (somebody_stays_)
      leave_for_good(*seat.loop.release());
    else
      seat.loop = owned<event_loop>();
    const mutex_lock guard(mutex_);
    if (--living_ == 0) waiter_->wake();  // who then joins this thread before the crew goes
  }
  void drive(loop_seat& seat) noexcept {
    event_loop& loop = *seat.loop;
    try {
      seat.body = seat.start(seat, loop, loop_member(*this, seat.index));
      loop_access::run_until_finished(loop, seat.body.task());
      seat.was_cancelled = seat.body.cancelled();
      if (!seat.body.done()) throw std::system_error(make_error_code(errc::loop_stopped));
      if (!seat.was_cancelled) seat.body.result();
    } catch (...) {
      fail(seat);
    }
    run_until_all(seat, ended_);
    loop.shutdown();
    run_until_all(seat, down_);
    seat.body = join_handle<>();
  }
  void fail(loop_seat& seat) noexcept {
    if (!seat.error) seat.error = std::current_exception();
    cancel(cancel_kind::sibling, "another loop of the group failed");
  }

  bool meet_at_begin() noexcept {
    const mutex_lock guard(mutex_);
    if (++made_ == expected_) {
      may_begin_ = start_error_ == 0;
      for (const loop_seat* seat : seats_) may_begin_ &= !seat->error;
      if (may_begin_ && cancel_asked_) send_cancel();
    }
    meet(made_);
    return may_begin_;
  }
  void meet_at_end(const loop_seat& seat) noexcept {
    const mutex_lock guard(mutex_);
    somebody_stays_ |= seat.loop && seat.loop->tasks_ != 0;
    ++leaving_;
    meet(leaving_);
  }
  /// A task of some loop ignores its cancel. It may have asked any loop of the group for something, and any may answer: so
  /// none of them goes, and none runs any more.
  static void leave_for_good(event_loop& loop) noexcept {
    loop.take_leave();
    if (loop.tasks_ != 0) loop.name_who_is_left();
  }
  void meet(const std::size_t& arrived) noexcept {
    if (arrived == expected_) pthread_cond_broadcast(&met_);
    while (arrived < expected_) pthread_cond_wait(&met_, &mutex_);
  }
  /// A meeting during which the loop runs: others may count on it.
  void run_until_all(loop_seat& seat, std::size_t& arrived) noexcept {
    {
      const mutex_lock guard(mutex_);
      if (++arrived == expected_)
        for (loop_seat* other : seats_) other->loop->stop();
    }
    try {
      while (!are_all(arrived)) seat.loop->run();
    } catch (...) {  // the kernel's
      fail(seat);
    }
  }
  bool are_all(const std::size_t& arrived) noexcept {
    const mutex_lock guard(mutex_);
    return arrived == expected_;
  }
  void send_cancel() noexcept {
    for (loop_seat* seat : seats_) {
      seat->stop.seat = seat;
      seat->stop.run = [](posted& self) noexcept {
        const loop_seat& to = *static_cast<loop_seat::stop_message&>(self).seat;
        if (to.body.valid() && !to.body.done())
          scope_tree::cancel(to.body.task(), to.crew->cancel_kind_, to.crew->cancel_reason_, {});
      };
      seat->loop->post(seat->stop);
    }
  }

  const loop_group_options options_;
  std::vector<loop_seat*> seats_;
  std::vector<pthread_t> threads_;
  remote_waiter* waiter_ = nullptr;

  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;  // of the rest
  pthread_cond_t met_ = PTHREAD_COND_INITIALIZER;
  std::size_t expected_ = 0;  // threads
  std::size_t made_ = 0;
  std::size_t ended_ = 0;
  std::size_t down_ = 0;
  std::size_t leaving_ = 0;
  std::size_t living_ = 0;
  int start_error_ = 0;
  bool may_begin_ = false;
  bool somebody_stays_ = false;  // not written after the last meeting
  bool cancel_asked_ = false;
  cancel_kind cancel_kind_ = cancel_kind::requested;
  const char* cancel_reason_ = "";
};

class [[nodiscard(ROTA_UNAWAITED)]] crew_awaiter {
 public:
  explicit crew_awaiter(loop_crew& crew) noexcept : crew_(crew) {}
  crew_awaiter(const crew_awaiter&) = delete;
  crew_awaiter& operator=(const crew_awaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  ROTA_NOINLINE bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = suspend_at(handle, where);
    if (me.is_cancelled()) throw_cancelled(me);
    waiter_.begin(me, handle.address(), this, [](custom_wait& wait) noexcept {
      auto& self = *static_cast<crew_awaiter*>(static_cast<remote_waiter::cancellable&>(wait).owner);
      scope_node* by = scope_tree::responsible(self.waiter_.me->current);
      const cancel_record* record = by ? scope_tree::record_of(*by) : nullptr;
      self.crew_.cancel(record ? record->kind : cancel_kind::requested, "who awaits the loop group was cancelled");
      wait.cancel = nullptr;
    });
    if (crew_.start(waiter_)) return true;
    me.wait = 0;
    return false;
  }
  void await_resume() const noexcept {}

 private:
  loop_crew& crew_;
  remote_waiter waiter_;
};

template <class F, class... Args>
class loop_seat_of final : public loop_seat {
 public:
  explicit loop_seat_of(const F& f, const Args&... args) : loop_seat(&begin), f_(f), args_(args...) {}

 private:
  static join_handle<> begin(loop_seat& self, event_loop& on, loop_member here) {
    auto& me = static_cast<loop_seat_of&>(self);
    task_owner& root = loop_access::root(on);
    return std::apply(
        [&](Args&... args) {
          if constexpr (std::is_invocable_v<F, loop_member, Args...>)
            return start_task(on, root, std::move(me.f_), here, std::move(args)...);
          else
            return start_task(on, root, std::move(me.f_), std::move(args)...);
        },
        me.args_);
  }

  F f_;
  std::tuple<Args...> args_;
};

template <class F, class... Args>
task<> run_loop_group(loop_group_options options, F f, Args... args) {
  loop_crew crew(options);
  for (unsigned i = 0; i != options.loops; ++i) crew.add(owned<loop_seat>(new loop_seat_of<F, Args...>(f, args...)));
  co_await crew_awaiter(crew);
  crew.join();
  const bool any_cancelled = crew.check();
  task_state& me = co_await this_state_awaiter();
  if (any_cancelled && me.is_cancelled()) throw_cancelled(me);
}

}  // namespace detail

inline std::size_t loop_member::size() const noexcept { return crew_->size(); }
inline event_loop& loop_member::loop(std::size_t i) const {
  if (i >= size()) throw usage_error(usage_error::kind::invalid_argument, "a loop_group has no loop of this number");
  return crew_->loop(i);
}
inline void loop_member::stop_group() const noexcept {
  crew_->cancel(cancel_kind::requested, "the loop group was stopped");
}

/// Makes n event loops, each on a thread of its own, runs f(args...) or f(loop_member, args...), which returns a task<>, on
/// each of them, and ends when all have ended. Each loop has copies of f and args (std::ref shares one). May be awaited on any
/// executor: run_main(loop_group(4, server, address)), sync_wait(loop_group(...)).
///
/// The first f that fails cancels the others, as a cancel of who awaits the group, and loop_member::stop_group(), cancel all of
/// them. When all f have ended the loops go down together: what they have spawned is cancelled and waited for
/// (event_loop_options::shutdown_deadline). Until then each loop runs, also one whose f has ended: others may post to it.
/// A task that has not stopped by then is named, which in debug builds ends the program; in others all loops of the group
/// stay in memory and are not run again, for that task may have asked any of them for something.
/// Throws an exception_group that says of which loop each error is, rota::cancelled, std::system_error when a thread cannot
/// be made.
template <class F, class... Args>
task<> loop_group(loop_group_options options, F&& f, Args&&... args) {
  using function = std::decay_t<F>;
  constexpr bool takes_member = std::is_invocable_v<function, loop_member, std::decay_t<Args>...>;
  static_assert(
      takes_member || std::is_invocable_v<function, std::decay_t<Args>...>,
      "loop_group(n, f, args...): f cannot be called with these arguments, nor with a loop_member before them; "
      "they are stored, and passed on as rvalues; for a T& parameter pass std::ref(x)");
  static_assert(std::is_copy_constructible_v<function> && (std::is_copy_constructible_v<std::decay_t<Args>> && ...),
                "loop_group(n, f, args...): each loop has a copy of f and its arguments; std::ref(x) shares one x");
  ROTA_REFUSE_OWNING_CLOSURE(F);
  detail::refuse_empty(f, "loop_group()");
  if (options.loops == 0) options.loops = usable_cpus();
  if (options.loops > 0xffff)
    throw usage_error(usage_error::kind::invalid_argument, "a loop_group has 65535 loops at most");
  return detail::run_loop_group<function, std::decay_t<Args>...>(std::move(options), std::forward<F>(f),
                                                                 std::forward<Args>(args)...);
}

}  // namespace rota
