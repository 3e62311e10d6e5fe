// Callbacks: call_soon, call_soon_threadsafe, call_later, call_at, and what all callbacks of a loop have in common.
//
// A callback is a node in frame memory, shared by the loop until it has called or dropped it, and by handles. Room for
// it in the ready queue was reserved when it was made, so nothing can fail later. It waits in the inbox (from other
// threads), in the timers, in a task's list of joiners (join_handle::on_done), or in the ready queue already.
//
//   waiting ──► called     its turn came; the callable is destroyed right afterwards
//      └──────► dropped    cancelled, or the loop was shut down; the callable is destroyed at once, but where other
//                          threads may have the handle when its turn comes
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>
#include <type_traits>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/base/callable.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/task.hpp>
#include <rota/loop/event_loop.hpp>

namespace rota {

namespace detail {

enum class call_stage : std::uint8_t { waiting, called, dropped };

/// What every callback has. `posted::run` is what to do with it next.
struct call_node : posted {
  explicit call_node(std::source_location where) noexcept : made_at(where) {}
  call_node(const call_node&) = delete;
  call_node& operator=(const call_node&) = delete;

  virtual void invoke() = 0;                               // may throw
  virtual void drop() noexcept = 0;                        // destroys the callable; again: nothing
  virtual void destroy() noexcept = 0;                     // the callable and the node
  virtual task_state* task() noexcept { return nullptr; }  // whose end it waits for

  /// Calls it and tells the exception handler what it throws.
  void invoke_on(event_loop& on) noexcept {
    const nanoseconds began = loop_access::callback_begins(on);
    try {
      invoke();
    } catch (...) {
      description text;
      text.add("the callback made at %s:%u", made_at.file_name(), static_cast<unsigned>(made_at.line()));
      task_state* const of = task();
      if (of) text.add(", for the end of %s,", describe(*of).c_str());
      text.add(" failed");
      loop_access::report_error(&on, std::current_exception(), text, of, made_at);
    }
    loop_access::callback_ended(on, began, made_at);
  }

  std::source_location made_at;
  event_loop* loop = nullptr;  // lives as long as the stage is `waiting`
  atomic<call_stage> stage{call_stage::waiting};

 protected:
  ~call_node() = default;
};

/// Called once at most.
struct single_call : call_node {
  single_call(std::source_location where, bool from_any_thread) noexcept
      : call_node(where), any_thread(from_any_thread) {}

  /// Out of the timers, or the list, in which it waits. False: it is in the ready queue or the inbox, and stays there.
  virtual bool withdraw() noexcept { return false; }
  virtual nanoseconds when() const noexcept { return never; }

  void keep() noexcept {
    if (any_thread)
      references.fetch_add(1, std::memory_order_relaxed);
    else
      references.store(references.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  void release() noexcept {
    std::uint32_t left = 0;
    if (any_thread) {
      left = references.fetch_sub(1, std::memory_order_acq_rel) - 1;
    } else {
      left = references.load(std::memory_order_relaxed) - 1;
      references.store(left, std::memory_order_relaxed);
    }
    if (left == 0) destroy();
  }

  bool cancel() {
    if (any_thread) return leave_waiting(call_stage::dropped);
    if (stage.load(std::memory_order_relaxed) != call_stage::waiting) return false;
    loop_access::check_caller(*loop);
    stage.store(call_stage::dropped, std::memory_order_relaxed);
    event_loop& its = *loop;
    const bool left = withdraw();
    drop();  // perhaps with the handle that asked for it
    if (left) {
      loop_access::unreserve(its);
      release();
    }
    return true;
  }

  /// posted::run in the ready queue.
  static void perform(posted& self) noexcept {
    auto& call = static_cast<single_call&>(self);
    event_loop& loop = *call.loop;
    loop_access::poll_next(loop);
    if (call.has_room) loop_access::unreserve(loop);
    if (loop_access::is_shut_down(loop))
      call.leave_waiting(call_stage::dropped);
    else if (call.leave_waiting(call_stage::called))
      call.invoke_on(loop);
    call.drop();
    call.release();
  }
  /// posted::run in the inbox.
  static void arrive(posted& self) noexcept {
    self.run = &perform;
    loop_access::arrived(*static_cast<single_call&>(self).loop, self);
  }

  const bool any_thread;  // who may have handles
  bool has_room = false;  // reserved in the ready queue
  atomic<std::uint32_t> references{1};

 protected:
  ~single_call() = default;

 private:
  // Destroying the callable belongs to whoever succeeds; across threads it is the loop's.
  bool leave_waiting(call_stage to) noexcept {
    call_stage expected = call_stage::waiting;
    if (any_thread) return stage.compare_exchange_strong(expected, to, std::memory_order_relaxed);
    if (stage.load(std::memory_order_relaxed) != expected) return false;
    stage.store(to, std::memory_order_relaxed);
    return true;
  }
};

struct timed_call : single_call {
  timed_call(std::source_location where, nanoseconds at) noexcept : single_call(where, false) {
    alarm.deadline = at == never ? never - 1 : at;  // 292 years will do
    alarm.target = reinterpret_cast<std::uintptr_t>(static_cast<posted*>(this)) | loop_timer::posted_tag;
  }
  bool withdraw() noexcept override {
    if (!alarm.next) return false;
    loop_access::timers(*loop).cancel(alarm);
    return true;
  }
  nanoseconds when() const noexcept override { return alarm.deadline; }

  loop_timer alarm;

 protected:
  ~timed_call() = default;
};

/// Called again and again, until it is cancelled: by its owner, on its loop's thread.
struct repeated_call : call_node {
  using call_node::call_node;

  bool is_cancelled() const noexcept { return stage.load(std::memory_order_relaxed) == call_stage::dropped; }
  void cancel() noexcept {
    stage.store(call_stage::dropped, std::memory_order_relaxed);
    if (!running) drop();
  }
  void call_on(event_loop& on) noexcept {
    running = true;
    invoke_on(on);
    running = false;
    if (is_cancelled()) drop();  // by itself
  }

  bool running = false;

 protected:
  ~repeated_call() = default;
};

/// A repeated call that any thread and signal handlers ask for.
struct notified_call : repeated_call {
  using repeated_call::repeated_call;

  bool notify(event_loop& on) noexcept {
    if (queued.exchange(true, std::memory_order_acq_rel)) return false;
    loop = &on;
    run = &arrive;
    on.post(*this);
    return true;
  }
  /// Nobody notifies any more.
  void disown() noexcept {
    cancel();
    if (!running && !queued.load(std::memory_order_relaxed)) destroy();
  }

  atomic<bool> queued{false};

 protected:
  ~notified_call() = default;

 private:
  static void arrive(posted& self) noexcept {
    self.run = &perform;
    loop_access::arrived(*static_cast<notified_call&>(self).loop, self);
  }
  static void perform(posted& self) noexcept {
    auto& call = static_cast<notified_call&>(self);
    event_loop& loop = *call.loop;
    loop_access::poll_next(loop);
    call.queued.exchange(false, std::memory_order_acq_rel);  // from here on a notification is a new call
    if (!call.is_cancelled() && !loop_access::is_shut_down(loop)) call.call_on(loop);
    if (call.is_cancelled() && !call.queued.load(std::memory_order_relaxed)) call.destroy();
  }
};

/// The node with its callable, which takes nothing any more.
template <class Base, class F>
class call final : public Base {
 public:
  template <class... BaseArgs>
  explicit call(F&& f, BaseArgs&&... base) : Base(static_cast<BaseArgs&&>(base)...), f_(std::move(f)) {}
  void invoke() override { f_(); }
  void drop() noexcept override {
    if (std::exchange(holds_, false)) f_.~F();
  }
  void destroy() noexcept override {
    drop();
    this->~call();
    frame_memory::deallocate(this, sizeof(call));
  }

 private:
  ~call() {}

  union {
    F f_;
  };
  bool holds_ = true;
};

template <class Base, class F, class... BaseArgs>
call<Base, F>& make_call(F&& f, BaseArgs&&... base) {
  static_assert(alignof(call<Base, F>) <= frame_memory::granule, "a callback may be aligned to 64 bytes at most");
  using made = call<Base, F>;
  void* memory = frame_memory::allocate(sizeof(made));
  try {
    return *new (memory) made(std::forward<F>(f), static_cast<BaseArgs&&>(base)...);
  } catch (...) {
    frame_memory::deallocate(memory, sizeof(made));
    throw;
  }
}

template <class Result>
consteval bool is_plain_call() {
  static_assert(!is_task<std::remove_cvref_t<Result>>,
                "a callback is a plain function, and this one returns a task that nobody would await: spawn() it");
  return true;
}
/// f with its arguments, for one call.
template <class F, class... Args>
auto bind_once(F&& f, Args&&... args) {
  static_assert(std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>,
                "a callback cannot be called with these arguments, which are stored and passed on as rvalues; for a T& "
                "parameter pass std::ref(x)");
  static_assert(is_plain_call<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>>());
  refuse_empty(f, "an event loop's callback");
  return [function = std::decay_t<F>(static_cast<F&&>(f)),
          ... with = std::decay_t<Args>(static_cast<Args&&>(args))]() mutable {
    static_cast<void>(detail::invoke(std::move(function), std::move(with)...));
  };
}
/// The same for any number of calls.
template <class F, class... Args>
auto bind_often(F&& f, Args&&... args) {
  static_assert(std::is_invocable_v<std::decay_t<F>&, std::decay_t<Args>&...>,
                "a callback cannot be called with these arguments, which are stored and passed on as lvalues");
  static_assert(is_plain_call<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>&...>>());
  refuse_empty(f, "an event loop's callback");
  return [function = std::decay_t<F>(static_cast<F&&>(f)),
          ... with = std::decay_t<Args>(static_cast<Args&&>(args))]() mutable {
    static_cast<void>(detail::invoke(function, with...));
  };
}

/// A single call with room in the ready queue.
template <class Base, class F, class... BaseArgs>
call<Base, F>& make_single(event_loop& loop, F&& f, BaseArgs&&... base) {
  loop_access::check_caller(loop);
  loop_access::check_open(loop);
  loop_access::reserve(loop);
  try {
    call<Base, F>& made = make_call<Base>(std::forward<F>(f), static_cast<BaseArgs&&>(base)...);
    made.loop = &loop;
    made.run = &single_call::perform;
    made.has_room = true;
    return made;
  } catch (...) {
    loop_access::unreserve(loop);
    throw;
  }
}

}  // namespace detail

/// A callback that the loop was given. Copies refer to the same one; dropping them changes nothing. For the loop's own
/// thread; any thread, if it comes from call_soon_threadsafe. May outlive the loop.
class call_handle {
 public:
  call_handle() noexcept = default;
  call_handle(const call_handle& other) noexcept : call_(other.call_) {
    if (call_) call_->keep();
  }
  call_handle(call_handle&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
  call_handle& operator=(call_handle other) noexcept {
    std::swap(call_, other.call_);
    return *this;
  }
  ~call_handle() {
    if (call_) call_->release();
  }

  bool valid() const noexcept { return call_ != nullptr; }

  /// True: it will not be called, and the callable is destroyed (at once; of call_soon_threadsafe, by the loop). False,
  /// and nothing happens: it was called or is being called, was cancelled before, or went with its loop.
  bool cancel() { return call_ && call_->cancel(); }
  /// It was not called and will not be: it was cancelled, or went with its loop.
  bool cancelled() const noexcept {
    return call_ && call_->stage.load(std::memory_order_relaxed) == detail::call_stage::dropped;
  }
  /// When it is, or was, due. Throws usage_error for a callback without a time.
  time_point when() const {
    const detail::nanoseconds time = call_ ? call_->when() : detail::never;
    if (time == detail::never)
      throw usage_error(usage_error::kind::invalid_argument, "only what call_later() and call_at() give has a time");
    return detail::to_time_point(time);
  }

  // For the library. Shares the node.
  explicit call_handle(detail::single_call& call) noexcept : call_(&call) { call_->keep(); }

 private:
  detail::single_call* call_ = nullptr;
};

/// A callback that is made in advance, so that asking for it needs no memory and may happen in a signal handler:
/// loop.call_soon_threadsafe(prepared). Called once for all that asked since the last call began.
///
/// When it is destroyed, nobody may be asking any more, and what is on its way is not called. On the thread of the loop
/// that calls it; before or after that loop as well.
class prepared_call {
 public:
  /// Throws std::bad_alloc.
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, prepared_call>)
  explicit prepared_call(F&& f, std::source_location where = std::source_location::current())
      : call_(&detail::make_call<detail::notified_call>(detail::bind_often(static_cast<F&&>(f)), where)) {}
  prepared_call(const prepared_call&) = delete;
  prepared_call& operator=(const prepared_call&) = delete;
  ~prepared_call() { call_->disown(); }

 private:
  friend callback_layer;
  detail::notified_call* call_;
};

// ---- event_loop ------------------------------------------------------------------------------------------------------

namespace detail {

template <class F>
call_handle call_soon(event_loop& loop, F&& f, std::source_location where) {
  auto& made = make_single<single_call>(loop, std::forward<F>(f), where, false);
  loop_access::push(loop, made);
  return call_handle(made);
}

template <class F>
call_handle call_soon_threadsafe(event_loop& loop, F&& f, std::source_location where) {
  if (event_loop::current() == &loop && !loop_access::is_shut_down(loop)) {  // in order with call_soon
    auto& made = make_single<single_call>(loop, std::forward<F>(f), where, true);
    call_handle handle(made);
    loop_access::count_post(loop);
    loop_access::push(loop, made);
    return handle;
  }
  auto& made = make_call<single_call>(std::forward<F>(f), where, true);
  call_handle handle(made);
  made.loop = &loop;
  made.run = &single_call::arrive;
  loop.post(static_cast<posted&>(made));
  return handle;
}

// Of two that are overdue the one that is due longer comes first.
constexpr nanoseconds call_deadline(nanoseconds now, nanoseconds delay) noexcept {
  return delay > never - now ? never : now + delay;
}

template <class F>
call_handle call_at(event_loop& loop, nanoseconds when, F&& f, std::source_location where) {
  auto& made = make_single<timed_call>(loop, std::forward<F>(f), where, when);
  loop_access::poll_next(loop);
  loop_access::timers(loop).arm(made.alarm);
  return call_handle(made);
}

}  // namespace detail

template <class F>
call_handle callback_layer::call_soon(F&& f, std::source_location where) {
  return detail::call_soon(self(), detail::bind_once(std::forward<F>(f)), where);
}
template <class F, class A>
call_handle callback_layer::call_soon(F&& f, A&& a, std::source_location where) {
  return detail::call_soon(self(), detail::bind_once(std::forward<F>(f), std::forward<A>(a)), where);
}
template <class F, class A, class B>
call_handle callback_layer::call_soon(F&& f, A&& a, B&& b, std::source_location where) {
  return detail::call_soon(self(), detail::bind_once(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b)),
                           where);
}

template <class F>
call_handle callback_layer::call_soon_threadsafe(F&& f, std::source_location where) {
  return detail::call_soon_threadsafe(self(), detail::bind_once(std::forward<F>(f)), where);
}
template <class F, class A>
call_handle callback_layer::call_soon_threadsafe(F&& f, A&& a, std::source_location where) {
  return detail::call_soon_threadsafe(self(), detail::bind_once(std::forward<F>(f), std::forward<A>(a)), where);
}
template <class F, class A, class B>
call_handle callback_layer::call_soon_threadsafe(F&& f, A&& a, B&& b, std::source_location where) {
  return detail::call_soon_threadsafe(
      self(), detail::bind_once(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b)), where);
}
inline bool callback_layer::call_soon_threadsafe(prepared_call& call) noexcept { return call.call_->notify(self()); }

template <std::invocable F>
void event_loop::post(F f, std::source_location where) {
  (void)call_soon_threadsafe(std::move(f), where);
}

template <class F, class... Args>
call_handle callback_layer::call_later(detail::call_delay delay, F&& f, Args&&... args) {
  return detail::call_at(self(), detail::call_deadline(detail::loop_access::now(self()), delay.value),
                         detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...), delay.where);
}
template <class F, class... Args>
call_handle callback_layer::call_at(detail::call_time when, F&& f, Args&&... args) {
  return detail::call_at(self(), when.value, detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...),
                         when.where);
}

// ---- errors ----------------------------------------------------------------------------------------------------------

template <class F>
  requires std::invocable<F&, const exception_context&>
void callback_layer::set_exception_handler(F f) {
  struct receiver final : detail::exception_receiver {
    explicit receiver(F&& function) : call(std::move(function)) {}
    void receive(const exception_context& context) override { call(context); }
    F call;
  };
  detail::loop_access::check_caller(self());
  detail::refuse_empty(f, "set_exception_handler()");
  replace_receiver(new receiver(std::move(f)));
}
inline void callback_layer::set_exception_handler(std::nullptr_t) {
  detail::loop_access::check_caller(self());
  replace_receiver(nullptr);
}

}  // namespace rota
