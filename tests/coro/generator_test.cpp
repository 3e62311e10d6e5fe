// rota::generator: a coroutine as a range.
#include <algorithm>
#include <concepts>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/rota_test.hpp"

namespace {

using rota::elements_of;
using rota::generator;

static_assert(std::ranges::input_range<generator<int>>);
static_assert(std::ranges::input_range<generator<const std::string&>>);
static_assert(std::ranges::input_range<generator<std::unique_ptr<int>>>);
static_assert(!std::ranges::forward_range<generator<int>>);
static_assert(std::same_as<std::ranges::range_reference_t<generator<int>>, int&&>);
static_assert(std::same_as<std::ranges::range_reference_t<generator<int&>>, int&>);
static_assert(std::same_as<std::ranges::range_value_t<generator<const std::string&>>, std::string>);
static_assert(!std::copyable<generator<int>>);

generator<int> count(int from, int to) {
  for (int i = from; i != to; ++i) co_yield i;
}

std::vector<int> all_of(generator<int> numbers) {
  std::vector<int> all;
  for (int i : numbers) all.push_back(i);
  return all;
}

// Lives in frames, and says when it goes.
struct witness {
  witness(std::vector<std::string>& l, std::string n) : log(l), name(std::move(n)) {}
  witness(const witness&) = delete;
  witness& operator=(const witness&) = delete;
  ~witness() { log.push_back(name); }
  std::vector<std::string>& log;
  std::string name;
};

struct pair_of_strings {  // an aggregate that owns something
  std::string first;
  std::string second;
};

}  // namespace

TEST_CASE("a generator gives what its body yields, in order") { CHECK(all_of(count(3, 7)) == std::vector{3, 4, 5, 6}); }

TEST_CASE("the body of a generator starts at begin(), not before") {
  bool started = false;
  const auto make = [](bool& flag) -> generator<int> {
    flag = true;
    co_yield 1;
  };
  generator<int> one = make(started);
  CHECK_FALSE(started);
  CHECK(*one.begin() == 1);
  CHECK(started);
}

TEST_CASE("a generator that yields nothing is an empty range") { CHECK(all_of(count(0, 0)).empty()); }

TEST_CASE("a generator works with the views of std::ranges") {
  std::vector<int> found;
  for (int i : count(0, 1'000'000) | std::views::filter([](int i) { return i % 3 == 0; }) |
                   std::views::transform([](int i) { return i * i; }) | std::views::take(4))
    found.push_back(i);
  CHECK(found == std::vector{0, 9, 36, 81});
  generator<int> numbers = count(0, 10);
  CHECK(std::ranges::count_if(numbers, [](int i) { return i % 2 == 1; }) == 5);
}

TEST_CASE("a generator of references yields the objects themselves") {
  std::vector<int> values{1, 2, 3};
  const auto each = [](std::vector<int>& of) -> generator<int&> {
    for (int& one : of) co_yield one;
  };
  for (int& one : each(values)) one *= 10;
  CHECK(values == std::vector{10, 20, 30});

  const auto texts = []() -> generator<const std::string&> {
    const std::string named = "a name that is too long for the small string";
    co_yield named;
    co_yield std::string("a temporary that is too long for the small string");
  };
  std::size_t length = 0;
  for (const std::string& text : texts()) length += text.size();
  CHECK(length == 44 + 49);
}

TEST_CASE("a generator of values copies an lvalue that is yielded, and hands on what is moved") {
  const auto twice = []() -> generator<std::string> {
    std::string text = "a text that is too long for the small string";
    co_yield text;
    co_yield text;
    co_yield std::move(text);
    CHECK(text.empty());
  };
  std::vector<std::string> all;
  for (std::string&& text : twice()) all.push_back(std::move(text));
  CHECK(all == std::vector<std::string>(3, "a text that is too long for the small string"));
}

TEST_CASE("a generator yields what can only be moved") {
  const auto boxes = []() -> generator<std::unique_ptr<int>> {
    co_yield std::make_unique<int>(1);
    auto named = std::make_unique<int>(2);
    co_yield std::move(named);
    auto moved = std::make_unique<int>(3);
    co_yield rota::by_move(moved);
    CHECK(moved == nullptr);
  };
  int sum = 0;
  for (std::unique_ptr<int> box : boxes()) sum += *box;
  CHECK(sum == 6);
}

TEST_CASE("a generator yields an aggregate that owns something, by name") {
  const auto pairs = []() -> generator<pair_of_strings> {
    pair_of_strings one{"a text that is too long for the small string", "another that is too long for it"};
    co_yield one;
    co_yield rota::by_move(one);
    CHECK(one.first.empty());
  };
  std::size_t length = 0;
  for (pair_of_strings one : pairs()) length += one.first.size() + one.second.size();
  CHECK(length == 2 * (44 + 31));
}

TEST_CASE("elements_of yields the elements of a generator, of a range and of their ends") {
  const auto nest = []() -> generator<int> {
    co_yield 0;
    co_yield elements_of(count(1, 3));
    std::vector<int> more{3, 4};
    co_yield elements_of(more);
    co_yield elements_of(std::vector<int>(2, 5));
    co_yield elements_of(count(7, 7));
    co_yield 9;
  };
  CHECK(all_of(nest()) == std::vector{0, 1, 2, 3, 4, 5, 5, 9});
}

TEST_CASE("elements_of converts the elements of another type") {
  const auto wider = [](std::vector<short> values) -> generator<long> { co_yield elements_of(values); };
  long sum = 0;
  for (long one : wider({1, 2, 3})) sum += one;
  CHECK(sum == 6);
}

namespace {

generator<int> tree(int depth) {  // in order
  if (depth == 0) co_return;
  co_yield elements_of(tree(depth - 1));
  co_yield depth;
  co_yield elements_of(tree(depth - 1));
}

generator<int> nested(std::size_t depth, int elements) {
  if (depth == 0)
    for (int i = 0; i != elements; ++i) co_yield i;
  else
    co_yield elements_of(nested(depth - 1, elements));
}

}  // namespace

TEST_CASE("a recursive generator walks a tree in order") {
  CHECK(all_of(tree(3)) == std::vector{1, 2, 1, 3, 1, 2, 1});
  int nodes = 0;
  for (int unused : tree(12)) nodes += unused > 0;
  CHECK(nodes == (1 << 12) - 1);
}

TEST_CASE("a hundred thousand generators in one another need no deep stack, neither to run nor to be destroyed") {
  const rota_test::frame_balance all_freed;
  const std::size_t depth = rota_test::scaled(100'000, 20'000, 20'000);
  int sum = 0;
  for (int i : nested(depth, 1000)) sum += i;
  CHECK(sum == 999 * 1000 / 2);

  generator<int> half_way = nested(depth, 1000);
  const auto first = half_way.begin();
  CHECK(*first == 0);
}

TEST_CASE("a million nested generators one after another need no deep stack") {
  const auto one_by_one = [](int times) -> generator<int> {
    for (int i = 0; i != times; ++i) co_yield elements_of(count(i, i + i % 2));  // every other one is empty
  };
  const int times = static_cast<int>(rota_test::scaled(1'000'000, 100'000, 100'000));
  long elements = 0;
  for (int i : one_by_one(times)) elements += i % 2;
  CHECK(elements == times / 2);
}

TEST_CASE("an exception of the body comes out of the increment, and ends the generator") {
  const auto fails = []() -> generator<int> {
    co_yield 1;
    throw std::runtime_error("no more");
  };
  generator<int> numbers = fails();
  auto it = numbers.begin();
  CHECK(*it == 1);
  CHECK_THROWS_WITH(++it, "no more");
  CHECK(it == numbers.end());
}

TEST_CASE("an exception of a nested generator can be caught by the one around it") {
  const auto fails = []() -> generator<int> {
    co_yield 1;
    throw std::runtime_error("inner");
  };
  const auto catches = [&]() -> generator<int> {
    bool failed = false;
    try {
      co_yield elements_of(fails());
    } catch (const std::runtime_error&) {
      failed = true;
    }
    if (failed) co_yield 2;
  };
  CHECK(all_of(catches()) == std::vector{1, 2});
  const auto passes = [&]() -> generator<int> { co_yield elements_of(fails()); };
  std::vector<int> seen;
  const auto look = [&] {
    for (int i : passes()) seen.push_back(i);
  };
  CHECK_THROWS_WITH(look(), "inner");
  CHECK(seen == std::vector{1});
}

TEST_CASE("a generator that is left half-way destroys its frames, the innermost first") {
  const rota_test::frame_balance all_freed;
  std::vector<std::string> log;
  const auto inner = [](std::vector<std::string>& l) -> generator<int> {
    const witness w(l, "inner");
    co_yield 1;
    co_yield 2;
  };
  const auto outer = [&inner](std::vector<std::string>& l) -> generator<int> {
    const witness w(l, "outer");
    co_yield elements_of(inner(l));
  };
  for (int i : outer(log)) {
    CHECK(i == 1);
    CHECK(log.empty());
    break;
  }
  CHECK(log == std::vector<std::string>{"inner", "outer"});
}

TEST_CASE("a generator that was never started, or was replaced, runs nothing of its body") {
  const rota_test::frame_balance all_freed;
  std::vector<std::string> log;
  const auto says = [](std::vector<std::string>& l, const char* name) -> generator<int> {
    const witness w(l, name);
    co_yield 1;
  };
  {
    const generator<int> unused = says(log, "unused");
  }
  CHECK(log.empty());
  generator<int> one = says(log, "first");
  CHECK(*one.begin() == 1);
  one = says(log, "second");
  CHECK(log == std::vector<std::string>{"first"});
  generator<int> moved = std::move(one);
  CHECK(*moved.begin() == 1);
}

TEST_CASE("misuse of a generator throws usage_error and breaks nothing") {
  using kind = rota::usage_error::kind;
  generator<int> numbers = count(0, 1);
  auto it = numbers.begin();
  CHECK(rota_test::usage_error_of([&] { return numbers.begin(); }) == kind::invalid_argument);
  ++it;
  CHECK(it == numbers.end());
  CHECK(rota_test::usage_error_of([&] { return &++it; }) == kind::invalid_argument);
  CHECK(it == numbers.end());
  generator<int> empty;
  CHECK(rota_test::usage_error_of([&] { return empty.begin(); }) == kind::invalid_argument);

  const auto takes = [](generator<int> inner) -> generator<int> { co_yield elements_of(std::move(inner)); };
  CHECK(rota_test::usage_error_of([&] { return all_of(takes({})).size(); }) == kind::invalid_argument);
  generator<int> begun = count(0, 9);
  CHECK(*begun.begin() == 0);
  CHECK(rota_test::usage_error_of([&] { return all_of(takes(std::move(begun))).size(); }) == kind::invalid_argument);
}

TEST_CASE("a generator that its own body, or the body of one nested in it, advances is an error, and goes on") {
  using kind = rota::usage_error::kind;
  generator<int>::iterator* own = nullptr;
  const auto advances_itself = [](generator<int>::iterator*& me) -> generator<int> {
    co_yield 1;
    CHECK(rota_test::usage_error_of([&] { return &++*me; }) == kind::invalid_argument);
    co_yield 2;
  };
  const auto nests = [](generator<int> inner) -> generator<int> { co_yield elements_of(std::move(inner)); };
  for (const bool nested : {false, true}) {
    generator<int> numbers = advances_itself(own);
    if (nested) numbers = nests(std::move(numbers));
    auto it = numbers.begin();
    own = &it;
    CHECK(*it == 1);
    ++it;
    CHECK(*it == 2);
    ++it;
    CHECK(it == numbers.end());
  }
}

TEST_CASE("a generator that its own body destroys ends the program with a message") {
  const rota_test::child_outcome end_of_it = rota_test::child_process([] {
                                               generator<int> own;
                                               const auto destroys = [](generator<int>& me) -> generator<int> {
                                                 co_yield 1;
                                                 me = generator<int>();
                                                 co_yield 2;
                                               };
                                               own = destroys(own);
                                               auto it = own.begin();
                                               ++it;
                                               return 0;
                                             }).wait();
  INFO(end_of_it.output);
  CHECK(end_of_it.signal() == SIGABRT);
  CHECK(end_of_it.says("a rota::generator was destroyed or replaced by its own body"));
}

TEST_CASE("generators take their frames from the frame cache, which gives them back") {
  const rota_test::frame_balance all_freed;
  for (int i = 0; i != 3; ++i) CHECK(all_of(count(0, 100)).size() == 100);
}

namespace {

// Trees of generators, each made of one seed: what it yields, whom it nests, whether it throws, and whether it forgives what the
// one inside throws.
struct random_node {
  random_node(std::uint64_t seed, int depth)
      : dice(seed), deep(depth), forgives(dice.below(3) == 0), steps(dice.below(5)) {}
  enum class kind : std::uint8_t { yields, nests, throws };
  kind next() {
    if (dice.below(60) == 0) return kind::throws;
    return deep != 0 && dice.below(2) == 0 ? kind::nests : kind::yields;
  }
  rota::detail::random dice;
  const int deep;
  const bool forgives;
  std::uint64_t steps;
};

/// The values, by recursion. Throws when the tree does.
void plain_walk(std::uint64_t seed, int depth, std::vector<std::uint64_t>& into) {
  random_node me(seed, depth);
  for (; me.steps != 0; --me.steps) {
    const random_node::kind what = me.next();
    if (what == random_node::kind::throws) throw std::runtime_error("at random");
    const std::uint64_t value = me.dice.next();
    if (what == random_node::kind::yields) {
      into.push_back(value);
      continue;
    }
    try {
      plain_walk(value, depth - 1, into);
    } catch (const std::runtime_error&) {
      if (!me.forgives) throw;
    }
  }
}

generator<std::uint64_t> walk(std::uint64_t seed, int depth, int& alive) {
  int* const counts = &alive;
  const std::unique_ptr<int, void (*)(int*)> here(counts, [](int* n) { --*n; });
  ++*counts;
  random_node me(seed, depth);
  for (; me.steps != 0; --me.steps) {
    const random_node::kind what = me.next();
    if (what == random_node::kind::throws) throw std::runtime_error("at random");
    const std::uint64_t value = me.dice.next();
    if (what == random_node::kind::yields) {
      co_yield value;
      continue;
    }
    generator<std::uint64_t> inner = walk(value, depth - 1, alive);
    try {
      co_yield elements_of(std::move(inner));
    } catch (const std::runtime_error&) {
      if (!me.forgives) throw;
    }
  }
}

}  // namespace

TEST_CASE("random trees of generators give what recursion gives, errors too, and clean up wherever they are left") {
  const rota_test::frame_balance all_freed;
  std::size_t failed = 0, left = 0, values = 0;
  const std::uint64_t seeds = rota_test::scaled(10'000, 1'000, 2'000);
  for (std::uint64_t seed = 0; seed != seeds; ++seed) {
    const int depth = static_cast<int>(seed % 6);
    std::vector<std::uint64_t> expected, got;
    bool throws = false, has_thrown = false;
    try {
      plain_walk(seed, depth, expected);
    } catch (const std::runtime_error&) {
      throws = true;
    }
    const bool leaves = seed % 3 == 0 && !expected.empty();
    if (leaves) expected.resize(1 + seed % expected.size());
    int alive = 0;
    {
      generator<std::uint64_t> tree = walk(seed, depth, alive);
      try {
        for (const std::uint64_t value : tree) {
          got.push_back(value);
          if (leaves && got.size() == expected.size()) break;
        }
      } catch (const std::runtime_error&) {
        has_thrown = true;
      }
    }
    INFO("seed " << seed);
    if (got != expected || alive != 0 || has_thrown != (throws && !leaves)) FAIL("another tree than by recursion");
    failed += has_thrown;
    left += leaves;
    values += got.size();
  }
  CHECK(failed > seeds / 50);
  CHECK(left > seeds / 10);
  CHECK(values > seeds);
}
