// from_callback: a function that calls back once, as something to await.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <source_location>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rota/adapt/callback_slots.hpp>
#include <rota/base/callable.hpp>
#include <rota/base/error.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/describe.hpp>
#include <rota/detail/result_storage.hpp>
#include <rota/loop/event_loop.hpp>

namespace rota {

template <class... Ts>
class callback;

namespace detail {

// What a callback of these types brings: nothing, one value, or a tuple.
template <class... Ts>
struct called_with {
  using type = std::tuple<Ts...>;
};
template <>
struct called_with<> {
  using type = void;
};
template <class T>
struct called_with<T> {
  using type = T;
};
template <class... Ts>
using called_with_t = typename called_with<Ts...>::type;

template <class V, class... Args>
concept delivers = (std::is_void_v<V> && sizeof...(Args) == 0) || std::constructible_from<V, Args...>;

// Tells callbacks of different types apart.
template <class V>
inline constexpr char callback_type = 0;

// The part of the await that does not depend on types: who waits, and how it ends. All of it is the loop's thread's, but
// `result` belongs to whoever has claimed the slot, until the owner is resumed.
//
// How the value gets home: on the loop's own thread the await is either still in the user's function, which `stage`
// tells, or suspended. From another thread it always goes through post(), also when the await has not suspended yet:
// an executor runs no posts inside a step. So nobody has to ask across threads whether the await has suspended.
struct callback_wait : custom_wait, posted {
  enum class stage : std::uint8_t {
    starting,   // in the user's function
    called,     // ... and there the callback came
    suspended,  // or about to be
    withdrawn,  // cancelled before anybody fired
  };

  task_state* task = nullptr;
  callback_slot* slot = nullptr;  // null: not begun, or ended
  void (*hook)(callback_wait&) noexcept = nullptr;
  stage at = stage::starting;
  bool asked_to_end = false;  // cancelled, and the hook was called
  std::exception_ptr thrown;  // by the user's function, when another thread had fired already

  callback_wait() noexcept {
    cancel = &cancelled_while_waiting;
    posted::run = [](posted& self) noexcept { make_ready(static_cast<callback_wait&>(self).frame); };
  }
  callback_wait(const callback_wait&) = delete;
  callback_wait& operator=(const callback_wait&) = delete;
  ~callback_wait() {
    if (slot) trap("the frame of a task that waits for a callback was destroyed; it must be joined or cancelled");
  }

  /// Gives the slot's generation. Nothing begins when the task is cancelled.
  std::uint64_t begin(task_state& waiter, void* its_frame, line_mark where, const void* type) {
    task = &waiter;
    frame = its_frame;
    if (waiter.is_cancelled()) [[unlikely]] {
      at = stage::withdrawn;
      return 0;
    }
    callback_slot& taken = callback_slots::acquire();
    slot = &taken;
    return taken.begin(this, waiter.exec, type, where);
  }
  /// After the user's function has returned. False: go on at once.
  bool suspend() noexcept {
    if (at == stage::starting && task->is_cancelled()) [[unlikely]]  // by that function
      ask_to_end();
    if (at != stage::starting) return false;
    at = stage::suspended;
    task->waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    return true;
  }
  /// In a handler: the user's function threw, which is what the await throws, whatever was called. False: when the other
  /// thread is done.
  bool give_up() {
    if (withdraw()) return true;
    if (at == stage::called) {
      end();
      return true;
    }
    thrown = std::current_exception();
    return false;
  }
  void end() noexcept {
    slot->end();
    callback_slots::release(*std::exchange(slot, nullptr));
  }
  bool withdraw() noexcept {
    if (!slot->withdraw()) return false;
    callback_slots::release(*std::exchange(slot, nullptr));
    return true;
  }

  /// The value is there. `here` is the executor of this thread. The last thing that a caller does with the await.
  void has_come(const executor* here) noexcept {
    if (task->exec == here)
      has_come_here();
    else
      task->exec->post(*this);
  }
  void has_come_here() noexcept {
    if (at == stage::starting)
      at = stage::called;
    else
      make_ready(frame);
  }

 private:
  void ask_to_end() noexcept {
    if (hook)
      hook(*this);
    else if (withdraw())
      at = stage::withdrawn;
  }
  static void cancelled_while_waiting(custom_wait& self) noexcept {
    auto& wait = static_cast<callback_wait&>(self);
    wait.ask_to_end();
    if (wait.at == stage::withdrawn) make_ready(wait.frame);
  }
};

template <class V>
struct callback_state : callback_wait {
  result_storage<V> result;

  void broken() noexcept {
    result.set_code(make_error_code(errc::broken_promise));
    has_come(event_loop::current());
  }
  /// Calls fill(result), if this is the first call that comes in time. `alone`: a C++ callback, which no other thread may
  /// use meanwhile.
  template <class Fill>
  [[gnu::always_inline]] static bool deliver(callback_slot* slot, std::uint64_t generation, bool alone,
                                             Fill fill) noexcept {
    if (!slot) return false;
    const executor* const here = event_loop::current();
    if (alone && here) {
      if (void* const mine = slot->claim_here(generation, here)) [[likely]] {
        fill(of(mine)->result);
        of(mine)->has_come_here();
        return true;
      }
    }
    void* const claimed = slot->claim(generation, &callback_type<V>);
    if (!claimed) return false;
    fill(of(claimed)->result);
    of(claimed)->has_come(here);
    return true;
  }
  static callback_state* of(void* target) noexcept {
    return static_cast<callback_state*>(static_cast<callback_wait*>(target));
  }

  [[gnu::always_inline]] V finish() {
    if (at == stage::withdrawn) [[unlikely]]
      throw_cancelled(*task);
    end();
    if (thrown || asked_to_end) [[unlikely]]
      throw_unless_come();
    return result.take();
  }

 private:
  ROTA_COLD void throw_unless_come() {
    if (thrown) std::rethrow_exception(thrown);
    // "Cancelled" means that it did not happen: the library said so, or dropped the callback when it was asked to end.
    if (result.has_code() && (result.code() == std::errc::operation_canceled || result.code() == errc::broken_promise))
      throw_cancelled(*task);
  }
};

struct callback_access;

}  // namespace detail

/// What from_callback<Ts...> hands to the function that it calls: call it once, with the value. A copy keeps the await
/// waiting; when all copies are gone and none was called, the await throws errc::broken_promise. Any thread, one copy
/// by one thread at a time; no signal handlers. Never throws. What comes too late, after a cancel or a first call,
/// is ignored; a second call is also reported, once, with the line of the await.
template <class... Ts>
class callback {
  using value = detail::called_with_t<Ts...>;
  using state = detail::callback_state<value>;

 public:
  /// Empty: calling it does nothing.
  callback() noexcept = default;
  callback(const callback& other) noexcept : slot_(other.slot_), generation_(other.generation_) {
    if (slot_) slot_->add(generation_);
  }
  callback(callback&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)), generation_(other.generation_) {}
  callback& operator=(callback other) noexcept {
    std::swap(slot_, other.slot_);
    std::swap(generation_, other.generation_);
    return *this;
  }
  ~callback() {
    if (!slot_) return;
    if (void* last = slot_->remove(generation_)) [[unlikely]]
      state::of(last)->broken();
  }

  /// Gives the value to the await. True when it was taken; otherwise the arguments were not touched. A constructor of
  /// the value that throws makes its exception the outcome.
  template <class... Args>
    requires detail::delivers<value, Args...>
  bool operator()(Args&&... args) const noexcept {
    return give(slot_, generation_, true, static_cast<Args&&>(args)...);
  }
  /// The await throws std::system_error with this code; usage_error for a code that says success, which leaves it without
  /// a value. After the cancel hook was called, std::errc::operation_canceled becomes rota::cancelled.
  bool error(std::error_code code) const noexcept {
    if (!code) [[unlikely]]
      return error_without_error("a callback's error() was given a std::error_code that says success");
    return state::deliver(slot_, generation_, true,
                          [code](detail::result_storage<value>& result) { result.set_code(code); });
  }
  /// The await throws this exception; usage_error when it is null.
  bool error(const std::exception_ptr& exception) const noexcept {
    if (!exception) [[unlikely]]
      return error_without_error("a callback's error() was given a null exception");
    return state::deliver(slot_, generation_, true,
                          [&](detail::result_storage<value>& result) { result.set_exception(exception); });
  }

  /// Whether a call would still be taken; another thread may change that at once.
  bool expected() const noexcept {
    using slot = detail::callback_slot;
    if (!slot_) return false;
    const std::uint64_t w = slot_->word.load(std::memory_order_relaxed);
    return slot::is_same(w, generation_) && (w & slot::claimed) == 0;
  }

  // ---- for C: a function pointer and a void*

  /// Stands for this callback where only a void* fits. It is not the address of anything, needs no freeing, and may be
  /// used at any time: once it is too late it does nothing. The await cannot notice when C code forgets it, so it
  /// waits until it is called or cancelled.
  void* to_user_data() const noexcept {
    if (!slot_) return nullptr;
    slot_->add(generation_);
    return detail::user_data::pack(*slot_, generation_);
  }
  /// The callback that `data` stands for.
  static callback from_user_data(void* data) noexcept {
    const detail::user_data u(data);
    if (u.slot) u.slot->add(u.generation);
    return callback(u.slot, u.generation);
  }
  /// C functions that call the callback; the user data comes first, or last.
  static void user_data_first(void* data, Ts... values) noexcept { call(data, static_cast<Ts&&>(values)...); }
  static void user_data_last(Ts... values, void* data) noexcept { call(data, static_cast<Ts&&>(values)...); }

 private:
  friend detail::callback_access;

  callback(detail::callback_slot* slot, std::uint64_t generation) noexcept : slot_(slot), generation_(generation) {}
  ROTA_COLD bool error_without_error(const char* what) const noexcept {
    return error(std::make_exception_ptr(usage_error(usage_error::kind::invalid_argument, what)));
  }
  static void call(void* data, Ts&&... values) noexcept {
    const detail::user_data u(data);
    give(u.slot, u.generation, false, static_cast<Ts&&>(values)...);
  }
  template <class... Args>
  [[gnu::always_inline]] static bool give(detail::callback_slot* slot, std::uint64_t generation, bool alone,
                                          Args&&... args) noexcept {
    return state::deliver(slot, generation, alone, [&](detail::result_storage<value>& result) {
      if constexpr (noexcept(result.emplace(static_cast<Args&&>(args)...))) {
        result.emplace(static_cast<Args&&>(args)...);
      } else {
        try {
          result.emplace(static_cast<Args&&>(args)...);
        } catch (...) {
          result.set_exception(std::current_exception());
        }
      }
    });
  }

  detail::callback_slot* slot_ = nullptr;
  std::uint64_t generation_ = 0;
};

/// The same as callback<>.
template <>
class callback<void> : public callback<> {
 public:
  callback() noexcept = default;
  callback(callback<> other) noexcept : callback<>(std::move(other)) {}
};

namespace detail {

struct callback_access {
  template <class... Ts>
  static callback<Ts...> make(const callback_wait& wait, std::uint64_t generation) noexcept {
    if constexpr (std::is_same_v<callback<Ts...>, callback<void>>)
      return callback<>(wait.slot, generation);
    else
      return callback<Ts...>(wait.slot, generation);
  }
};

struct no_hook {};

template <class Initiate, class Hook, class... Ts>
class [[nodiscard(ROTA_UNAWAITED)]] callback_awaiter : callback_state<called_with_t<Ts...>> {
 public:
  callback_awaiter(Initiate&& initiate, Hook&& at_cancel)
      : initiate_(static_cast<Initiate&&>(initiate)), hook_(static_cast<Hook&&>(at_cancel)) {
    if constexpr (!std::is_same_v<Hook, no_hook>) this->hook = &run_hook;
  }

  /// Makes a cancel call `f()`, on the task's thread, instead of ending the await: it asks the library to stop, which may
  /// call back from within. The await ends when the callback is called (a value is delivered all the same) or dropped.
  template <class F>
  auto on_cancel(F&& f) && {
    static_assert(std::is_same_v<Hook, no_hook>, "there is a cancel hook already");
    ROTA_REFUSE_OWNING_CLOSURE(F);
    refuse_empty(f, "from_callback()'s on_cancel()");
    return callback_awaiter<Initiate, F, Ts...>(static_cast<Initiate&&>(initiate_), static_cast<F&&>(f));
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return start(suspend_at(handle, where), handle.address(), where);
  }
  called_with_t<Ts...> await_resume() { return this->finish(); }

 private:
  ROTA_NOINLINE bool start(task_state& waiter, void* its_frame, line_mark where) {
    const std::uint64_t generation = this->begin(waiter, its_frame, where, &callback_type<called_with_t<Ts...>>);
    if (!this->slot) return false;
    try {
      static_cast<Initiate&&>(initiate_)(callback_access::make<Ts...>(*this, generation));
    } catch (...) {
      if (this->give_up()) throw;
    }
    return this->suspend();
  }
  static void run_hook(callback_wait& wait) noexcept {
    auto& self = static_cast<callback_awaiter&>(wait);
    if (wait.slot->is_claimed() || std::exchange(wait.asked_to_end, true)) return;
    const std::source_location at = source_line(wait.slot->where.load(std::memory_order_relaxed));
    try {
      static_cast<Hook&&>(self.hook_)();
    } catch (...) {
      description text;
      text.add("the cancel hook of the from_callback awaited at %s:%u failed", at.file_name(),
               static_cast<unsigned>(at.line()));
      event_loop* const loop = wait.task->exec->is_event_loop() ? static_cast<event_loop*>(wait.task->exec) : nullptr;
      loop_access::report_error(loop, std::current_exception(), text, wait.task, at);
    }
  }

  Initiate initiate_;  // a reference when an lvalue was given
  [[no_unique_address]] Hook hook_;
};

}  // namespace detail

/// `T v = co_await from_callback<T>([&](callback<T> done) { lib_start(..., done); });` calls the function at once and
/// waits until `done` is called, on whatever thread, perhaps before the function returns. No Ts, or void: no value;
/// several: std::tuple<Ts...>. What the function throws comes out of the await. The task goes on on its own executor
/// (an event loop, or sync_wait).
///
/// A cancel ends the await at once, and a call that comes later is ignored: right only if the library then no longer
/// writes to memory of this task. Otherwise give it a hook: `from_callback<T>(f).on_cancel([&] { lib_abort(...); })`.
template <class... Ts, class Initiate>
  requires std::invocable<Initiate, callback<Ts...>>
auto from_callback(Initiate&& initiate) {
  ROTA_REFUSE_OWNING_CLOSURE(Initiate);
  detail::refuse_empty(initiate, "from_callback()");
  return detail::callback_awaiter<Initiate, detail::no_hook, Ts...>(static_cast<Initiate&&>(initiate), {});
}

}  // namespace rota
