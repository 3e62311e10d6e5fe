#include <rota/testing/sequencer.hpp>

#include <stdexcept>
#include <string>
#include <vector>

#include "support/outcomes.hpp"
#include "support/rota_test.hpp"
#include "support/streams.hpp"

using namespace rota_test;
using rota::testing::sequencer;

namespace {

rota::task<> step(sequencer& sequence, std::size_t n, std::vector<std::size_t>& order) {
  const auto turn = co_await sequence(n);
  order.push_back(n);
  for (int i = 0; i != 5; ++i) co_await rota::yield();  // the step goes on until its turn is destroyed
  order.push_back(n);
}

}  // namespace

TEST_CASE("steps run in the order of their numbers, whoever comes first") {
  run([]() -> rota::task<> {
    sequencer sequence;
    std::vector<std::size_t> order;
    std::vector<rota::task<>> tasks;
    for (const std::size_t n : {3u, 1u, 4u, 0u, 2u}) tasks.push_back(step(sequence, n, order));
    co_await rota::when_all(std::move(tasks));
    CHECK(order == std::vector<std::size_t>{0, 0, 1, 1, 2, 2, 3, 3, 4, 4});
  });
}

TEST_CASE("one task may take several steps, and a step that failed is over") {
  run([]() -> rota::task<> {
    sequencer sequence;
    std::string log;
    const auto ping = [&]() -> rota::task<> {
      for (const std::size_t n : {0u, 2u}) {
        const auto turn = co_await sequence(n);
        log += "ping ";
      }
    };
    const auto pong = [&]() -> rota::task<> {
      const auto turn = co_await sequence(1);
      log += "pong ";
      throw std::runtime_error("as planned");
    };
    auto failing = rota::spawn(pong);
    co_await ping();
    CHECK(log == "ping pong ping ");
    const std::exception_ptr error = co_await exception_of(failing);
    CHECK(text_of(error) == "as planned");
  });
}

TEST_CASE("a step that is asked for twice is a mistake of the test") {
  run([]() -> rota::task<> {
    sequencer sequence;
    {
      const auto turn = co_await sequence(0);
    }
    const auto again = [](sequencer& s) -> rota::task<> { const auto turn = co_await s(0); };
    const std::exception_ptr error = co_await exception_of(again(sequence));
    const auto wrong = caught<rota::usage_error>(error);
    CHECK(wrong.which() == rota::usage_error::kind::invalid_argument);
    CHECK(std::string(wrong.what()).find("step 0") != std::string::npos);
  });
}

TEST_CASE("a cancel of a waiting step tells everybody else instead of leaving them waiting") {
  run([]() -> rota::task<> {
    sequencer sequence;
    std::vector<std::size_t> order;
    auto first = rota::spawn(step, std::ref(sequence), 1u, std::ref(order));
    auto second = rota::spawn(step, std::ref(sequence), 2u, std::ref(order));
    co_await settle_tasks();
    first.cancel();
    const std::exception_ptr error = co_await exception_of(second);
    CHECK(caught<std::runtime_error>(error).what() ==
          std::string("a task was cancelled while it waited for its step of a sequencer"));
    const std::exception_ptr late = co_await exception_of(step(sequence, 0, order));
    CHECK(text_of(late).find("was cancelled") != std::string::npos);
    const std::exception_ptr own = co_await exception_of(first);
    CHECK(code_of(own) == rota::errc::task_cancelled);
    CHECK(order.empty());
  });
}
