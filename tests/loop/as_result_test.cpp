// as_result: errors as a code.
#include <stdexcept>
#include <string>

#include "support/rota_test.hpp"

namespace {
using namespace std::chrono_literals;
using rota::task;

task<std::string> text_or(int error) {
  co_await rota::yield();
  if (error != 0) throw std::system_error(error, std::generic_category());
  co_return "text";
}
task<> nothing_or(int error) {
  if (error != 0) throw std::system_error(error, std::generic_category());
  co_return;
}
}  // namespace

TEST_CASE("as_result gives the value or the code") {
  rota_test::run([]() -> task<> {
    rota::result<std::string> good = co_await rota::as_result(text_or(0));
    REQUIRE(good.has_value());
    REQUIRE(*good == "text");
    REQUIRE_FALSE(good.error());
    rota::result<std::string> bad = co_await rota::as_result(text_or(ECONNRESET));
    REQUIRE_FALSE(bad.has_value());
    REQUIRE(bad.error() == std::errc::connection_reset);
    const rota::result<> fine = co_await rota::as_result(nothing_or(0));
    REQUIRE(fine.has_value());
    const rota::result<> failed = co_await rota::as_result(nothing_or(EPIPE));
    REQUIRE(failed.error() == std::errc::broken_pipe);
  });
}

TEST_CASE("as_result around a timeout, and around a sleep") {
  rota_test::run([]() -> task<> {
    const rota::result<> late = co_await rota::as_result(rota::timeout(1ms, rota::sleep_for(1h)));
    REQUIRE(late.error() == rota::errc::timed_out);
    const rota::result<> slept = co_await rota::as_result(rota::sleep_for(0ms));
    REQUIRE(slept.has_value());
  });
}

TEST_CASE("other exceptions and a cancel pass as_result") {
  rota_test::run([]() -> task<> {
    const auto fail = []() -> task<> {
      throw std::runtime_error("other");
      co_return;
    };
    std::string caught;
    try {
      (void)co_await rota::as_result(fail());
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    REQUIRE(caught == "other");
    bool passed = false;
    const auto body = [&](rota::cancel_scope& scope) -> task<> {
      scope.cancel();
      try {
        (void)co_await rota::as_result(rota::sleep_for(1h));
      } catch (const rota::cancelled&) {
        passed = true;
        throw;
      }
    };
    const bool ended = co_await rota::with_cancel_scope(body);
    REQUIRE_FALSE(ended);
    REQUIRE(passed);
  });
}
