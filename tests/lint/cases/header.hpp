// A header is checked by itself; a template in it too, although nobody instantiates it here.
#pragma once

#include "common.hpp"

inline task<int> in_a_header(std::string s) {
  co_return co_await call([s] { return 7; });  // finds: closure-temporary
}
template <class T>
task<T> template_in_a_header() {
  if (co_await get_bool()) co_return T(1);  // finds: await-in-condition
  co_return T(0);
}
