// What tests of several threads need: a place to meet, and a count of what has ended.
#pragma once

#include <atomic>
#include <thread>
#include <utility>

#include <rota/rota.hpp>

namespace rota_test {

/// Until so many have arrived, wherever they run. Blocks the thread, so each of them has one of its own.
struct meeting {
  std::atomic<int> arrived{0};
  void wait_for(int n) {
    arrived.fetch_add(1);
    while (arrived.load() < n) std::this_thread::yield();
  }
};

/// Counts the ends of blocks.
struct at_end {
  explicit at_end(std::atomic<int>& n) noexcept : count(n) {}
  at_end(const at_end&) = delete;
  at_end& operator=(const at_end&) = delete;
  ~at_end() { count.fetch_add(1); }
  std::atomic<int>& count;
};

/// What comes out of f() as a task of a new pool of so many threads.
template <class F>
auto on_pool(unsigned threads, F f) {
  rota::thread_pool pool(threads);
  return rota::sync_wait(pool.run(std::move(f)));
}

}  // namespace rota_test
