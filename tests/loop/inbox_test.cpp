// The inbox alone: nothing lost, order per poster, one wake-up per sleep.
#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include <rota/loop/inbox.hpp>

#include "support/rota_test.hpp"

namespace {

using rota::detail::inbox;
using rota::detail::posted;

struct item : posted {
  std::size_t poster = 0;
  std::size_t number = 0;  // written before post(), read after take(): the inbox must order the two
};

}  // namespace

TEST_CASE("an inbox gives what was posted, oldest first, once") {
  inbox box;
  item items[3];
  REQUIRE(box.empty());
  REQUIRE(box.take() == nullptr);
  for (item& i : items) REQUIRE_FALSE(box.post(i));  // the loop is awake
  REQUIRE_FALSE(box.empty());
  posted* first = box.take();
  REQUIRE(first == &items[0]);
  REQUIRE(first->next == &items[1]);
  REQUIRE(first->next->next == &items[2]);
  REQUIRE(first->next->next->next == nullptr);
  REQUIRE(box.take() == nullptr);
}

TEST_CASE("only the first post to a sleeping loop has to wake it") {
  inbox box;
  item a;
  item b;
  REQUIRE(box.fall_asleep());
  REQUIRE(box.empty());
  REQUIRE(box.post(a));
  REQUIRE_FALSE(box.post(b));
  REQUIRE(box.take() == &a);
  REQUIRE_FALSE(box.post(a));
  REQUIRE_FALSE(box.fall_asleep());  // something is there: do not wait
  REQUIRE(box.take() == &a);
  REQUIRE(box.fall_asleep());
  REQUIRE(box.take() == nullptr);  // woken by something else
  REQUIRE_FALSE(box.post(b));
}

TEST_CASE("an inbox waits for the poster that found it asleep, and for no other") {
  inbox box;
  item a;
  item b;
  REQUIRE_FALSE(box.post(a));  // awake: nothing is owed
  (void)box.take();
  REQUIRE(box.fall_asleep());
  (void)box.take();  // woken by something else
  box.wait_for_posters();

  REQUIRE(box.fall_asleep());
  REQUIRE(box.post(a));
  REQUIRE_FALSE(box.post(b));
  REQUIRE(box.take() == &a);
  std::atomic<bool> waits{false}, back{false};
  bool was_back = false;
  std::thread owner([&] {
    waits = true;
    box.wait_for_posters();
    was_back = back;
  });
  while (!waits) std::this_thread::yield();
  for (int i = 0; i != 200; ++i) std::this_thread::yield();
  back = true;
  box.woken();
  owner.join();
  REQUIRE(was_back);
}

TEST_CASE("four threads post a hundred thousand items each, and none is lost or overtaken") {
  const std::size_t each = rota_test::scaled(100'000, 20'000);
  constexpr std::size_t threads = 4;
  inbox box;
  std::atomic<bool> awake{true};  // stands for the kernel's wake-up
  std::vector<std::unique_ptr<item[]>> items;
  for (std::size_t t = 0; t != threads; ++t) items.push_back(std::make_unique<item[]>(each));
  std::vector<std::thread> posters;
  for (std::size_t t = 0; t != threads; ++t)
    posters.emplace_back([&, t] {
      for (std::size_t n = 0; n != each; ++n) {
        item& i = items[t][n];
        i.poster = t;
        i.number = n;
        if (box.post(i)) {
          awake.store(true);
          awake.notify_one();
        }
      }
    });
  std::vector<std::size_t> next(threads, 0);
  std::size_t overtaken = 0;
  for (std::size_t received = 0; received != threads * each;) {
    if (box.fall_asleep()) {
      awake.wait(false);
      awake.store(false);
    }
    for (posted* p = box.take(); p; p = p->next) {
      const item& i = static_cast<item&>(*p);
      overtaken += i.number != next[i.poster]++;
      ++received;
    }
  }
  for (std::thread& poster : posters) poster.join();
  REQUIRE(overtaken == 0);
  REQUIRE(box.take() == nullptr);
}

TEST_CASE("a loop that sleeps and is posted to by four threads receives everything") {
  const std::size_t each = rota_test::scaled(20'000, 2'000);
  constexpr std::size_t threads = 4;
  rota::event_loop loop;
  std::size_t received = 0;
  std::vector<std::thread> posters;
  for (std::size_t t = 0; t != threads; ++t)
    posters.emplace_back([&] {
      for (std::size_t n = 0; n != each; ++n) {
        loop.post([&] {
          if (++received == threads * each) loop.stop();
        });
        if (n % 64 == 0) std::this_thread::yield();
      }
    });
  loop.run();
  for (std::thread& poster : posters) poster.join();
  REQUIRE(received == threads * each);
  rota_test::require_quiescent(loop);
}
