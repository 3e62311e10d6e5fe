// The memory of coroutine frames: reuse, bounds, threads, the tail.
#include <stdlib.h>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "support/rota_test.hpp"

// Slabs come from aligned_alloc: this program counts them.
namespace {
[[maybe_unused]] std::size_t slabs_made = 0;
}
#if !ROTA_PLAIN_FRAMES
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  void* block = nullptr;
  if (alignment == 256 * 1024) ++slabs_made;
  return ::posix_memalign(&block, alignment, size) == 0 ? block : nullptr;
}
#endif

namespace {

using rota::task;
using rota::detail::frame_memory;

task<int> number(int n) { co_return n; }

struct blocks {
  explicit blocks(std::size_t block_size) : size(block_size) {}
  void make(std::size_t n) {
    for (std::size_t i = 0; i != n; ++i) {
      all.push_back(frame_memory::allocate(size));
      std::memset(all.back(), 0xa5, size);
    }
  }
  void free() {
    for (void* block : all) frame_memory::deallocate(block, size);
    all.clear();
  }
  std::size_t size;
  std::vector<void*> all;
};

}  // namespace

TEST_CASE("every frame is aligned to 64 bytes and apart from all others") {
  const rota_test::frame_balance nothing_left;
  std::vector<blocks> kinds;
  for (const std::size_t size : {1u, 63u, 64u, 65u, 100u, 128u, 500u, 1024u, 1025u, 5000u, 300'000u}) {
    kinds.emplace_back(size).make(50);
    for (void* block : kinds.back().all) REQUIRE(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
  }
  std::vector<std::pair<std::uintptr_t, std::size_t>> ranges;
  for (const blocks& kind : kinds)
    for (void* block : kind.all) ranges.emplace_back(reinterpret_cast<std::uintptr_t>(block), kind.size);
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i != ranges.size(); ++i)
    REQUIRE(ranges[i - 1].first + ranges[i - 1].second <= ranges[i].first);
  for (blocks& kind : kinds) kind.free();
}

TEST_CASE("frames are counted per thread") {
  const std::int64_t before = frame_memory::live_on_this_thread();
  void* small = frame_memory::allocate(100);
  void* large = frame_memory::allocate(10'000);
  REQUIRE(frame_memory::live_on_this_thread() == before + 2);
  std::int64_t elsewhere = 5;
  std::thread([&] {
    frame_memory::deallocate(small, 100);
    elsewhere = frame_memory::live_on_this_thread();
  }).join();
  REQUIRE(elsewhere == -1);
  REQUIRE(frame_memory::live_on_this_thread() == before + 2);
  frame_memory::deallocate(frame_memory::allocate(100), 100);
  frame_memory::deallocate(large, 10'000);
  REQUIRE(frame_memory::live_on_this_thread() == before + 1);
}

TEST_CASE("a freed frame is the next one of its size") {
#if ROTA_PLAIN_FRAMES
  SKIP("sanitizers get every frame from operator new");
#else
  void* first = frame_memory::allocate(200);
  frame_memory::deallocate(first, 200);
  void* second = frame_memory::allocate(193);  // the same class of 64 bytes
  REQUIRE(second == first);
  frame_memory::deallocate(second, 193);
#endif
}

TEST_CASE("a program in steady state needs no new slab") {
#if ROTA_PLAIN_FRAMES
  SKIP("sanitizers get every frame from operator new");
#else
  const auto body = []() -> task<int> {
    int sum = 0;
    for (int i = 0; i != 10'000; ++i) sum += co_await number(1);
    co_return sum;
  };
  REQUIRE(rota::sync_wait(body()) == 10'000);
  const std::size_t before = slabs_made;
  REQUIRE(rota::sync_wait(body()) == 10'000);
  REQUIRE(slabs_made == before);
#endif
}

TEST_CASE("frames that are always freed on other threads are reused, and threads that end keep none") {
#if ROTA_PLAIN_FRAMES
  SKIP("sanitizers get every frame from operator new");
#else
  blocks some(300);
  const auto round = [&] {
    some.make(2000);
    std::thread([&] { some.free(); }).join();
  };
  for (int i = 0; i != 5; ++i) round();
  const std::size_t before = slabs_made;
  for (int i = 0; i != 100; ++i) round();
  REQUIRE(slabs_made <= before + 8);
#endif
}

TEST_CASE("two threads hand frames to each other at the same time") {
  const std::size_t rounds = rota_test::scaled(200, 50);
  for (std::size_t r = 0; r != rounds; ++r) {
    blocks mine(150);
    blocks yours(150);
    std::thread maker([&] { yours.make(300); });
    mine.make(300);
    maker.join();
    std::thread freer([&] { mine.free(); });
    yours.free();
    freer.join();
  }
  frame_memory::trim();
  SUCCEED();
}

TEST_CASE("a burst's memory goes back") {
#if ROTA_PLAIN_FRAMES
  SKIP("sanitizers get every frame from operator new");
#else
  blocks burst(1000);
  burst.make(10'000);
  burst.free();
  frame_memory::trim();
  // All slabs but a few spare ones went back to the system, so the next burst has to ask again.
  const std::size_t before = slabs_made;
  burst.make(10'000);
  REQUIRE(slabs_made - before >= 30);
  burst.free();
  frame_memory::trim();
#endif
}

TEST_CASE("tasks of one thread may be awaited on another") {
  std::vector<task<int>> made;
  for (int i = 0; i != 1000; ++i) made.push_back(number(i));
  int sum = 0;
  std::thread([&] {
    const auto body = [&]() -> task<> {
      for (task<int>& t : made) sum += co_await std::move(t);
    };
    rota::sync_wait(body());
  }).join();
  REQUIRE(sum == 499'500);
  made.clear();
  std::thread([&] {
    for (int i = 0; i != 100; ++i) made.push_back(number(i));
  }).join();
  const rota_test::captured_reports reports;  // they are never awaited
  made.clear();
}
