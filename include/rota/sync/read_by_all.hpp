// What broadcast and watch have in common: every receiver reads everything, at its own pace, so nothing is handed over;
// whoever waits is only told that there is news, and looks when it runs.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <rota/base/usage_error.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/line_mark.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/sync/channel_core.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota::detail {

/// The base of what the ends share, which lives as long as one of them or an await.
struct read_by_all {
  explicit read_by_all(const char* what) noexcept : waiters(what) {}
  static void* operator new(std::size_t size) { return frame_memory::allocate(size); }
  static void operator delete(void* self, std::size_t size) noexcept { frame_memory::deallocate(self, size); }

  void has_news() noexcept {
    waiters.used_here();
    ++latest;
    waiters.grant_all();
  }

  std::uint64_t latest = 0;  // whoever has not come so far has something to read
  std::size_t references = 0;
  std::size_t senders = 0;
  std::size_t receivers = 0;
  wait_list waiters;
};

/// Keeps the State, which is a read_by_all, and is no end of it.
template <class State>
class state_reference {
 public:
  explicit state_reference(State& s) noexcept : state_(s) { ++s.references; }
  state_reference(const state_reference&) = delete;
  state_reference& operator=(const state_reference&) = delete;
  ~state_reference() {
    if (--state_.references == 0) delete &state_;
  }
  State& operator*() const noexcept { return state_; }

 private:
  State& state_;
};

/// An open end, counted as one of its side. Empty when it was closed or moved from.
template <class State, std::size_t read_by_all::* Count>
class counted_link {
 public:
  explicit counted_link(State& s) noexcept : state_(&s) {
    if (s.references++ != 0) s.waiters.used_here();  // the first end may be made anywhere
    ++(s.*Count);
  }
  counted_link(counted_link&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  counted_link& operator=(counted_link&& other) noexcept {
    if (this != &other) {
      close();
      state_ = std::exchange(other.state_, nullptr);
    }
    return *this;
  }
  ~counted_link() { close(); }

  State& operator*() const {
    if (!state_) [[unlikely]]
      throw_passing(passing::closed);
    return *state_;
  }
  State* operator->() const { return &**this; }
  /// The last sender tells who waits: there will be no news.
  void close() noexcept {
    if (!state_) return;
    state_->waiters.used_here();
    const state_reference<State> keeps(*std::exchange(state_, nullptr));
    --(*keeps).references;
    if (--((*keeps).*Count) == 0 && Count == &read_by_all::senders) (*keeps).waiters.grant_all();
  }

 private:
  State* state_;
};
template <class State>
using sending_end = counted_link<State, &read_by_all::senders>;

class cursor_wait;

/// How far a receiver has come in what every receiver gets, and who waits with it: one at a time.
struct read_cursor {
  explicit read_cursor(std::uint64_t n) noexcept : at(n) {}
  read_cursor(const read_cursor&) = delete;
  read_cursor& operator=(const read_cursor&) = delete;
  /// The receiver is closed: a wait with it ends with errc::closed.
  void close() noexcept;

  std::uint64_t at;
  cursor_wait* reader = nullptr;
};

/// From where the awaiter begins to where it has seen what there is, the cursor is its own: a second one would find
/// nothing new, and could not tell that from the end.
class cursor_wait : public list_wait {
 protected:
  explicit cursor_wait(read_cursor& c) noexcept : cursor_(&c) {}
  ~cursor_wait() { leave(); }
  void occupy() {
    if (cursor_->reader && cursor_->reader != this) [[unlikely]]
      throw_busy();
    cursor_->reader = this;
  }
  std::uint64_t position() const noexcept { return cursor_->at; }
  /// Back in the task.
  read_cursor& conclude() {
    if (closed_) [[unlikely]]
      throw_passing(passing::closed);
    read_cursor& mine = *cursor_;
    leave();
    check();
    return mine;
  }

 private:
  friend read_cursor;
  void leave() noexcept {
    if (cursor_ && cursor_->reader == this) cursor_->reader = nullptr;
  }
  [[noreturn]] ROTA_COLD static void throw_busy() {
    throw usage_error(usage_error::kind::busy,
                      "two tasks wait on one receiver of a broadcast or watch: each needs its own, receiver.clone()");
  }

  read_cursor* cursor_;  // null: closed
  bool closed_ = false;
};

inline void read_cursor::close() noexcept {
  if (!reader) return;
  cursor_wait& wait = *std::exchange(reader, nullptr);
  wait.cursor_ = nullptr;
  wait.closed_ = true;
  if (wait_list* const in = wait.place_in; in && in->claim(wait)) in->grant(wait);
}

/// A receiver's end, and how far it has read.
template <class State>
class reading_end {
 public:
  reading_end(State& s, std::uint64_t position) noexcept : link_(s), cursor_(position) {}
  reading_end(reading_end&& other) noexcept : link_(std::move(other.link_)), cursor_(other.cursor_.at) {}
  reading_end& operator=(reading_end&& other) noexcept {
    if (this != &other) {
      close();
      link_ = std::move(other.link_);
      cursor_.at = other.cursor_.at;
    }
    return *this;
  }
  ~reading_end() { close(); }

  State& operator*() const { return *link_; }
  State* operator->() const { return &*link_; }
  read_cursor& cursor() noexcept { return cursor_; }
  std::uint64_t position() const noexcept { return cursor_.at; }
  void close() noexcept {
    cursor_.close();
    link_.close();
  }

 private:
  counted_link<State, &read_by_all::receivers> link_;
  read_cursor cursor_;
};

/// Awaits news, or that there will be none.
template <class State>
class news_await : public cursor_wait {
 public:
  explicit news_await(reading_end<State>& end) : cursor_wait(end.cursor()), state_(*end) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = begin_at(handle, where, list());
    if (!me.is_cancelled() && try_now()) return me.exec->takes_turns(handle.address());
    return wait_in(list(), me, handle.address());
  }

  // For select.
  bool try_now() {
    occupy();
    return position() != state().latest || state().senders == 0;
  }
  wait_list& list() noexcept { return state().waiters; }
  const void* channel() const noexcept { return &*state_; }

 protected:
  State& state() const noexcept { return *state_; }

 private:
  const state_reference<State> state_;
};

}  // namespace rota::detail
