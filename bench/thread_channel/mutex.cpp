// Measures the queue that everybody writes first: std::deque, std::mutex and two std::condition_variables, between threads.
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

namespace {

constexpr std::uint64_t items = 100'000;  // per round

class bounded_queue {
 public:
  explicit bounded_queue(std::size_t capacity, std::uint64_t senders) : capacity_(capacity), senders_(senders) {}
  void push(std::uint64_t item) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return items_.size() < capacity_; });
    items_.push_back(item);
    lock.unlock();
    filled_.notify_one();
  }
  void sender_ends() {
    {
      const std::lock_guard lock(mutex_);
      --senders_;
    }
    filled_.notify_all();
  }
  std::optional<std::uint64_t> pop() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !items_.empty() || senders_ == 0; });
    if (items_.empty()) return std::nullopt;
    const std::uint64_t item = items_.front();
    items_.pop_front();
    lock.unlock();
    room_.notify_one();
    return item;
  }

 private:
  std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable filled_;
  std::deque<std::uint64_t> items_;
  const std::size_t capacity_;
  std::uint64_t senders_;
};

void between_threads(benchmark::State& state, std::int64_t senders, std::int64_t receivers) {
  for (auto _ : state) {
    bounded_queue queue(1024, static_cast<std::uint64_t>(senders));
    std::vector<std::thread> threads;
    for (std::int64_t s = 0; s != senders; ++s)
      threads.emplace_back([&queue, n = items / static_cast<std::uint64_t>(senders)] {
        for (std::uint64_t i = 0; i != n; ++i) queue.push(i);
        queue.sender_ends();
      });
    for (std::int64_t r = 0; r != receivers; ++r)
      threads.emplace_back([&queue] {
        while (auto item = queue.pop()) benchmark::DoNotOptimize(*item);
      });
    for (std::thread& thread : threads) thread.join();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(items) * state.iterations());
}
void one_receiver(benchmark::State& state) { between_threads(state, state.range(0), 1); }
void many_receivers(benchmark::State& state) { between_threads(state, state.range(0), state.range(0)); }

}  // namespace

BENCHMARK(one_receiver)->Name("thread_channel/mutex/mpsc")->Arg(1)->Arg(4)->UseRealTime();
BENCHMARK(many_receivers)->Name("thread_channel/mutex/mpmc")->Arg(2)->UseRealTime();
BENCHMARK_MAIN();
