// co_await in the condition of if, switch and loops, with and without a local variable in the coroutine.
#include "form.hpp"

FORM(if_ret) {
  if (co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(if_ret_blk) {
  if (co_await ready{1}) {
    co_return 7;
  }
  co_return 0;
}

FORM(if_else) {
  if (co_await ready{1})
    co_return 7;
  else
    co_return 0;
}

FORM(if_outer_local) {
  int x = 0;
  if (co_await ready{1}) co_return 7;
  co_return x;
}

FORM(if_prestmt) {
  (void)0;
  if (co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(if_preaw) {
  co_await ready{1};
  if (co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(if_blk) {
  {
    if (co_await ready{1}) co_return 7;
  }
  co_return 0;
}

FORM(if_named) {
  int k = co_await ready{1};
  if (k) co_return 7;
  co_return 0;
}

FORM(if_own_local) {
  if (int k = co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(if_own_local2) {
  if (int k = co_await ready{1}; k) co_return 7;
  co_return 0;
}

FORM(sw) {
  switch (co_await ready{2}) {
    case 2: co_return 7;
    default: co_return 0;
  }
}

FORM(sw_break) {
  switch (co_await ready{2}) {
    case 2: break;
    default: co_return 0;
  }
  co_return 7;
}

FORM(sw_decl) {
  int r = 7;
  switch (co_await ready{2}) {
    case 2: co_return r;
    default: co_return 0;
  }
}

FORM(sw_preaw) {
  co_await ready{1};
  switch (co_await ready{2}) {
    case 2: co_return 7;
    default: co_return 0;
  }
}

FORM(wh) {
  while (co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(wh_decl) {
  int r = 7;
  while (co_await ready{1}) co_return r;
  co_return 0;
}

FORM(dw) {
  do {
  } while (!co_await ready{1});
  co_return 7;
}

FORM(fr) {
  for (; co_await ready{1};) co_return 7;
  co_return 0;
}

FORM(if_not) {
  if (!(co_await ready{0})) co_return 7;
  co_return 0;
}

FORM(if_and) {
  if (co_await ready{1} && co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(ret_tern) { co_return co_await ready{1} ? 7 : 0; }

FORM(expr_only) {
  co_await ready{1};
  co_return 7;
}

FORM(if_throw) {
  if (co_await ready{0}) throw 1;
  co_return 7;
}

FORM(if_aw_body) {
  if (co_await ready{1}) co_await ready{1};
  co_return 7;
}

FORM(ret_if_lam) {
  auto l = []() -> task<int> {
    if (co_await ready{1}) co_return 7;
    co_return 0;
  };
  co_return co_await l();
}

template <class T>
static task<T> tmpl_if() {
  if (co_await ready{1}) co_return 7;
  co_return 0;
}
static task<int> if_tmpl() { return tmpl_if<int>(); }
FORM_FUNCTION(if_tmpl);

static task<int> if_param(int x) {
  if (co_await ready{x}) co_return 7;
  co_return 0;
}
static task<int> if_parm() { return if_param(1); }
FORM_FUNCTION(if_parm);

FORM(two_returns) {
  if (co_await ready{0}) co_return 1;
  if (co_await ready{0}) co_return 2;
  co_return 7;
}

FORM(w_for_decl) {
  for (;;) {
    int k = co_await ready{1};
    if (k) co_return 7;
  }
}

FORM(w_wh_if) {
  while (true) {
    if (co_await ready{1}) co_return 7;
  }
}

FORM(w_try_if) {
  try {
    if (co_await ready{1}) co_return 7;
  } catch (...) {
  }
  co_return 0;
}

FORM(w_if_flag) {
  if (std::getenv("PATH")) {
    co_await ready{1};
  }
  co_return 7;
}

FORM(w_if_flag2) {
  if (std::getenv("PATH")) co_return co_await ready{7};
  co_return 0;
}

FORM(w_for_init) {
  for (int i = 0; i < co_await ready{3}; ++i) {
  }
  co_return 7;
}

FORM(w_for_init2) {
  for (int i = 0; i < 3; ++i) {
    if (co_await ready{0}) co_return 1;
  }
  co_return 7;
}

FORM(w_rfor) {
  for (int x : {1, 2, 3}) {
    if (co_await ready{x == 9}) co_return 1;
  }
  co_return 7;
}

FORM(w_scope) {
  {
    int k = 7;
    if (co_await ready{1}) co_return k;
  }
  co_return 0;
}

FORM(w_ret_neg) {
  if (co_await ready{1}) {
    int k = 7;
    co_await ready{1};
    co_return k;
  }
  co_return 0;
}

FORM(w_late_decl) {
  if (co_await ready{0}) co_return 1;
  int k = 7;
  co_await ready{1};
  co_return k;
}

FORM(w_unused) {
  [[maybe_unused]] int _ = 0;
  if (co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(w_static) {
  static int z = 0;
  if (co_await ready{1}) co_return 7 + z;
  co_return 0;
}

FORM(w_constexpr) {
  constexpr int z = 0;
  if (co_await ready{1}) co_return 7 + z;
  co_return 0;
}

FORM(w_typedef) {
  using q = int;
  if (co_await ready{1}) co_return q(7);
  co_return 0;
}

FORM(w_struct_loc) {
  struct q {};
  if (co_await ready{1}) co_return 7;
  co_return 0;
}

struct SS {
  int z = 7;
  task<int> m() {
    if (co_await ready{1}) co_return z;
    co_return 0;
  }
};
static task<int> w_memfn() {
  static SS s;
  return s.m();
}
FORM_FUNCTION(w_memfn);

static task<int> w_lamcap() {
  static int y = 7;
  static auto l = [&]() -> task<int> {
    if (co_await ready{1}) co_return y;
    co_return 0;
  };
  return l();
}
FORM_FUNCTION(w_lamcap);

static task<int> lamp(std::string s) {
  if (co_await ready{1}) co_return int(s.size());
  co_return 0;
}
static task<int> w_nt_param() { return lamp("1234567"); }
FORM_FUNCTION(w_nt_param);

int main(int argc, char** argv) { return forms_main(argc, argv, run_to_the_end); }
