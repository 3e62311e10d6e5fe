// The words of reports: what an exception is called.
#include <rota/coro/describe.hpp>

#include <stdexcept>
#include <string>
#include <system_error>

#include "support/catch.hpp"

namespace odd {
struct error_of_ours {};
struct derived final : std::runtime_error {
  using runtime_error::runtime_error;
};
}  // namespace odd

namespace {
template <class E>
std::string words_for(E error) {
  return rota::detail::describe(std::make_exception_ptr(error)).c_str();
}
}  // namespace

TEST_CASE("an exception is described by its type and its text") {
  REQUIRE(words_for(std::runtime_error("the disk is full")) == "std::runtime_error: the disk is full");
  REQUIRE(words_for(odd::derived("by its own type")) == "odd::derived: by its own type");
  REQUIRE(words_for(std::system_error(ECONNREFUSED, std::generic_category(), "connect to 127.0.0.1:1")) ==
          "std::system_error: connect to 127.0.0.1:1: Connection refused");
}

TEST_CASE("an exception that is no std::exception is described by its type") {
  REQUIRE(words_for(odd::error_of_ours()) == "an exception of type odd::error_of_ours");
  REQUIRE(words_for(3) == "an exception of type int");
}

TEST_CASE("a cancel is described by its reason, and the absence of an error by what it is") {
  rota::detail::cancel_record* const record =
      rota::detail::cancel_record::make(rota::cancel_kind::requested, "enough", {});
  REQUIRE(words_for(rota::cancelled(nullptr, record)) == "cancelled: enough");
  rota::detail::cancel_record::release(record);
  REQUIRE(words_for(rota::cancelled(nullptr, nullptr)) == "cancelled");
  REQUIRE(std::string(rota::detail::describe(std::exception_ptr()).c_str()) == "no error");
}

TEST_CASE("a text that is too long is cut off") {
  const std::string words = words_for(std::runtime_error(std::string(5'000, 'x')));
  REQUIRE(words.starts_with("std::runtime_error: xxx"));
  REQUIRE(words.size() < rota::detail::longest_report);
  rota::detail::description text;
  for (int i = 0; i != 1'000; ++i) text.add("%d,", i);
  REQUIRE(std::string(text.c_str()).starts_with("0,1,2,3,"));
}
