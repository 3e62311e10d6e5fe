// exception_group: what it holds, how it is taken apart, what it says.
#include <rota/scope/exception_group.hpp>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/outcomes.hpp"

namespace {

using rota::exception_group;
using rota_test::strings;
using rota_test::text_of;
using rota_test::texts;

template <class E>
exception_group::member one(E error, std::string where = "a task") {
  return exception_group::member(std::make_exception_ptr(std::move(error)), std::move(where));
}
std::runtime_error runtime(const char* text) { return std::runtime_error(text); }

// { "a", { "b", out_of_range "c", { 42 } } }
exception_group nested() {
  std::vector<exception_group::member> innermost{one(42, "innermost")};
  std::vector<exception_group::member> inner{one(runtime("b")), one(std::out_of_range("c")),
                                             one(exception_group("three", innermost))};
  return exception_group("one", {one(runtime("a")), one(exception_group("two", inner), "a group")});
}
std::size_t lines_of(const exception_group& group) {
  const std::string text = group.what();
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
}

}  // namespace

TEST_CASE("a group keeps its members, their order and their places") {
  const exception_group group("a test", {one(runtime("a"), "here"), one(std::logic_error("b"), "there")});
  REQUIRE(group.size() == 2);
  REQUIRE(group.message() == "a test");
  REQUIRE(group.members()[0].where == "here");
  REQUIRE(group.members()[1].where == "there");
  REQUIRE(texts(group) == strings{"a", "b"});
}

TEST_CASE("a group is a std::exception, and a copy that was thrown shares its members") {
  const exception_group group = nested();
  try {
    throw group;
  } catch (const std::exception& e) {
    REQUIRE(e.what() == group.what());  // the same text, not an equal one
  }
}

TEST_CASE("copies share their members and outlive each other") {
  auto* first = new exception_group("a test", {one(runtime("a"))});
  exception_group second(*first);
  const std::exception_ptr* const member = &first->members().front().error;
  REQUIRE(&second.members().front().error == member);
  delete first;
  REQUIRE(texts(second) == strings{"a"});
  exception_group third("another", {one(runtime("b"))});
  third = second;
  REQUIRE(&third.members().front().error == member);
  third = static_cast<const exception_group&>(third);
  second = exception_group("yet another", {one(runtime("c"))});
  REQUIRE(texts(third) == strings{"a"});
  REQUIRE(texts(second) == strings{"c"});
  exception_group moved(std::move(second));
  REQUIRE(texts(moved) == strings{"c"});
}

TEST_CASE("flatten gives the leaves, depth first") {
  const exception_group group = nested();
  const std::vector<std::exception_ptr> leaves = group.flatten();
  REQUIRE(leaves.size() == 4);
  REQUIRE(text_of(leaves[0]) == "a");
  REQUIRE(text_of(leaves[1]) == "b");
  REQUIRE(text_of(leaves[2]) == "c");
  REQUIRE(rota_test::caught<int>(leaves[3]) == 42);
}

TEST_CASE("find gives the first error of a type, at any depth, bases included") {
  const exception_group group = nested();
  REQUIRE(group.find<std::runtime_error>() != nullptr);
  REQUIRE(group.find<std::runtime_error>()->what() == std::string("a"));
  REQUIRE(group.find<std::out_of_range>()->what() == std::string("c"));
  REQUIRE(group.find<std::logic_error>()->what() == std::string("c"));
  REQUIRE(group.find<std::exception>()->what() == std::string("a"));
  REQUIRE(*group.find<int>() == 42);
  REQUIRE(group.find<std::bad_alloc>() == nullptr);
  REQUIRE(group.find<exception_group>() == nullptr);  // groups are not leaves
}

TEST_CASE("what find gives lives as long as the group") {
  const std::runtime_error* found = nullptr;
  exception_group kept = nested();
  {
    const exception_group group = kept;
    found = group.find<std::runtime_error>();
  }
  REQUIRE(found->what() == std::string("a"));
  REQUIRE(kept.find<std::runtime_error>() == found);
}

TEST_CASE("only gives the error of a group of one, however deep, and nothing when there are more") {
  const exception_group single("outer", {one(exception_group("inner", {one(std::out_of_range("c"))}))});
  REQUIRE(single.only<std::out_of_range>() != nullptr);
  REQUIRE(single.only<std::logic_error>() != nullptr);
  REQUIRE(single.only<std::runtime_error>() == nullptr);
  const exception_group two("outer", {one(runtime("a")), one(runtime("b"))});
  REQUIRE(two.only<std::runtime_error>() == nullptr);
  REQUIRE(nested().only<std::out_of_range>() == nullptr);
}

TEST_CASE("an error code is found with its category") {
  const exception_group group("a test", {one(std::system_error(ECONNRESET, std::generic_category(), "read"))});
  const auto* error = group.only<std::system_error>();
  REQUIRE(error != nullptr);
  REQUIRE(error->code() == std::errc::connection_reset);
}

TEST_CASE("split by type gives two groups of the same nesting") {
  const exception_group::parts halves = nested().split<std::runtime_error>();
  REQUIRE(halves.matching.has_value());
  REQUIRE(halves.rest.has_value());
  REQUIRE(texts(*halves.matching) == strings{"a", "b"});
  REQUIRE(halves.matching->message() == "one");
  REQUIRE(halves.matching->size() == 2);
  const auto inner = rota_test::caught<exception_group>(halves.matching->members()[1].error);
  REQUIRE(inner.message() == "two");
  REQUIRE(halves.matching->members()[1].where == "a group");
  REQUIRE(texts(inner) == strings{"b"});
  // The empty side of a nested group is left out.
  REQUIRE(halves.rest->size() == 1);
  REQUIRE(halves.rest->find<std::out_of_range>() != nullptr);
  REQUIRE(*halves.rest->find<int>() == 42);
  REQUIRE(halves.rest->find<std::runtime_error>() == nullptr);
}

TEST_CASE("split when all match and when none does") {
  const exception_group group = nested();
  const exception_group::parts all = group.split([](const std::exception_ptr&) { return true; });
  REQUIRE(all.matching.has_value());
  REQUIRE_FALSE(all.rest.has_value());
  REQUIRE(all.matching->flatten() == group.flatten());
  REQUIRE(std::string(all.matching->what()) == group.what());
  const exception_group::parts none = group.split<std::bad_alloc>();
  REQUIRE_FALSE(none.matching.has_value());
  REQUIRE(none.rest.has_value());
  REQUIRE(none.rest->flatten() == group.flatten());
}

TEST_CASE("split asks for each leaf once, in order, and by the error itself") {
  const exception_group group = nested();
  std::vector<std::exception_ptr> asked;
  const exception_group::parts halves = group.split([&](const std::exception_ptr& error) {
    asked.push_back(error);
    return asked.size() % 2 == 0;
  });
  REQUIRE(asked == group.flatten());
  REQUIRE(halves.matching->flatten().size() == 2);
  REQUIRE(halves.rest->flatten().size() == 2);
}

TEST_CASE("a predicate that throws leaves nothing behind") {
  const exception_group group = nested();
  REQUIRE_THROWS_AS(group.split([](const std::exception_ptr&) -> bool { throw 1; }), int);
  REQUIRE(group.flatten().size() == 4);
}

TEST_CASE("the printed form has a line for each error, nested ones below their group") {
  const exception_group group = nested();
  const std::string text = group.what();
  INFO(text);
  REQUIRE(lines_of(group) == 7);
  REQUIRE(text.starts_with("one failed with 2 errors\n"));
  const auto position = [&](const char* part) {
    const std::size_t at = text.find(part);
    INFO("in the text: " << part);
    REQUIRE(at != std::string::npos);
    return at;
  };
  REQUIRE(position("  - a task: std::runtime_error: a\n") < position("  - a group: two failed with 3 errors\n"));
  REQUIRE(position("    - a task: std::runtime_error: b\n") < position("    - a task: std::out_of_range: c\n"));
  REQUIRE(position("    - a task: three failed with 1 error\n") < position("      - innermost: "));
  REQUIRE_THAT(text, Catch::Matchers::ContainsSubstring("an exception of type int"));
}

TEST_CASE("a text of several lines stays below its own member") {
  const exception_group group("a test", {one(runtime("first line\nsecond line"), "here")});
  REQUIRE(std::string(group.what()) ==
          "a test failed with 1 error\n  - here: std::runtime_error: first line\n    second line");
}

TEST_CASE("a member without a place is printed without one") {
  const exception_group group("a test", {one(runtime("a"), "")});
  REQUIRE(std::string(group.what()) == "a test failed with 1 error\n  - std::runtime_error: a");
}

TEST_CASE("the printed form is limited, the members are not") {
  std::vector<exception_group::member> many;
  for (int i = 0; i != 10'000; ++i) many.push_back(one(std::runtime_error(std::to_string(i))));
  const exception_group group("a test", many);
  REQUIRE(group.size() == 10'000);
  REQUIRE(group.flatten().size() == 10'000);
  REQUIRE(lines_of(group) == 22);
  REQUIRE_THAT(std::string(group.what()), Catch::Matchers::ContainsSubstring("- and 9980 more"));
  REQUIRE(texts(group).back() == "9999");
}

TEST_CASE("a group of groups, each with many errors, prints a text that a person can read") {
  std::vector<exception_group::member> all;
  for (int i = 0; i != 100; ++i) {
    std::vector<exception_group::member> some;
    for (int j = 0; j != 100; ++j) some.push_back(one(runtime("x")));
    all.push_back(one(exception_group("inner", some)));
  }
  const exception_group group("outer", all);
  REQUIRE(group.flatten().size() == 10'000);
  REQUIRE(lines_of(group) <= 20 * 22 + 2);
}

TEST_CASE("a hundred levels of nesting") {
  exception_group group("innermost", {one(runtime("a"))});
  for (int i = 0; i != 100; ++i) group = exception_group("level", {one(group)});
  REQUIRE(group.flatten().size() == 1);
  REQUIRE(group.only<std::runtime_error>() != nullptr);
  const exception_group::parts halves = group.split<std::runtime_error>();
  REQUIRE(halves.matching->only<std::runtime_error>() == group.only<std::runtime_error>());
  REQUIRE(lines_of(group) == 102);
}

TEST_CASE("the printed form of deep and of wide nests is limited, too") {
  exception_group deep("innermost", {one(runtime("a"))});
  for (int i = 0; i != 1000; ++i) deep = exception_group("level", {one(deep)});
  REQUIRE(std::string_view(deep.what()).size() < 40'000);
  REQUIRE_THAT(std::string(deep.what()), Catch::Matchers::EndsWith(" ..."));
  REQUIRE(deep.only<std::runtime_error>() != nullptr);

  exception_group wide("leaves", std::vector(20, one(runtime("a"))));
  for (int i = 0; i != 3; ++i) wide = exception_group("twenty", std::vector(20, one(wide)));
  REQUIRE(std::string_view(wide.what()).size() < 40'000);
  REQUIRE_THAT(std::string(wide.what()), Catch::Matchers::EndsWith(" more"));
  REQUIRE(wide.flatten().size() == 160'000);
}

TEST_CASE("any thread may read, copy and drop a group") {
  const exception_group group = nested();
  std::vector<std::thread> threads;
  std::vector<int> found(4, 0);
  for (int& slot : found) {
    threads.emplace_back([group, &slot] {
      for (int i = 0; i != 1000; ++i) {
        const exception_group copy = group;
        const exception_group::parts halves = copy.split<std::runtime_error>();
        if (copy.find<std::out_of_range>() && halves.rest && std::string(copy.what()) == group.what()) ++slot;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  REQUIRE(found == std::vector<int>(4, 1000));
}
