#include "common.hpp"

task<int> with_a_reason(std::string s) {
  co_return co_await call([s] { return 7; });  // rota-lint: allow(closure-temporary) built with clang only
}
task<int> without_a_reason(std::string s) {
  // finds below: closure-temporary
  co_return co_await call([s] { return 7; });  // rota-lint: allow(closure-temporary)
}
task<int> another_rule(std::string s) {
  // finds below: closure-temporary
  co_return co_await call([s] { return 7; });  // rota-lint: allow(conditional-operator) not this one
}
