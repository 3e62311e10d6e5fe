// What spawn() cannot prevent: a capturing lambda is called by hand, and its task outlives the closure. The program
// reads dead memory; AddressSanitizer says so, with the line.
#include <string>

#include "support/rota_test.hpp"

namespace {

using rota::task;

constexpr unsigned line_of_use = __LINE__ + 4;
[[gnu::noinline]] task<int> make(int n) {
  const auto body = [n]() -> task<int> {
    co_await rota::yield();
    co_return n + 1;  // the closure is gone: docs say to pass arguments, or to spawn(f, args...)
  };
  return body();
}

}  // namespace

TEST_CASE("AddressSanitizer shows the use of a capture whose lambda is gone") {
  if (!rota_test::under_asan) {
    SKIP("only a build with AddressSanitizer can see it");
  }
  const rota_test::child_outcome child = rota_test::run_in_child([] { return rota::run(make(1)); });
  INFO(child.output);
  REQUIRE(child.says("AddressSanitizer: stack-use-after-return"));
  REQUIRE(child.says("dangling_capture_test.cpp:" + std::to_string(line_of_use)));
}

TEST_CASE("the same lambda and value are safe as spawn(f, args...)") {
  rota_test::run([]() -> task<> {
    rota::join_handle<std::size_t> handle;
    {
      const std::string n = "captured";
      const auto body = [n]() -> task<std::size_t> {
        co_await rota::yield();
        co_return n.size();
      };
      handle = rota::spawn(body);
    }
    const std::size_t size = co_await handle;
    REQUIRE(size == 8);
  });
}
