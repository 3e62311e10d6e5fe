// callback_stream: a callback that fires many times, as something to await item by item.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/adapt/callback_slots.hpp>
#include <rota/adapt/from_callback.hpp>
#include <rota/base/error.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>

namespace rota {

/// What becomes of an item for which a callback_stream has no room.
enum class when_full : std::uint8_t {
  drop_newest,  ///< the item is lost, and counted
  drop_oldest,  ///< the item that waited longest is lost, and counted
  refuse,       ///< push() returns false and the caller keeps the item: for callers that can try again
  fail,         ///< the stream closes: after what it holds, next() throws std::errc::no_buffer_space
};

template <class... Ts>
class callback_stream;

namespace detail {

// Waits for an item. It is the stream's waiter from its suspension until it resumes; `next` of its bases is not used.
struct stream_wait : custom_wait, posted {
  task_state* task = nullptr;
  bool withdrawn = false;  // cancelled before an item came

  stream_wait() noexcept {
    posted::run = [](posted& self) noexcept { make_ready(static_cast<stream_wait&>(self).frame); };
  }
  /// An item is there, or the end. From any thread.
  void notify() noexcept {
    if (task->exec == event_loop::current())
      make_ready(frame);
    else
      task->exec->post(*this);
  }
};

// The part of a stream that does not depend on the items' type. All of it is guarded by `mutex`.
struct stream_core {
  explicit stream_core(std::size_t most, when_full what) : capacity(most), policy(what) {
    if (capacity == 0)
      throw usage_error(usage_error::kind::invalid_argument, "a callback_stream needs a capacity of 1 or more");
  }

  /// Whom to notify, outside the lock.
  stream_wait* take_waiter() noexcept { return std::exchange(waiter, nullptr); }
  void close(std::exception_ptr why) noexcept {
    stream_wait* wake = nullptr;
    {
      const mutex_lock guard(mutex);
      if (closed) return;
      closed = true;
      error = std::move(why);
      wake = take_waiter();
    }
    if (wake) wake->notify();
  }
  void throw_if_failed() const {
    if (error) std::rethrow_exception(error);
  }
  [[noreturn]] ROTA_COLD static void throw_busy() {
    throw std::system_error(make_error_code(errc::busy), "callback_stream::next: another task waits already");
  }

  mutable pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  const std::size_t capacity;
  const when_full policy;
  std::size_t head = 0;
  std::size_t size = 0;
  std::uint64_t dropped = 0;
  bool closed = false;
  bool is_awaited = false;        // from a suspension until the task goes on
  stream_wait* waiter = nullptr;  // null once it was notified
  std::exception_ptr error;       // what next() throws after the last item
};

template <class Stream>
class [[nodiscard(ROTA_UNAWAITED)]] stream_awaiter : stream_wait {
 public:
  explicit stream_awaiter(Stream& stream) noexcept : stream_(stream) { cancel = &withdraw; }
  stream_awaiter(const stream_awaiter&) = delete;
  stream_awaiter& operator=(const stream_awaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task = &suspend_at(handle, where);
    frame = handle.address();
    return start();
  }
  std::optional<typename Stream::value_type> await_resume() {
    if (withdrawn) throw_cancelled(*task);
    return stream_.take(suspended_);
  }

 private:
  ROTA_NOINLINE bool start() {
    stream_core& core = stream_.core_;
    const mutex_lock guard(core.mutex);
    if (core.is_awaited) stream_core::throw_busy();
    if (core.size != 0 || core.closed) return false;
    if (task->is_cancelled()) {
      withdrawn = true;
      return false;
    }
    task->waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    suspended_ = core.is_awaited = true;
    core.waiter = this;
    return true;
  }
  static void withdraw(custom_wait& self) noexcept {
    auto& wait = static_cast<stream_awaiter&>(self);
    stream_core& core = wait.stream_.core_;
    {
      const mutex_lock guard(core.mutex);
      if (core.waiter != &wait) return;  // notified: the item is delivered
      core.waiter = nullptr;
      core.is_awaited = false;
      wait.withdrawn = true;
    }
    make_ready(wait.frame);
  }

  Stream& stream_;
  bool suspended_ = false;
};

}  // namespace detail

/// A bounded queue between callbacks that come at any time on any thread, and one task that awaits them:
/// `while (auto item = co_await stream.next()) ...`. Several Ts make items of std::tuple<Ts...>.
///
/// Callbacks push through a sink, or through user data and a C function; both may be used at any time: when the stream
/// is gone they do nothing. The destructor waits for pushes of other threads that are under way. The items' move
/// constructor runs under the stream's lock; it must not use the stream.
template <class... Ts>
class callback_stream {
  static_assert(sizeof...(Ts) != 0 && !(std::is_void_v<Ts> || ...), "a callback_stream needs items to carry");

 public:
  using value_type = detail::called_with_t<Ts...>;

  /// What callbacks hold. Copies are free, and refer to the same stream without keeping it alive. Any thread.
  class sink_type {
   public:
    /// As callback_stream::push; false when the stream has gone.
    template <class... Args>
      requires std::constructible_from<value_type, Args...>
    bool operator()(Args&&... args) const {
      const pinned stream(slot_, generation_);
      return stream.get() && stream.get()->push(static_cast<Args&&>(args)...);
    }
    void close() const noexcept {
      const pinned stream(slot_, generation_);
      if (stream.get()) stream.get()->close();
    }
    void close(std::error_code why) const {
      const pinned stream(slot_, generation_);
      if (stream.get()) stream.get()->close(why);
    }

   private:
    friend callback_stream;
    sink_type(detail::callback_slot* slot, std::uint64_t generation) noexcept : slot_(slot), generation_(generation) {}

    detail::callback_slot* slot_;
    std::uint64_t generation_;
  };

  /// Room for `capacity` items (usage_error when it is 0), and what happens when they are not taken in time.
  callback_stream(std::size_t capacity, when_full policy)
      : core_(capacity, policy), items_(capacity), slot_(&detail::callback_slots::acquire()) {
    generation_ = slot_->begin(this, nullptr, &type_, nullptr);
  }
  callback_stream(const callback_stream&) = delete;
  callback_stream& operator=(const callback_stream&) = delete;
  ~callback_stream() {
    slot_->end_pinned();
    detail::callback_slots::release(*slot_);
    if (core_.is_awaited) detail::trap("a callback_stream was destroyed while a task waits for its next item");
    for (; core_.size != 0; --core_.size, advance()) front().~value_type();
  }

  /// The next item in the order of the pushes; empty when the stream is closed and all items were taken, or throws the
  /// error that it was closed with. One task at a time: another one gets errc::busy. A cancel loses no item.
  detail::stream_awaiter<callback_stream> next() noexcept { return detail::stream_awaiter<callback_stream>(*this); }

  /// Adds an item made of these arguments, as the policy says; false: it was not added, and the arguments were not
  /// touched. Any thread, but not signal handlers. Throws what the item's constructor throws.
  template <class... Args>
    requires std::constructible_from<value_type, Args...>
  bool push(Args&&... args) {
    std::optional<value_type> lost;  // destroyed after the lock is released
    detail::stream_wait* wake = nullptr;
    {
      const detail::mutex_lock guard(core_.mutex);
      if (core_.closed) return false;
      if (core_.size == core_.capacity && !make_room(lost)) return false;
      new (static_cast<void*>(items_.first + (core_.head + core_.size) % core_.capacity))
          value_type(static_cast<Args&&>(args)...);
      ++core_.size;
      wake = core_.take_waiter();
    }
    if (wake) wake->notify();
    return true;
  }

  /// No more items; those that are there can still be taken. With a code, next() then throws std::system_error; one
  /// that says success is none. The first close counts. Any thread.
  void close() noexcept { core_.close(nullptr); }
  void close(std::error_code why) { core_.close(why ? std::make_exception_ptr(std::system_error(why)) : nullptr); }

  sink_type sink() const noexcept { return sink_type(slot_, generation_); }
  /// For C: what goes with one of the two functions below. Not an address; needs no freeing.
  void* user_data() const noexcept { return detail::user_data::pack(*slot_, generation_); }
  /// C functions that push; the user data comes first, or last. An exception of an item's constructor closes the stream
  /// and is thrown by next().
  static void user_data_first(void* data, Ts... values) noexcept { call(data, static_cast<Ts&&>(values)...); }
  static void user_data_last(Ts... values, void* data) noexcept { call(data, static_cast<Ts&&>(values)...); }

  std::size_t capacity() const noexcept { return core_.capacity; }
  std::size_t size() const noexcept {
    const detail::mutex_lock guard(core_.mutex);
    return core_.size;
  }
  /// Items lost so far, of drop_newest and drop_oldest.
  std::uint64_t dropped() const noexcept {
    const detail::mutex_lock guard(core_.mutex);
    return core_.dropped;
  }
  bool closed() const noexcept {
    const detail::mutex_lock guard(core_.mutex);
    return core_.closed;
  }

 private:
  friend detail::stream_awaiter<callback_stream>;

  struct room {
    explicit room(std::size_t count) {
      if (count > SIZE_MAX / 2 / sizeof(value_type)) throw std::bad_alloc();
      first = static_cast<value_type*>(::operator new(count * sizeof(value_type), alignment));
    }
    room(const room&) = delete;
    room& operator=(const room&) = delete;
    ~room() { ::operator delete(first, alignment); }

    static constexpr std::align_val_t alignment{alignof(value_type)};
    value_type* first;
  };

  // Keeps a stream from being destroyed meanwhile.
  class pinned {
   public:
    pinned(detail::callback_slot* slot, std::uint64_t generation) noexcept
        : slot_(slot), stream_(slot ? static_cast<callback_stream*>(slot->pin(generation, &type_)) : nullptr) {}
    pinned(const pinned&) = delete;
    pinned& operator=(const pinned&) = delete;
    ~pinned() {
      if (stream_) slot_->unpin();
    }
    callback_stream* get() const noexcept { return stream_; }

   private:
    detail::callback_slot* slot_;
    callback_stream* stream_;
  };

  static void call(void* data, Ts&&... values) noexcept {
    const detail::user_data u(data);
    const pinned stream(u.slot, u.generation);
    if (!stream.get()) return;
    try {
      stream.get()->push(static_cast<Ts&&>(values)...);
    } catch (...) {
      stream.get()->core_.close(std::current_exception());
    }
  }

  // Under the lock.
  bool make_room(std::optional<value_type>& lost) {
    switch (core_.policy) {
      case when_full::drop_newest: ++core_.dropped; return false;
      case when_full::refuse: return false;
      case when_full::fail:
        // Nobody waits: there are items.
        core_.error = std::make_exception_ptr(
            std::system_error(std::make_error_code(std::errc::no_buffer_space), "a callback_stream was full"));
        core_.closed = true;
        return false;
      case when_full::drop_oldest:
        lost.emplace(std::move(front()));
        front().~value_type();
        advance();
        --core_.size;
        ++core_.dropped;
        return true;
    }
    return false;
  }
  std::optional<value_type> take(bool was_suspended) {
    const detail::mutex_lock guard(core_.mutex);
    if (was_suspended) core_.is_awaited = false;
    if (core_.size == 0) {
      core_.throw_if_failed();
      return std::nullopt;
    }
    std::optional<value_type> item(std::move(front()));
    front().~value_type();
    advance();
    --core_.size;
    return item;
  }
  value_type& front() noexcept { return items_.first[core_.head]; }
  void advance() noexcept { core_.head = (core_.head + 1) % core_.capacity; }

  static constexpr char type_ = 0;  // its address tells apart streams of different types

  detail::stream_core core_;
  room items_;  // a ring
  detail::callback_slot* slot_;
  std::uint64_t generation_;
};

}  // namespace rota
