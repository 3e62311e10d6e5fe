// expect: this GCC destroys a lambda that owns something twice when it is written inside a co_await expression
// only: GNU 12\.[0-2]
#include <string>

#include <rota/generator/adaptors.hpp>
#include <rota/generator/async_generator.hpp>

rota::async_generator<std::string> words();

rota::task<> work(std::string suffix) {
  (void)co_await rota::collect(words() | rota::map([suffix](std::string word) { return word + suffix; }));
}
