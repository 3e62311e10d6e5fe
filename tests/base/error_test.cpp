// Codes, result<T>, usage_error, reports, descriptors.
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/base/unique_fd.hpp>
#include <rota/base/usage_error.hpp>

#include "support/rota_test.hpp"

TEST_CASE("every code has a text of its own") {
  std::set<std::string> texts;
  int count = 0;
  for (const rota::errc code : {rota::errc::busy, rota::errc::closed, rota::errc::timed_out, rota::errc::end_of_stream,
                                rota::errc::not_supported, rota::errc::name_not_numeric, rota::errc::task_cancelled,
                                rota::errc::loop_stopped}) {
    const std::error_code e = code;
    REQUIRE(e);
    REQUIRE(e == code);
    REQUIRE(std::string(e.category().name()) == "rota");
    texts.insert(e.message());
    ++count;
  }
  REQUIRE(static_cast<int>(texts.size()) == count);
  REQUIRE_FALSE(rota::error_category().message(12345).empty());
}

TEST_CASE("codes compare with the standard's conditions") {
  REQUIRE(std::error_code(rota::errc::timed_out) == std::errc::timed_out);
  REQUIRE(std::error_code(rota::errc::busy) == std::errc::device_or_resource_busy);
  REQUIRE(std::error_code(rota::errc::closed) == std::errc::bad_file_descriptor);
  REQUIRE(std::error_code(rota::errc::not_supported) == std::errc::operation_not_supported);
  REQUIRE(std::error_code(rota::errc::end_of_stream) != std::errc::broken_pipe);
  REQUIRE(rota::detail::error_of(-ECONNRESET) == std::errc::connection_reset);
}

TEST_CASE("a peer that has gone shows as connection_reset or broken_pipe, and as nothing else") {
  const auto of = [](int number) { return std::error_code(number, std::generic_category()); };
  REQUIRE(rota::peer_has_gone(of(ECONNRESET)));
  REQUIRE(rota::peer_has_gone(of(EPIPE)));
  REQUIRE_FALSE(rota::peer_has_gone(of(ECONNREFUSED)));
  REQUIRE_FALSE(rota::peer_has_gone(make_error_code(rota::errc::closed)));
  REQUIRE_FALSE(rota::peer_has_gone(std::error_code()));
}

TEST_CASE("a result holds a value or a code") {
  rota::result<std::string> good(std::string("value"));
  REQUIRE(good);
  REQUIRE(good.has_value());
  REQUIRE(good.value() == "value");
  REQUIRE(*good == "value");
  REQUIRE(good->size() == 5);
  REQUIRE_FALSE(good.error());
  const rota::result<std::string>& seen = good;
  REQUIRE(seen.value() + *seen == "valuevalue");
  REQUIRE(seen->size() == 5);
  const std::string moved = *std::move(good);
  REQUIRE(moved == "value");

  rota::result<std::string> bad(rota::make_error_code(rota::errc::busy));
  REQUIRE_FALSE(bad);
  REQUIRE(bad.error() == rota::errc::busy);
  REQUIRE(rota_test::error_code_of([&] { (void)bad.value(); }) == rota::errc::busy);
  REQUIRE(rota_test::error_code_of([&] { (void)std::move(bad).value(); }) == rota::errc::busy);

  rota::result<std::unique_ptr<int>> owned(std::make_unique<int>(4));
  const std::unique_ptr<int> taken = std::move(owned).value();
  REQUIRE(*taken == 4);
}

TEST_CASE("a usage_error knows its kind and its text") {
  const rota::usage_error error(rota::usage_error::kind::wrong_loop, "a text");
  REQUIRE(std::string(error.what()) == "a text");
  REQUIRE(error.which() == rota::usage_error::kind::wrong_loop);
  const std::exception& base = error;
  REQUIRE(std::string(base.what()) == "a text");
}

TEST_CASE("reports go to the handler that was set, one line each") {
  {
    const rota_test::captured_reports reports;
    rota::report("the answer is %d", 42);
    rota::report("%s", "second");
    REQUIRE(reports.lines() == std::vector<std::string>{"the answer is 42", "second"});
    rota::report("%s", std::string(5000, 'x').c_str());  // cut, not overrun
    REQUIRE(reports.lines().back().size() >= 500);
    REQUIRE(reports.lines().back().size() < 5000);
  }
  const rota_test::child_outcome child = rota_test::run_in_child([] {
    rota::set_report_handler(nullptr);
    rota::report("to stderr");
    return 0;
  });
  REQUIRE(child.output == "rota: to stderr\n");
}

TEST_CASE("a trap reports and aborts") {
  const rota_test::child_outcome child = rota_test::run_in_child([]() -> int { rota::detail::trap("broken %d", 7); });
  REQUIRE(child.signal() == SIGABRT);
  REQUIRE(child.output == "rota: broken 7\n");
  const rota_test::child_outcome check = rota_test::run_in_child([] {
    const int n = 1;
    ROTA_ASSERT(n == 2);
    return 0;
  });
  REQUIRE(check.signal() == SIGABRT);
  REQUIRE(check.says("n == 2"));
  REQUIRE(check.says("error_test.cpp:"));
}

TEST_CASE("unique_fd closes what it owns, once") {
  const auto is_open = [](int fd) { return ::fcntl(fd, F_GETFD) != -1; };
  const auto some_fd = [] { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); };
  int first = some_fd();
  {
    rota::unique_fd owner(first);
    REQUIRE(owner);
    rota::unique_fd other = std::move(owner);
    REQUIRE_FALSE(owner);
    REQUIRE(other.get() == first);
    rota::unique_fd& same = other;
    other = std::move(same);
    REQUIRE(is_open(first));
    const int second = some_fd();
    other.reset(second);
    REQUIRE_FALSE(is_open(first));
    first = second;
  }
  REQUIRE_FALSE(is_open(first));
  rota::unique_fd owner(some_fd());
  const int released = owner.release();
  owner.reset();
  REQUIRE(is_open(released));
  ::close(released);
  REQUIRE_FALSE(rota::unique_fd());
}

TEST_CASE("a cancelled that says nothing has defaults, and copies share their text") {
  const rota::cancelled empty(nullptr, nullptr);
  REQUIRE(empty.kind() == rota::cancel_kind::requested);
  REQUIRE(empty.reason().empty());
  using rota::detail::cancel_record;
  cancel_record* record = cancel_record::make(rota::cancel_kind::sibling, "because", std::source_location::current());
  const unsigned line = __LINE__ - 1;
  rota::cancelled first(nullptr, record);
  cancel_record::release(record);
  rota::cancelled second(first);
  first = empty;
  REQUIRE(first.reason().empty());
  REQUIRE(second.reason() == "because");
  REQUIRE(second.kind() == rota::cancel_kind::sibling);
  REQUIRE(second.where().line() == line);
  first = second;
  rota::cancelled& same = first;
  first = same;
  REQUIRE(first.reason() == "because");
}
