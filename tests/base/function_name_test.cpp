// function_name: what compilers call functions, made readable.
#include <rota/base/function_name.hpp>

#include <source_location>
#include <string>

#include "support/catch.hpp"

namespace {

std::string shortened(std::string_view full) { return rota::detail::function_name(full).c_str(); }

struct server {
  template <class T>
  static std::string name(T, std::source_location at = std::source_location::current()) {
    return shortened(at.function_name());
  }
  std::string run(int) const { return name(*this); }
  std::string operator()(int) const { return name(1); }
};
template <class T>
struct box {
  std::string open() { return server::name(T()); }
};

}  // namespace

TEST_CASE("a function's name is what it is without return type, parameters and template arguments") {
  REQUIRE(server().run(1) == "server::run");
  REQUIRE(box<std::string>().open() == "box::open");
  REQUIRE(server()(1) == "server::operator()");
  const auto lambda = [](auto x) { return server::name(x); };
  REQUIRE(lambda(std::string()).starts_with("a lambda in "));
}

TEST_CASE("the names of coroutines, as GCC and clang give them, are shortened as well") {
  // GCC 12, at an await: the function that runs the frame.
  REQUIRE(shortened("void app::{anonymous}::plain(plain(int, std::string)::_ZN3app5plainEi.Frame*)") == "app::plain");
  REQUIRE(shortened("void box<std::vector<int> >::go(box<std::vector<int> >::go()::_ZN3box2goEv.Frame*)") == "box::go");
  REQUIRE(shortened("void f()::<lambda(int)>::operator()(f()::<lambda(int)>::_ZZ1fvENKUliE_clEi.Frame*)") ==
          "a lambda in f");
  REQUIRE(shortened("void f(f()::_Z1fv.Frame*)::<lambda(auto:7)>::operator()(f(f()::_Z1fv.Frame*)::<lambda(auto:7)>"
                    "::_ZZ1fvE.Frame*)") == "a lambda in f");
  REQUIRE(shortened("void s::operator()(s::operator()(int)::_ZN1sclEi.Frame*)") == "s::operator()");
  REQUIRE(shortened("void s::serve<main()::<lambda()> >(serve<main()::<lambda()> >(int)::_ZN1s.Frame*)") == "s::serve");
  REQUIRE(shortened(
              "static rota::task<decltype (f(declval<int>()))> a::b::run(F, int) [with F = main()::<lambda(int&)>]") ==
          "a::b::run");
  REQUIRE(shortened("<lambda(int)>") == "a lambda");
  // clang
  REQUIRE(shortened("rota::task<std::pair<int, long>> app::(anonymous namespace)::pair(T) [T = int]") == "app::pair");
  REQUIRE(shortened("auto f()::(anonymous class)::operator()(auto) const [auto:1 = int]") == "a lambda in f");
  REQUIRE(shortened("auto (anonymous class)::operator()(int) const") == "a lambda");
  REQUIRE(shortened("const int *pointer(int)") == "pointer");
}

TEST_CASE("whatever stands there, the short name ends, and is not longer than 127 characters") {
  for (const char* odd :
       {"", "(", ")", "<", ">>>", "f(", "f(()", "operator()", "::", " [", "a<b(c>d)", "int x::(lambda at"})
    REQUIRE(shortened(odd).size() <= 127);
  REQUIRE(shortened("void " + std::string(1000, 'x') + "()").size() == 127);
  REQUIRE(shortened("void " + std::string(1000, 'x') + "()::<lambda()>").size() == 127);
}
