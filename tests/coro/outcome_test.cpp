// outcome: a value or an exception, as an object.
#include <rota/coro/outcome.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

using rota::outcome;

std::exception_ptr error_saying(const char* text) { return std::make_exception_ptr(std::runtime_error(text)); }

struct counted {
  static inline int alive = 0;
  explicit counted(int n) noexcept : value(n) { ++alive; }
  counted(const counted& other) noexcept : value(other.value) { ++alive; }
  counted(counted&& other) noexcept : value(std::exchange(other.value, -1)) { ++alive; }
  counted& operator=(const counted&) = delete;
  ~counted() { --alive; }
  int value;
};

struct throws_when_copied {
  throws_when_copied() = default;
  throws_when_copied(const throws_when_copied&) { throw std::runtime_error("copy"); }
  throws_when_copied& operator=(const throws_when_copied&) = delete;
};
struct throws_when_made {
  explicit throws_when_made(bool throws) {
    if (throws) throw std::runtime_error("made");
  }
};

}  // namespace

TEST_CASE("an outcome is empty until it is set") {
  const outcome<int> number;
  REQUIRE_FALSE(number.has_value());
  REQUIRE_FALSE(static_cast<bool>(number));
  REQUIRE(number.exception() == nullptr);
  const outcome<> nothing;
  REQUIRE_FALSE(nothing.has_value());
}

TEST_CASE("an outcome with a value gives it, as often as asked") {
  outcome<std::string> text;
  text.emplace(std::size_t{3}, 'x');
  REQUIRE(text.has_value());
  REQUIRE(static_cast<bool>(text));
  REQUIRE(text.exception() == nullptr);
  REQUIRE(text.value() == "xxx");
  text.value() += "y";
  REQUIRE(std::as_const(text).value() == "xxxy");
  static_assert(std::is_same_v<decltype(text.value()), std::string&>);
  static_assert(std::is_same_v<decltype(std::as_const(text).value()), const std::string&>);
  static_assert(std::is_same_v<decltype(std::move(text).value()), std::string>);
}

TEST_CASE("an outcome with an exception throws it, as often as asked") {
  outcome<std::string> text(error_saying("broken"));
  REQUIRE_FALSE(text.has_value());
  REQUIRE(text.exception() != nullptr);
  REQUIRE_THROWS_AS(text.value(), std::runtime_error);
  REQUIRE_THROWS_AS(std::as_const(text).value(), std::runtime_error);
  REQUIRE_THROWS_AS(std::move(text).value(), std::runtime_error);
  outcome<> nothing;
  nothing.set_exception(error_saying("broken"));
  REQUIRE_THROWS_AS(nothing.value(), std::runtime_error);
}

TEST_CASE("an outcome of nothing that went well") {
  outcome<> nothing;
  nothing.emplace();
  REQUIRE(nothing.has_value());
  nothing.value();
  std::as_const(nothing).value();
  std::move(nothing).value();
  static_assert(std::is_void_v<decltype(nothing.value())>);
}

TEST_CASE("an outcome of a reference gives the object itself") {
  int target = 1;
  outcome<int&> reference;
  reference.emplace(target);
  REQUIRE(&reference.value() == &target);
  const outcome<int&> copy = reference;
  REQUIRE(&copy.value() == &target);
  static_assert(std::is_same_v<decltype(copy.value()), int&>);
  REQUIRE(&std::move(reference).value() == &target);
}

TEST_CASE("an outcome of what can only be moved") {
  outcome<std::unique_ptr<int>> unique;
  unique.emplace(std::make_unique<int>(3));
  outcome<std::unique_ptr<int>> moved = std::move(unique);
  const std::unique_ptr<int> three = std::move(moved).value();
  REQUIRE(*three == 3);
}

TEST_CASE("copies and moves keep what there is: a value, an exception, nothing") {
  const outcome<std::string> failed(error_saying("broken"));
  const outcome<std::string> empty;
  outcome<std::string> good;
  good.emplace("a text that is too long for the small buffer of a string");
  for (const outcome<std::string>* source : {&failed, &empty, static_cast<const outcome<std::string>*>(&good)}) {
    for (const outcome<std::string>* start : {&failed, &empty, static_cast<const outcome<std::string>*>(&good)}) {
      outcome<std::string> assigned = *start;
      assigned = *source;
      outcome<std::string> moved = *start;
      moved = outcome<std::string>(*source);
      for (const outcome<std::string>* result : {&assigned, &moved}) {
        REQUIRE(result->has_value() == source->has_value());
        REQUIRE(result->exception() == source->exception());
        if (result->has_value()) REQUIRE(result->value() == source->value());
      }
    }
  }
  outcome<std::string>& alias = good;
  good = alias;
  REQUIRE(good.value() == "a text that is too long for the small buffer of a string");
}

TEST_CASE("every value is destroyed once, whatever replaces it") {
  {
    outcome<counted> number;
    number.emplace(1);
    number.emplace(2);
    REQUIRE(counted::alive == 1);
    REQUIRE(number.value().value == 2);
    outcome<counted> copy = number;
    REQUIRE(counted::alive == 2);
    copy.set_exception(error_saying("broken"));
    REQUIRE(counted::alive == 1);
    copy.emplace(3);
    copy = outcome<counted>();
    REQUIRE(counted::alive == 1);
    const outcome<counted> moved = std::move(number);
    REQUIRE(counted::alive == 2);
    REQUIRE(moved.value().value == 2);
  }
  REQUIRE(counted::alive == 0);
}

TEST_CASE("an outcome whose value cannot be made or copied is empty") {
  outcome<throws_when_made> made;
  made.emplace(false);
  REQUIRE_THROWS_AS(made.emplace(true), std::runtime_error);
  REQUIRE_FALSE(made.has_value());
  REQUIRE(made.exception() == nullptr);
  outcome<throws_when_copied> original, copy(error_saying("broken"));
  original.emplace();
  REQUIRE_THROWS_AS(outcome<throws_when_copied>(original), std::runtime_error);
  REQUIRE_THROWS_AS(copy = original, std::runtime_error);
  REQUIRE_FALSE(copy.has_value());
  REQUIRE(copy.exception() == nullptr);
  REQUIRE(original.has_value());
}

TEST_CASE("an outcome is copyable and movable as its value is, and says so") {
  static_assert(std::is_copy_constructible_v<outcome<std::string>>);
  static_assert(std::is_copy_assignable_v<outcome<std::string>>);
  static_assert(std::is_nothrow_move_constructible_v<outcome<std::string>>);
  static_assert(std::is_nothrow_move_constructible_v<outcome<int&>>);
  static_assert(std::is_copy_constructible_v<outcome<>>);
  static_assert(std::is_move_constructible_v<outcome<std::unique_ptr<int>>>);
  static_assert(!std::is_copy_constructible_v<outcome<std::unique_ptr<int>>>);
  static_assert(!std::is_copy_assignable_v<outcome<std::unique_ptr<int>>>);
  // A vector that grows moves them, then.
  std::vector<outcome<std::unique_ptr<int>>> many;
  for (int i = 0; i != 10; ++i) many.emplace_back().emplace(std::make_unique<int>(i));
  REQUIRE(*many[7].value() == 7);
}
