// Owning pointers, calling, and kept callables.
#include <functional>
#include <memory>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/owned.hpp>

#include "support/rota_test.hpp"

using rota::detail::callable;
using rota::detail::owned;

namespace {

struct counted {
  explicit counted(int& live) noexcept : live_(&live) { ++*live_; }
  counted(const counted& other) noexcept : live_(other.live_), calls_(other.calls_) { ++*live_; }
  counted& operator=(const counted&) = delete;
  virtual ~counted() { --*live_; }
  int operator()(int x) { return calls_ += x; }
  int twice(int x) const { return 2 * x; }

 private:
  int* live_;
  int calls_ = 0;
};
struct derived final : counted {
  using counted::counted;
};

}  // namespace

TEST_CASE("an owned object is deleted once, by its last owner") {
  int live = 0;
  {
    owned<counted> first(new counted(live));
    owned<counted> second(std::make_unique<derived>(live));
    REQUIRE(live == 2);
    second = std::move(first);
    REQUIRE(live == 1);
    REQUIRE(first.get() == nullptr);
    const std::unique_ptr<counted> out(second.release());
    REQUIRE(second.get() == nullptr);
    REQUIRE(out->twice(4) == 8);
  }
  REQUIRE(live == 0);
}

TEST_CASE("functions, objects and member functions are called alike") {
  int live = 0;
  counted object(live);
  REQUIRE(rota::detail::invoke([](int x) { return x + 1; }, 1) == 2);
  REQUIRE(rota::detail::invoke(object, 3) == 3);
  REQUIRE(rota::detail::invoke(&counted::twice, object, 3) == 6);
  REQUIRE(rota::detail::invoke(&counted::twice, &object, 4) == 8);
  REQUIRE(rota::detail::invoke(&counted::twice, std::ref(object), 5) == 10);
  REQUIRE(rota::detail::invoke(&counted::twice, std::make_unique<derived>(live), 6) == 12);
}

TEST_CASE("a callable keeps a copy, and its copies have one each") {
  int live = 0;
  {
    const counted object(live);
    callable<int(int)> first(object);
    REQUIRE(live == 2);
    REQUIRE(first(2) == 2);
    callable<int(int)> second(first);
    REQUIRE(live == 3);
    REQUIRE(second(5) == 7);
    REQUIRE(first(1) == 3);
    second = callable<int(int)>();
    REQUIRE_FALSE(second);
    REQUIRE(live == 2);
    second = std::move(first);
    REQUIRE(second(0) == 3);
    REQUIRE_FALSE(first);
    const callable<int(int)> empty(first);
    REQUIRE_FALSE(empty);
  }
  REQUIRE(live == 0);
}
