// One thread of a pool: its deque of forked children, and in which order it looks for work.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <source_location>

#include <rota/base/clock.hpp>
#include <rota/base/sys.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/pool/pool_core.hpp>
#include <rota/pool/strand.hpp>
#include <rota/pool/work_stealing_deque.hpp>

namespace rota {

/// What one worker has done since the pool began. Counted without atomic read-modify-writes; a reader may be a little late.
struct pool_worker_statistics {
  std::uint64_t jobs = 0;         ///< taken from the pool's queue: functions, and tasks each time they go on
  std::uint64_t forks = 0;        ///< forked children that became tasks of their own here
  std::uint64_t stolen = 0;       ///< those of them that came from another worker
  std::uint64_t steal_tries = 0;  ///< looks into another worker's deque
  std::uint64_t parks = 0;        ///< times that it went to sleep
  std::uint64_t wake_ups = 0;     ///< times that somebody woke it; else it found work as it fell asleep
  duration busy{};                ///< since it began, without the time asleep: it ran something, or looked for work
  std::size_t deque = 0;          ///< forked children that wait in its deque now
};

namespace detail {

/// One child of a fork, in the parent's frame.
struct fork_child {
  fork_child() noexcept {}
  void* frame = nullptr;  // its promise knows its outcome
  fork* of;               // once it was pushed
};

/// A child that was stolen: a task of its own. Its parent's fork frees it.
struct stolen_child {
  stolen_child(fork_child& c, pool_core& pool, strand::step begin, strand::step ended,
               std::source_location made_at) noexcept
      : runs(pool, begin, ended, made_at), child(c) {
    runs.context = this;
  }
  static stolen_child& of(strand& s) noexcept { return *static_cast<stolen_child*>(s.context); }

  struct message : posted {
    stolen_child* about = nullptr;
  };

  strand runs;
  fork_child& child;
  outcome_base* outcome = nullptr;
  stolen_child* next = nullptr;  // of the same fork
  message stop;                  // to it
  message has_failed;            // to the parent, as the next one
  message was_last;
};

/// Written by one thread, read by all.
class own_counter {
 public:
  void operator++() noexcept { add(1); }
  void add(std::uint64_t n) noexcept { value_.store(value() + n, std::memory_order_relaxed); }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class alignas(64) pool_worker {
 public:
  pool_worker(pool_core& pool, std::size_t index) : pool_(pool), random_(index * 2 + 1) {}
  pool_worker(const pool_worker&) = delete;
  pool_worker& operator=(const pool_worker&) = delete;

  /// Runs jobs until `stop` and nothing is left. `workers` are all of the pool, in an array.
  void work(pool_worker* const* workers, std::size_t count, const atomic<bool>& stop) noexcept;

  pool_core& pool() const noexcept { return pool_; }
  /// Runs before anything else, on this worker; at the end of a job.
  void run_next(strand& next) noexcept { next_ = &next; }
  /// May the fork that asks go on, or must it leave because others wait? They wait for 32 forks at most.
  bool must_leave() noexcept {
    if (pool_.queued() == 0) [[likely]]
      return false;
    return ++patience_ % 32 == 0;
  }
  /// Room for a stolen_child, which was seen to before a child was taken.
  void* take_spare() noexcept { return std::exchange(spare_, nullptr); }

  /// For a dump: what it runs, by a line of source; and how long it sleeps, 0 if it does not. Any thread.
  void runs(std::source_location line) noexcept { runs_.store(line_mark_of(line), std::memory_order_relaxed); }
  std::source_location runs() const noexcept { return source_line(runs_.load(std::memory_order_relaxed)); }
  nanoseconds asleep_for() const noexcept {
    const nanoseconds since = asleep_since_.load(std::memory_order_relaxed);
    const nanoseconds passed = sys::now() - since;
    return since == 0 ? 0 : passed > 0 ? passed : 1;
  }

  pool_worker_statistics statistics() const noexcept {
    pool_worker_statistics s;
    s.jobs = jobs_.value();
    s.forks = forks_.value();
    s.stolen = stolen_.value();
    s.steal_tries = steal_tries_.value();
    s.parks = parks_.value();
    s.wake_ups = wake_ups_.value();
    s.busy = duration(busy(sys::now()));
    s.deque = static_cast<std::size_t>(deque.size());
    return s;
  }

  work_stealing_deque<fork_child> deque;

 private:
  struct work_item {
    pool_job* job = nullptr;
    fork_child* child = nullptr;
    explicit operator bool() const noexcept { return job || child; }
  };

  bool has_spare() noexcept {
    if (!spare_) {
      try {
        spare_ = frame_memory::allocate(sizeof(stolen_child));
      } catch (const std::bad_alloc&) {  // the child stays where it is
        return false;
      }
    }
    return true;
  }
  work_item find(pool_worker* const* workers, std::size_t count) noexcept;
  void sleep(pool_worker* const* workers, std::size_t count, const atomic<bool>& stop) noexcept;
  // Two looks at the clock for each sleep are all that this costs. A reader that comes in between sees a sleep twice or not
  // at all: as it would a moment earlier or later.
  nanoseconds busy(nanoseconds now) const noexcept {
    const nanoseconds since = asleep_since_.load(std::memory_order_relaxed);
    const nanoseconds awake = (since != 0 ? since : now) - began_ - static_cast<nanoseconds>(asleep_.value());
    return awake > 0 ? awake : 0;
  }
  void do_work(work_item item) noexcept;

  pool_core& pool_;
  strand* next_ = nullptr;
  void* spare_ = nullptr;
  std::uint64_t random_;
  std::uint32_t patience_ = 0;
  bool queue_first_ = false;  // the queue and the deque take turns
  own_counter jobs_, forks_, stolen_, steal_tries_, parks_, wake_ups_;
  const nanoseconds began_ = sys::now();
  own_counter asleep_;                        // nanoseconds, of sleeps that are over
  std::atomic<nanoseconds> asleep_since_{0};  // 0: it is awake
  std::atomic<line_mark> runs_{nullptr};
};

void run_forked(fork_child& child, pool_worker& here) noexcept;

inline void strand::run_on(pool_worker& here) noexcept {
  worker_ = &here;
  here.runs(made_at());
  ++stay_;
  const running_here now(*this);
  for (;;) {
    if (has_posts()) {
      no_task_runs();
      hear();
    }
    if (!std::exchange(has_begun_, true)) {
      begin_(*this);
    } else if (!ready_.empty()) {
      run_entry(ready_.pop());
    } else if (has_ended_ && tasks_ == 0) {
      ended_(*this);
      return;
    } else {
      if (inbox_.rest()) return;
      continue;
    }
    // It yielded: others go first.
    if (!ready_.empty() && (pool_.has_jobs() || here.deque.size() != 0)) {
      pool_.submit(*this);
      return;
    }
  }
}

inline pool_worker::work_item pool_worker::find(pool_worker* const* workers, std::size_t count) noexcept {
  work_item found;
  if (pool_.registered.is_asked.load(std::memory_order_relaxed)) [[unlikely]]
    pool_.registered.answer();
  if (next_) {
    found.job = std::exchange(next_, nullptr);
    return found;
  }
  queue_first_ = !queue_first_;
  if (queue_first_ && (found.job = pool_.take())) return found;
  if (has_spare()) {
    if ((found.child = deque.pop())) return found;
    if ((found.job = pool_.take())) return found;
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    const std::size_t first = random_ % count;
    for (std::size_t i = 0; i != count; ++i) {
      pool_worker& victim = *workers[first + i < count ? first + i : first + i - count];
      if (&victim == this) continue;
      ++steal_tries_;
      if ((found.child = victim.deque.steal())) {
        ++stolen_;
        return found;
      }
    }
  } else {
    found.job = pool_.take();
  }
  return found;
}

inline void pool_worker::do_work(work_item item) noexcept {
  if (item.job) {
    ++jobs_;
    item.job->run(*item.job, *this);
  } else {
    ++forks_;
    run_forked(*item.child, *this);
  }
  runs_.store(nullptr, std::memory_order_relaxed);
}

inline void pool_worker::sleep(pool_worker* const* workers, std::size_t count, const atomic<bool>& stop) noexcept {
  ++parks_;
  const nanoseconds began = sys::now();
  asleep_since_.store(began, std::memory_order_relaxed);
  const bool was_woken = pool_.parking.sleep([&] {
    bool any = stop.load(std::memory_order_seq_cst) || pool_.has_jobs() ||
               pool_.registered.is_asked.load(std::memory_order_seq_cst);
    for (std::size_t w = 0; w != count && !any; ++w) any = workers[w]->deque.size() != 0;
    return any;
  });
  if (was_woken) ++wake_ups_;
  asleep_.add(static_cast<std::uint64_t>(sys::now() - began));
  asleep_since_.store(0, std::memory_order_relaxed);
}

// How long a worker looks for work before it sleeps: about as long as it takes to wake one. So it loses at most as much time
// again as if it had known what comes (competitive spinning: A. Karlin, K. Li, M. Manasse, S. Owicki, "Empirical Studies of
// Competitive Spinning for a Shared-Memory Multiprocessor", SOSP 1991). Other threads of this core are let run meanwhile.
inline constexpr nanoseconds search_time = 20'000;

/// A few hundred nanoseconds between two looks, so that who searches does not slow down those whose deques it looks into.
inline void rest_briefly() noexcept {
  for (int i = 0; i != 20; ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
}

inline void pool_worker::work(pool_worker* const* workers, std::size_t count, const atomic<bool>& stop) noexcept {
  for (;;) {
    work_item item = find(workers, count);
    if (!item) {
      pool_.parking.begin_search();
      nanoseconds until = sys::now() + search_time;
      for (unsigned tries = 1; !item; ++tries) {
        if (stop.load(std::memory_order_seq_cst)) {
          pool_.parking.end_search();
          if (spare_) frame_memory::deallocate(spare_, sizeof(stolen_child));
          return;
        }
        if (tries % 8 != 0) {
          rest_briefly();
        } else if (sys::now() < until) {
          sys::yield_core();
        } else {
          sleep(workers, count, stop);
          until = sys::now() + search_time;
        }
        item = find(workers, count);
      }
      pool_.parking.end_search();
    }
    do_work(item);
  }
}

}  // namespace detail
}  // namespace rota
