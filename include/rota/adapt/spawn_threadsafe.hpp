// spawn_threadsafe: a task started from any thread, as a std::future; and awaiting a std::future in a task.
// Not part of rota.hpp: <future> and <thread> make every file that includes them a third slower to compile.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <source_location>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rota/adapt/from_callback.hpp>
#include <rota/base/callable.hpp>
#include <rota/base/cancelled.hpp>
#include <rota/base/error.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/join_handle.hpp>
#include <rota/loop/sleep.hpp>
#include <rota/loop/spawn.hpp>

namespace rota {

template <class T>
class task_future;

namespace detail {

// Shared by the task, its loop's inbox and the task_future. The loop lives until the task has ended; until then, and
// under the mutex, another thread may post to it.
struct remote_control : std::enable_shared_from_this<remote_control> {
  explicit remote_control(event_loop& l) noexcept : loop(l) {}
  virtual ~remote_control() = default;

  /// The loop goes, and the task will never end.
  virtual void abandon() noexcept = 0;

  /// Any thread. The loop's thread does it, in its next poll.
  void cancel(std::string_view why, std::source_location where) {
    std::string text;
    try {
      text = why;
    } catch (const std::bad_alloc&) {  // better without its reason than not at all
    }
    const mutex_lock guard(mutex);
    if (ended || cancel_asked) return;
    cancel_asked = true;
    reason = std::move(text);
    asked_at = where;
    request.control = shared_from_this();  // until it has run
    request.run = [](posted& self) noexcept {
      const std::shared_ptr<remote_control> mine = std::move(static_cast<cancel_request&>(self).control);
      if (mine->task) scope_tree::cancel(*mine->task, cancel_kind::requested, mine->reason, mine->asked_at);
    };
    loop.post(request);
  }
  bool was_cancelled() const {
    const mutex_lock guard(mutex);
    return cancel_asked;
  }
  /// The loop's thread: nobody may post to it from now on.
  void end() noexcept;
  /// Calls `f` when the result is in the future; at once, if it is there.
  void when_done(callback<> f) {
    {
      const mutex_lock guard(mutex);
      if (!told) {
        on_done = std::move(f);
        return;
      }
    }
    f();
  }
  void tell() {
    callback<> f;
    {
      const mutex_lock guard(mutex);
      told = true;
      f = std::move(on_done);
    }
    f();
  }

  struct cancel_request : posted {
    std::shared_ptr<remote_control> control;
  };

  event_loop& loop;
  task_state* task = nullptr;      // of the loop's thread; null before the start and after the end
  remote_control* next = nullptr;  // in remote_tasks, like `previous`
  remote_control* previous = nullptr;
  mutable pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  bool cancel_asked = false;  // these are guarded by the mutex
  bool ended = false;
  bool told = false;
  callback<> on_done;
  std::string reason;
  std::source_location asked_at;
  cancel_request request;
};

/// Those of a loop that run. Whoever is left when the loop goes would keep a thread waiting for ever.
class remote_tasks final : public loop_part {
 public:
  ~remote_tasks() override {
    while (remote_control* one = first_) {
      remove(*one);
      one->abandon();
    }
  }
  static void add(event_loop& loop, remote_control& control, task_state& task) noexcept {
    auto& self = static_cast<remote_tasks&>(*loop_access::remote_tasks_of(loop));
    control.task = &task;
    control.next = self.first_;
    if (self.first_) self.first_->previous = &control;
    self.first_ = &control;
  }
  void remove(remote_control& control) noexcept {
    (control.previous ? control.previous->next : first_) = control.next;
    if (control.next) control.next->previous = control.previous;
    control.task = nullptr;
  }
  /// Throws std::bad_alloc; add() then does not.
  static void prepare(event_loop& loop) {
    owned<loop_part>& part = loop_access::remote_tasks_of(loop);
    if (!part) part = owned<remote_tasks>(new remote_tasks);
  }

 private:
  remote_control* first_ = nullptr;
};

inline void remote_control::end() noexcept {
  if (task) static_cast<remote_tasks&>(*loop_access::remote_tasks_of(loop)).remove(*this);
  const mutex_lock guard(mutex);
  ended = true;
}

template <class T>
struct remote_state final : remote_control {
  using remote_control::remote_control;

  std::promise<T> promise;
  bool is_done = false;      // of the loop's thread, like is_starting
  bool is_starting = false;  // what is destroyed meanwhile was no task yet

  template <class... V>
  void set_value(V&&... value) {
    promise.set_value(static_cast<V&&>(value)...);
    done();
  }
  void fail(std::exception_ptr error) noexcept {
    promise.set_exception(std::move(error));
    done();
  }
  void abandon() noexcept override {
    const std::shared_ptr<remote_control> alive = shared_from_this();
    fail(errc::broken_promise);
  }
  void fail(errc code) noexcept { fail(std::make_exception_ptr(std::system_error(make_error_code(code)))); }

 private:
  void done() noexcept {
    is_done = true;
    end();
    tell();
  }
};

// In the frame of the task: when that goes without an outcome, it was cancelled.
template <class T>
class remote_outcome {
 public:
  explicit remote_outcome(std::shared_ptr<remote_state<T>> state) noexcept : state_(std::move(state)) {}
  remote_outcome(remote_outcome&&) noexcept = default;
  remote_outcome& operator=(remote_outcome&&) = delete;
  ~remote_outcome() {
    if (state_ && !state_->is_done && !state_->is_starting) state_->fail(errc::task_cancelled);
  }
  remote_state<T>* operator->() const noexcept { return state_.get(); }

 private:
  std::shared_ptr<remote_state<T>> state_;
};

template <class T, class F, class... Args>
task<> run_remote(remote_outcome<T> outcome, F f, Args... args) {
  std::exception_ptr error;
  try {
    task<T> body = std::invoke(std::move(f), std::move(args)...);
    if constexpr (std::is_void_v<T>) {
      co_await std::move(body);
      outcome->set_value();
    } else {
      decltype(auto) value = co_await std::move(body);
      outcome->set_value(static_cast<T&&>(value));
    }
    co_return;
  } catch (const cancelled&) {
    outcome->fail(errc::task_cancelled);
    throw;
  } catch (...) {
    error = std::current_exception();
  }
  outcome->fail(std::move(error));
}

// On its way to the loop.
template <class T, class F, class... Args>
struct remote_start final : posted {
  remote_start(std::shared_ptr<remote_state<T>> s, F function, Args... arguments)
      : state(std::move(s)), f(std::move(function)), args(std::move(arguments)...) {
    run = &perform;
  }
  static void perform(posted& self) noexcept {
    const std::unique_ptr<remote_start> me(static_cast<remote_start*>(&self));
    remote_state<T>& state = *me->state;
    // A loop that is going down would not begin it.
    if (state.was_cancelled() || loop_access::root(state.loop).is_cancelled()) {
      state.fail(errc::task_cancelled);
      return;
    }
    state.is_starting = true;
    try {
      const auto begin = [&](Args&... a) {
        return start_task(state.loop, loop_access::root(state.loop), &run_remote<T, F, Args...>,
                          remote_outcome<T>(me->state), std::move(me->f), std::move(a)...);
      };
      remote_tasks::prepare(state.loop);
      const join_handle<> handle = std::apply(begin, me->args);
      remote_tasks::add(state.loop, state, handle.task());
      state.is_starting = false;
    } catch (...) {
      state.fail(std::current_exception());
    }
  }

  std::shared_ptr<remote_state<T>> state;
  F f;
  std::tuple<Args...> args;
};

struct future_access {
  template <class T>
  static std::shared_ptr<remote_control> control(const task_future<T>& f) noexcept {
    return f.control_;
  }
};

// One pending std::future: a thread that waits for it and calls back, if anybody still wants to know.
template <class Future>
void wait_on_a_thread(std::shared_ptr<Future> pending, callback<> done) {
  std::thread([pending = std::move(pending), done = std::move(done)]() mutable {
    pending->wait();
    pending.reset();  // before the call: its task then owns the future alone
    done();
  }).detach();
}

template <class T, class Future>
task<T> await_std_future(Future given) {
  if (!given.valid()) throw std::future_error(std::future_errc::no_state);
  if (given.wait_for(std::chrono::seconds(0)) != std::future_status::timeout) co_return given.get();
  const auto pending = std::make_shared<Future>(std::move(given));
  const auto wait = [&](callback<> done) { wait_on_a_thread<Future>(pending, std::move(done)); };
  co_await from_callback<>(wait);
  co_return pending->get();
}

template <class T>
task<T> await_task_future(task_future<T> given) {
  if (!given.valid()) throw std::future_error(std::future_errc::no_state);
  const std::shared_ptr<remote_control> control = future_access::control(given);
  bool stopped = false;
  const auto wait = [&](callback<> done) { control->when_done(std::move(done)); };
  const auto stop = [&] {
    stopped = true;
    control->cancel("the task that awaits it was cancelled", std::source_location::current());
  };
  co_await from_callback<>(wait).on_cancel(stop);
  try {
    co_return given.get();
  } catch (const std::system_error& error) {
    if (!stopped || error.code() != errc::task_cancelled) throw;
  }
  co_await yield();  // throws: this scope is cancelled
  throw std::system_error(make_error_code(errc::task_cancelled));
}

}  // namespace detail

/// The outcome of a task that spawn_threadsafe started: a std::future that can also cancel. Any thread. A cancelled task
/// gives std::system_error with errc::task_cancelled. Dropping it, or making a std::future of it, leaves the task running.
template <class T>
class [[nodiscard]] task_future : public std::future<T> {
 public:
  task_future() noexcept = default;

  /// Cancels the task as join_handle::cancel does, once the loop looks; nothing happens when it has ended. May be called
  /// after the loop has gone. `reason` is copied; without memory for that it is left out.
  void cancel(std::string_view reason = {}, std::source_location where = std::source_location::current()) {
    if (control_) control_->cancel(reason, where);
  }

  // For the library.
  task_future(std::future<T> outcome, std::shared_ptr<detail::remote_control> control) noexcept
      : std::future<T>(std::move(outcome)), control_(std::move(control)) {}

 private:
  friend detail::future_access;
  std::shared_ptr<detail::remote_control> control_;
};

/// Starts `f(args...)`, which returns a rota::task, on `loop`, as spawn does there. Any thread; the loop must be alive
/// during the call. Whatever happens comes out of the future: the value, the exception, errc::task_cancelled (also when
/// the loop goes down before the task began), errc::broken_promise of a task that ignored its cancel until the loop was
/// destroyed without it, and the std::bad_alloc of a task that could not be made.
template <class F, class... Args>
auto spawn_threadsafe(event_loop& loop, F&& f, Args&&... args) {
  using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;
  static_assert(detail::is_task<result>, "spawn_threadsafe() takes a callable that returns a rota::task");
  using T = typename detail::task_value<result>::type;
  detail::refuse_empty(f, "spawn_threadsafe()");
  const auto state = std::make_shared<detail::remote_state<T>>(loop);
  task_future<T> future(state->promise.get_future(), state);
  auto* start = new detail::remote_start<T, std::decay_t<F>, std::decay_t<Args>...>(state, std::forward<F>(f),
                                                                                    std::forward<Args>(args)...);
  loop.post(static_cast<detail::posted&>(*start));
  return future;
}

/// `T v = co_await as_awaitable(std::move(f))` for the futures of the standard. A ready one is taken at once, a deferred
/// one runs here and now. A pending one costs a thread that waits for it and posts back: the standard has no other way.
/// A cancel ends the await at once, and the thread stays until the future is ready; it never touches the loop then.
template <class T>
task<T> as_awaitable(std::future<T> f) {
  return detail::await_std_future<T>(std::move(f));
}
/// The same; gives a copy of the value.
template <class T>
task<T> as_awaitable(std::shared_future<T> f) {
  return detail::await_std_future<T>(std::move(f));
}
/// Costs no thread. A cancel cancels the task and waits for its end: a value is delivered all the same.
template <class T>
task<T> as_awaitable(task_future<T> f) {
  return detail::await_task_future<T>(std::move(f));
}

}  // namespace rota
