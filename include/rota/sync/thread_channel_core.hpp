// The any-thread channels: items between tasks of any executors and plain threads, under one short lock.
//
// As in channel_core, an item goes from hand to hand, under the lock; whoever got or gave one is then out of the list, and
// is told without the lock: a task by one post to its own executor, a thread by its condition variable. A cancel comes on
// the task's own executor: it takes the task out of the list, or finds it gone, and then does nothing, for the post is on
// its way and brings the item (rule R2).
#pragma once

#include <pthread.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include <rota/base/atomic.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/cancellation.hpp>
#include <rota/coro/describe.hpp>
#include <rota/coro/executor.hpp>
#include <rota/sync/channel_core.hpp>
#include <rota/sync/item_store.hpp>

namespace rota::detail {

/// Who waits in a thread_channel, in its own frame or on its own stack. Everything but `task` is guarded by the lock.
struct thread_place : posted, custom_wait {
  thread_place() noexcept = default;
  thread_place(const thread_place&) = delete;
  thread_place& operator=(const thread_place&) = delete;

  task_state* task = nullptr;        // null: a plain thread
  pthread_cond_t* thread = nullptr;  // which waits for this
  thread_place* after = nullptr;     // in the list
  thread_place* before = nullptr;    // in the list; in the first one the last
  bool is_in = false;                // in the list
  passing how = passing::waits;
};

class thread_place_list {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  thread_place* first() const noexcept { return first_; }
  std::size_t size() const noexcept {
    std::size_t n = 0;
    for (const thread_place* p = first_; p; p = p->after) ++n;
    return n;
  }
  void push(thread_place& p) noexcept {
    p.is_in = true;
    p.after = nullptr;
    if (first_) {
      p.before = first_->before;
      p.before->after = &p;
      first_->before = &p;
    } else {
      first_ = p.before = &p;
    }
  }
  void remove(thread_place& p) noexcept {
    if (p.after)
      p.after->before = p.before;
    else
      first_->before = p.before;
    (first_ == &p ? first_ : p.before->after) = p.after;
    p.is_in = false;
  }
  /// Takes it out, and tells it when `told` is done.
  void conclude(thread_place& p, passing how, posted_list& told) noexcept {
    remove(p);
    p.how = how;
    if (p.task)
      told.push(p);
    else
      pthread_cond_signal(p.thread);  // under the lock, so that the thread cannot be gone
  }

 private:
  thread_place* first_ = nullptr;
};

template <class T>
struct thread_give_place : thread_place {
  explicit thread_give_place(T* w) noexcept : what(w) {}
  T* what;
};
template <class T>
struct thread_take_place : thread_place {
  std::optional<T> got;
};

template <class T>
class thread_channel {
 public:
  static_assert(std::is_object_v<T> && std::is_nothrow_move_constructible_v<T>,
                "what goes through a channel must be an object whose move constructor is noexcept; others go through "
                "it in a std::unique_ptr");
  using give_place = thread_give_place<T>;
  using take_place = thread_take_place<T>;

  explicit thread_channel(std::size_t capacity) noexcept : capacity_(capacity) {}
  thread_channel(const thread_channel&) = delete;
  thread_channel& operator=(const thread_channel&) = delete;
  ~thread_channel() { pthread_mutex_destroy(&mutex_); }

  /// Gives the item, or puts the place into the list. May throw std::bad_alloc.
  passing give(give_place& place, bool may_wait) {
    const telling told(*this);
    if (no_more_given_) return place.how = passing::closed;
    if (no_more_taken_) return place.how = passing::no_receiver;
    if (thread_place* first = takers_.first()) {
      static_cast<take_place&>(*first).got.emplace(static_cast<T&&>(*place.what));
      ++given_;
      takers_.conclude(*first, passing::done, told.list);
      return place.how = passing::done;
    }
    if (items_.size() < capacity_) {
      items_.ensure(items_.size() + 1);
      put(*place.what);
      return place.how = passing::done;
    }
    if (may_wait) enter(givers_, place);
    return passing::waits;
  }
  passing take(take_place& place, bool may_wait) noexcept {
    const telling told(*this);
    if (!items_.empty()) {
      items_.take(place.got);
      if (thread_place* first = givers_.first()) {
        put(*static_cast<give_place&>(*first).what);  // there was room for as many before
        givers_.conclude(*first, passing::done, told.list);
      }
      return place.how = passing::done;
    }
    if (thread_place* first = givers_.first()) {
      place.got.emplace(static_cast<T&&>(*static_cast<give_place&>(*first).what));
      ++given_;
      givers_.conclude(*first, passing::done, told.list);
      return place.how = passing::done;
    }
    if (no_more_given_) return place.how = passing::no_sender;
    if (no_more_taken_) return place.how = passing::closed;
    if (may_wait) enter(takers_, place);
    return passing::waits;
  }
  /// On a plain thread, after give() or take() said that it waits.
  void block(thread_place& place) noexcept {
    const mutex_lock guard(mutex_);
    while (place.is_in) pthread_cond_wait(place.thread, &mutex_);
  }
  /// False: too late.
  template <class Place>
  bool withdraw(Place& place) noexcept {
    const mutex_lock guard(mutex_);
    if (!place.is_in) return false;
    if constexpr (std::is_same_v<Place, give_place>)
      givers_.remove(place);
    else
      takers_.remove(place);
    return true;
  }

  /// An end more, which holds the channel until it has dropped itself and called let_go().
  void add_sender() noexcept {
    const mutex_lock guard(mutex_);
    ++senders_;
    hold();
  }
  void add_receiver() noexcept {
    const mutex_lock guard(mutex_);
    ++receivers_;
    hold();
  }
  void drop_sender() noexcept {
    const telling told(*this);
    if (--senders_ == 0) {
      no_more_given_ = true;
      while (thread_place* first = takers_.first()) takers_.conclude(*first, passing::no_sender, told.list);
      while (thread_place* first = givers_.first()) givers_.conclude(*first, passing::closed, told.list);
    }
  }
  void drop_receiver() noexcept {
    fifo_store<T> left;  // destroyed without the lock
    const telling told(*this);
    if (--receivers_ == 0) {
      no_more_taken_ = true;
      while (thread_place* first = givers_.first()) givers_.conclude(*first, passing::no_receiver, told.list);
      while (thread_place* first = takers_.first()) takers_.conclude(*first, passing::closed, told.list);
      left.swap(items_);
    }
  }
  /// Whoever lets go last, of the ends and of the tasks that wait, destroys the channel.
  void let_go() noexcept {
    if (held_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  bool has_receiver() const noexcept {
    const mutex_lock guard(mutex_);
    return !no_more_taken_;
  }
  channel_statistics statistics() const noexcept {
    const mutex_lock guard(mutex_);
    channel_statistics s;
    s.capacity = capacity_;
    s.size = items_.size();
    s.peak = peak_;
    s.sent = given_;
    s.senders = senders_;
    s.receivers = receivers_;
    s.waiting_senders = givers_.size();
    s.waiting_receivers = takers_.size();
    return s;
  }

 private:
  // Holds the lock, and then tells those who go on. Their frames may be gone as soon as they were told.
  struct telling {
    explicit telling(thread_channel& c) noexcept : channel(c) { pthread_mutex_lock(&c.mutex_); }
    telling(const telling&) = delete;
    telling& operator=(const telling&) = delete;
    ~telling() {
      pthread_mutex_unlock(&channel.mutex_);
      while (posted* one = list.pop()) static_cast<thread_place&>(*one).task->exec->post(*one);
    }
    thread_channel& channel;
    mutable posted_list list;
  };

  void hold() noexcept { held_.fetch_add(1, std::memory_order_relaxed); }
  void enter(thread_place_list& list, thread_place& place) noexcept {
    list.push(place);
    if (!place.task) return;
    hold();  // a cancel may look into the channel after both ends were closed
    // Under the lock: a moment later another thread may post.
    place.task->waits_for(static_cast<custom_wait*>(&place), wait_kind::custom);
  }
  void put(T& what) noexcept {
    items_.put(static_cast<T&&>(what));
    ++given_;
    if (items_.size() > peak_) peak_ = items_.size();
  }

  mutable pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;  // guards all of this
  const std::size_t capacity_;
  fifo_store<T> items_;
  thread_place_list givers_;
  thread_place_list takers_;
  std::size_t senders_ = 0;
  std::size_t receivers_ = 0;
  std::size_t peak_ = 0;
  std::uint64_t given_ = 0;
  bool no_more_given_ = false;
  bool no_more_taken_ = false;
  atomic<std::size_t> held_{0};  // by ends and by waiting tasks; not under the lock, which goes with the channel
};

/// Awaits a give or a take; Place is one of the channel's.
template <class T, class Place>
class thread_channel_await : public Place {
 public:
  template <class... Args>
  explicit thread_channel_await(thread_channel<T>& channel, Args... args) noexcept : Place(args...), channel_(channel) {
    this->cancel = &cancelled_while_waiting;
    posted::run = &go_on;
  }
  ~thread_channel_await() {
    if (waiting_) [[unlikely]]
      trap("%s, was destroyed while it waited for a channel; a started task must be joined or cancelled",
           describe(*this->task).c_str());
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    return begin(suspend_at(handle, where), handle.address());
  }
  bool withdrawn() const noexcept { return withdrawn_; }

 protected:
  /// Back in the task.
  void check() const {
    if (withdrawn_) [[unlikely]]
      throw_cancelled(*this->task);
  }

 private:
  // Out of line, and nothing of *this is touched once another thread may resume the frame.
  ROTA_NOINLINE bool begin(task_state& me, void* its_frame) {
    this->task = &me;
    this->frame = its_frame;
    executor& exec = *me.exec;
    if (me.is_cancelled()) {
      withdrawn_ = true;
      return exec.takes_turns(its_frame);
    }
    waiting_ = true;
    passing ended;
    if constexpr (std::is_same_v<Place, thread_give_place<T>>) {
      try {
        ended = channel_.give(*this, true);
      } catch (...) {
        waiting_ = false;
        throw;
      }
    } else {
      ended = channel_.take(*this, true);
    }
    if (ended == passing::waits) return true;
    waiting_ = false;
    return exec.takes_turns(its_frame);
  }
  // Both on its own executor; one of them ends the wait, once.
  static void go_on(posted& self) noexcept { static_cast<thread_channel_await&>(self).end_wait(); }
  static void cancelled_while_waiting(custom_wait& wait) noexcept {
    auto& self = static_cast<thread_channel_await&>(wait);
    if (!self.channel_.template withdraw<Place>(self)) return;
    self.withdrawn_ = true;
    self.end_wait();
  }
  void end_wait() noexcept {
    waiting_ = false;  // here, and not when it is resumed: a time limit does not ask a withdrawn wait for its result
    channel_.let_go();
    make_ready(this->frame);
  }

  thread_channel<T>& channel_;  // alive while this waits
  bool waiting_ = false;
  bool withdrawn_ = false;
};

[[noreturn]] ROTA_COLD inline void throw_blocks_a_loop() {
  throw usage_error(usage_error::kind::blocking_in_loop,
                    "a blocking send or receive on a thread that runs tasks: co_await the channel instead");
}

}  // namespace rota::detail
