// Task groups with very many children: what they cost, and what is left of them.
#include <rota/scope/task_group.hpp>

#include <unistd.h>

#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/outcomes.hpp"

namespace {

using namespace std::chrono_literals;
using rota::exception_group;
using rota::task;
using rota::task_group;
using rota_test::exception_of;
using rota_test::run;
using rota_test::until_cancelled;

std::size_t resident_bytes() {
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  REQUIRE(file != nullptr);
  unsigned long all = 0, resident = 0;
  const int found = std::fscanf(file, "%lu %lu", &all, &resident);
  std::fclose(file);
  REQUIRE(found == 2);
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

task<> count(std::size_t& ended) {
  ++ended;
  co_return;
}
task<> count_later(std::size_t& ended) {
  co_await rota::yield();
  ++ended;
}
task<> fail_with(std::size_t i) {
  co_await rota::yield();
  throw std::runtime_error(std::to_string(i));
}

}  // namespace

TEST_CASE("ten million short children, and then ten million more, in the same memory") {
  const std::size_t times = rota_test::scaled(10'000'000, 100'000, 300'000);
  run([=]() -> task<> {
    std::size_t ended = 0;
    const auto body = [&](task_group& group) -> task<> {
      const auto spawn_all = [&]() -> task<> {
        for (std::size_t i = 0; i != times; i += 100) {
          for (int j = 0; j != 100; ++j) group.spawn(count, std::ref(ended));
          co_await rota::yield();
        }
      };
      const std::int64_t frames = rota_test::frames();
      co_await spawn_all();
      const std::size_t resident = resident_bytes();
      REQUIRE(rota_test::frames() <= frames + 1);
      co_await spawn_all();
      REQUIRE(group.size() == 0);
      REQUIRE(rota_test::frames() <= frames + 1);
      // A sanitizer keeps freed memory for a while.
      if (!rota_test::under_asan && !rota_test::under_tsan) REQUIRE(resident_bytes() <= resident + (1 << 20));
    };
    co_await rota::with_task_group(body);
    REQUIRE(ended == 2 * times);
  });
}

TEST_CASE("children that are cancelled one by one leave no trace either") {
  const std::size_t times = rota_test::scaled(200'000, 5'000, 20'000);
  run([=]() -> task<> {
    int cancels = 0;
    const auto body = [&](task_group& group) -> task<> {
      const std::int64_t frames = rota_test::frames();
      for (std::size_t i = 0; i != times; ++i) {
        rota::join_handle<> child = group.spawn(until_cancelled, std::ref(cancels));
        if (i % 2 == 0) co_await rota::yield();  // the others are cancelled before they begin
        child.cancel();
        co_await rota::yield();
      }
      while (group.size() != 0) co_await rota::yield();
      REQUIRE(rota_test::frames() <= frames + 1);
    };
    co_await rota::with_task_group(body);
    REQUIRE(cancels == static_cast<int>(times / 2));
  });
}

TEST_CASE("a hundred thousand children at once, all cancelled by the first that fails") {
  const std::size_t times = rota_test::scaled(100'000, 2'000, 10'000);
  run([=]() -> task<> {
    int cancels = 0;
    const auto body = [&](task_group& group) -> task<> {
      for (std::size_t i = 0; i != times; ++i) group.spawn(until_cancelled, std::ref(cancels));
      co_await rota::sleep_for(0ms);
      group.spawn(fail_with, std::size_t{7});
      co_return;
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    REQUIRE(rota_test::texts(error) == rota_test::strings{"7"});
    REQUIRE(cancels == static_cast<int>(times));
  });
}

TEST_CASE("ten thousand children that all fail: every error is kept, the printed form is short") {
  const std::size_t times = rota_test::scaled(10'000, 1'000, 10'000);
  const rota_test::captured_reports reports;
  run([=]() -> task<> {
    // Each fails out of the cancel that the first one's failure is.
    const auto fails = [](std::size_t i) -> task<> {
      (void)co_await exception_of(rota::sleep_for(1h));
      throw std::runtime_error(std::to_string(i));
    };
    const auto body = [&](task_group& group) -> task<> {
      for (std::size_t i = 1; i != times; ++i) group.spawn(fails, i);
      co_await rota::sleep_for(0ms);
      group.spawn(fail_with, std::size_t{0});
      co_await rota::sleep_for(1h);
    };
    const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
    const auto group = rota_test::caught<exception_group>(error);
    REQUIRE(group.size() == times);
    const rota_test::strings all = rota_test::texts(group);
    for (std::size_t i = 0; i != times; ++i) REQUIRE(all[i] == std::to_string(i));
    const std::string text = group.what();
    REQUIRE(text.size() < 10'000);
    REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("and " + std::to_string(times - 20) + " more"));
  });
  INFO(reports.all());
  REQUIRE(reports.size() == 0);
}

TEST_CASE("a group that fails a hundred thousand times in a row") {
  const std::size_t times = rota_test::scaled(100'000, 1'000, 5'000);
  run([=]() -> task<> {
    const auto body = [](task_group& group) -> task<> {
      group.spawn(fail_with, std::size_t{1});
      co_return;
    };
    std::size_t failed = 0;
    for (std::size_t i = 0; i != times; ++i) {
      const std::exception_ptr error = co_await exception_of(rota::with_task_group(body));
      failed += error != nullptr;
    }
    REQUIRE(failed == times);
  });
}

TEST_CASE("children that end while others are spawned, in waves, keep the group's count right") {
  const std::size_t waves = rota_test::scaled(10'000, 500, 2'000);
  run([=]() -> task<> {
    std::size_t ended = 0;
    const auto body = [&](task_group& group) -> task<> {
      for (std::size_t i = 0; i != waves; ++i) {
        group.spawn(count_later, std::ref(ended));
        group.spawn(count, std::ref(ended));
        REQUIRE(group.size() >= 2);
        REQUIRE(group.size() <= 5);
        co_await rota::yield();
      }
    };
    co_await rota::with_task_group(body);
    REQUIRE(ended == 2 * waves);
  });
}
