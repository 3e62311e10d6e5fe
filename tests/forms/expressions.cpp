// co_await inside every kind of expression, initialiser and loop head.
#include <array>
#include <memory>
#include <optional>
#include <tuple>

#include "form.hpp"

task<std::vector<int>> gv() {
  co_await suspend_once{};
  co_return std::vector<int>{1, 2, 4};
}
task<std::pair<int, tracked>> gp() {
  co_await suspend_once{};
  co_return std::pair<int, tracked>(3, tracked(4));
}
task<std::unique_ptr<tracked>> gu() {
  co_await suspend_once{};
  auto p = std::make_unique<tracked>(7);
  co_return p;
}

FORM(tern_int) {
  bool b = co_await later_bool(true);
  co_return b ? co_await later_int(7) : co_await later_int(1);
}

FORM(tern_cls) {
  bool b = co_await later_bool(false);
  tracked t = b ? co_await later_tracked(1) : co_await later_tracked(7);
  co_return t.v;
}

FORM(tern_mixed) {
  bool b = co_await later_bool(false);
  tracked t = b ? tracked(1) : co_await later_tracked(7);
  co_return t.v;
}

FORM(tern_arg) {
  bool b = co_await later_bool(false);
  auto f = [](tracked t) { return t.v; };
  co_return f(b ? co_await later_tracked(1) : co_await later_tracked(7));
}

FORM(tern_str) {
  bool b = co_await later_bool(true);
  std::string s = b ? co_await later_string("1234567") : std::string("x");
  co_return int(s.size());
}

FORM(and_or) {
  int n = 0;
  if (co_await later_bool(true) && co_await later_bool(true)) n += 3;
  if (co_await later_bool(false) && co_await later_bool(true)) n += 100;
  if (co_await later_bool(false) || co_await later_bool(true)) n += 4;
  co_return n;
}

FORM(cond_while) {
  int i = 0;
  while (co_await later_int(i) < 7) ++i;
  co_return i;
}

FORM(cond_for) {
  int s = 0;
  for (int i = 0; i < co_await later_int(7); ++i) ++s;
  co_return s;
}

FORM(cond_for_t) {
  int s = 0;
  for (int i = co_await later_int(0); i < (co_await later_tracked(7)).v; i += co_await later_int(1)) ++s;
  co_return s;
}

FORM(cond_do) {
  int i = 0;
  do {
    ++i;
  } while ((co_await later_tracked(i)).v < 7);
  co_return i;
}

FORM(cond_sw) {
  switch (co_await later_int(2)) {
    case 1: co_return 1;
    case 2: {
      co_await suspend_once{};
      co_return 7;
    }
    default: co_return 0;
  }
}

FORM(if_init) {
  if (auto t = co_await later_tracked(7); t.v == 7)
    co_return t.v;
  else
    co_return 0;
}

FORM(if_decl) {
  if (auto p = co_await gu()) co_return p->v;
  co_return 0;
}

FORM(sbind) {
  auto [a, b] = co_await gp();
  co_await suspend_once{};
  co_return a + b.v;
}

FORM(sbind_ref) {
  auto&& [a, b] = co_await gp();
  co_await suspend_once{};
  co_return a + b.v;
}

FORM(rfor) {
  int s = 0;
  for (int x : co_await gv()) {
    co_await suspend_once{};
    s += x;
  }
  co_return s;
}

FORM(rfor_named) {
  int s = 0;
  auto v = co_await gv();
  for (int x : v) {
    co_await suspend_once{};
    s += x;
  }
  co_return s;
}

FORM(rfor_body) {
  int s = 0;
  for (int x : std::vector<int>{1, 2, 4}) s += co_await later_int(x);
  co_return s;
}

FORM(rfor_init) {
  int s = 0;
  for (int x : {1, 2, 4}) s += co_await later_int(x);
  co_return s;
}

FORM(rfor_tr) {
  int s = 0;
  std::vector<tracked> v;
  v.reserve(3);
  v.emplace_back(3);
  v.emplace_back(4);
  for (auto& t : v) {
    s += (co_await later_tracked(t.v)).v;
  }
  co_return s;
}

FORM(rfor_tr_il) {
  int s = 0;
  for (auto& t : {tracked(3), tracked(4)}) {
    s += (co_await later_tracked(t.v)).v;
  }
  co_return s;
}

FORM(vec_init) {
  std::vector<int> v{co_await later_int(1), co_await later_int(2), co_await later_int(4)};
  int s = 0;
  for (int x : v) s += x;
  co_return s;
}

FORM(vec_init_t) {
  std::vector<tracked> v{co_await later_tracked(3), co_await later_tracked(4)};
  int s = 0;
  for (auto& x : v) s += x.v;
  co_return s;
}

FORM(vec_init_m) {
  std::vector<tracked> v{tracked(3), co_await later_tracked(4)};
  int s = 0;
  for (auto& x : v) s += x.v;
  co_return s;
}

FORM(arr_init) {
  std::array<int, 3> v{co_await later_int(1), co_await later_int(2), co_await later_int(4)};
  co_return v[0] + v[1] + v[2];
}

FORM(arr_init_t) {
  std::array<tracked, 2> v{co_await later_tracked(3), co_await later_tracked(4)};
  co_return v[0].v + v[1].v;
}

FORM(carr_init) {
  int v[3] = {co_await later_int(1), co_await later_int(2), co_await later_int(4)};
  co_return v[0] + v[1] + v[2];
}

FORM(agg_init) {
  struct A {
    int a;
    tracked t;
  };
  A x{co_await later_int(3), co_await later_tracked(4)};
  co_return x.a + x.t.v;
}

FORM(pair_init) {
  std::pair<int, tracked> x{co_await later_int(3), co_await later_tracked(4)};
  co_return x.first + x.second.v;
}

FORM(il_arg) {
  auto f = [](std::vector<std::string> v) -> task<int> {
    co_await suspend_once{};
    co_return (int)(v[0].size() + v[1].size());
  };
  co_return co_await f({std::string("abc"), std::string("defg")});
}

FORM(il_arg_tr) {
  auto f = [](std::vector<tracked> v) -> task<int> {
    co_await suspend_once{};
    co_return v[0].v + v[1].v;
  };
  co_return co_await f({tracked(3), tracked(4)});
}

FORM(il_list) {
  auto f = [](std::initializer_list<tracked> v) -> task<int> {
    int s = 0;
    co_await suspend_once{};
    for (auto& x : v) {
      x.check();
      s += x.v;
    }
    co_return s;
  };
  co_return co_await f({tracked(3), tracked(4)});
}

FORM(args2) {
  auto f = [](int a, tracked b) { return a + b.v; };
  co_return f(co_await later_int(3), co_await later_tracked(4));
}

FORM(compound) {
  int s = 3;
  s += co_await later_int(4);
  co_return s;
}

FORM(index) {
  int a[4] = {0, 0, 0, 7};
  co_return a[co_await later_int(3)];
}

FORM(index_l) {
  std::vector<int> a(4);
  a[co_await later_int(3)] = co_await later_int(7);
  co_return a[3];
}

FORM(co_ret_co) { co_return co_await later_int(7); }

FORM(member) { co_return (co_await later_tracked(7)).v; }

FORM(memcall) { co_return (int)(co_await later_string("1234567")).size(); }

FORM(ref_bind) {
  const tracked& t = co_await later_tracked(7);
  co_await suspend_once{};
  t.check();
  co_return t.v;
}

FORM(rref_bind) {
  tracked&& t = co_await later_tracked(7);
  co_await suspend_once{};
  t.check();
  co_return t.v;
}

FORM(throw_aw) {
  try {
    throw co_await later_int(7);
  } catch (int x) {
    co_return x;
  }
}

FORM(try_aw) {
  try {
    tracked t(1);
    (void)co_await later_tracked(3);
    throw 7;
  } catch (int x) {
    co_return x;
  }
}

FORM(catch_ret) {
  int e = 0;
  try {
    tracked t(1);
    co_await suspend_once{};
    throw tracked(7);
  } catch (tracked& t) {
    e = t.v;
  }
  co_await suspend_once{};
  co_return e;
}

FORM(nested_try) {
  int e = 0;
  try {
    try {
      tracked t(1);
      co_await suspend_once{};
      throw 1;
    } catch (...) {
      tracked u(2);
      throw;
    }
  } catch (int) {
    e = 7;
  }
  co_await suspend_once{};
  co_return e;
}

template <class... Ts>
task<int> fold_plus(Ts... ts) {
  co_return (0 + ... + co_await std::move(ts));
}
template <class... Ts>
task<int> fold_comma(Ts... ts) {
  int s = 0;
  ((s += co_await std::move(ts)), ...);
  co_return s;
}
template <class... Ts>
task<int> pack_tuple(Ts... ts) {
  auto t = std::tuple<Ts...>(std::move(ts)...);
  co_await suspend_once{};
  co_return std::apply([](auto&... x) { return (0 + ... + x.v); }, t);
}
template <class... Ts>
task<int> pack_await_tuple(Ts... ts) {
  std::tuple t{co_await std::move(ts)...};
  co_return std::apply([](auto... x) { return (0 + ... + x); }, t);
}
template <class... Ts>
task<int> pack_call(Ts... ts) {
  auto f = [](auto... x) { return (0 + ... + x); };
  co_return f(co_await std::move(ts)...);
}

FORM(p_fold) { co_return co_await fold_plus(later_int(1), later_int(2), later_int(4)); }

FORM(p_comma) { co_return co_await fold_comma(later_int(1), later_int(2), later_int(4)); }

FORM(p_tuple) { co_return co_await pack_tuple(tracked(3), tracked(4)); }

FORM(p_awtuple) { co_return co_await pack_await_tuple(later_int(1), later_int(2), later_int(4)); }

FORM(p_call) { co_return co_await pack_call(later_int(1), later_int(2), later_int(4)); }

FORM(cons_local) {
  static constexpr int k[3] = {1, 2, 4};
  constexpr int z = 7;
  co_await suspend_once{};
  co_return k[0] + k[1] + k[2] + z - 7;
}

FORM(static_loc) {
  static std::string s = "1234567";
  co_await suspend_once{};
  co_return int(s.size());
}

FORM(local_cls) {
  struct L {
    tracked t{7};
    int get() { return t.v; }
  };
  L l;
  co_await suspend_once{};
  co_return l.get();
}

FORM(il_lambda) {
  int x = 3;
  auto l = [&]() -> task<int> {
    co_await suspend_once{};
    co_return x + 4;
  };
  co_return co_await l();
}

FORM(gen_lambda) {
  auto l = [](auto a, auto... r) -> task<int> {
    co_await suspend_once{};
    co_return (a + ... + r);
  };
  co_return co_await l(1, 2, 4);
}

FORM(opt_val) {
  std::optional<tracked> o;
  o.emplace(3);
  co_await suspend_once{};
  o = co_await later_tracked(7);
  co_return o->v;
}

FORM(cast_aw) { co_return static_cast<int>(static_cast<long>(co_await later_int(7))); }

FORM(comma_aw) { co_return (co_await later_int(1), co_await later_int(7)); }

FORM(neg_aw) { co_return -(co_await later_int(-7)); }

FORM(new_aw) {
  std::unique_ptr<tracked> p(new tracked(co_await later_int(7)));
  co_return p->v;
}

FORM(mkuniq_aw) {
  auto p = std::make_unique<tracked>(co_await later_int(7));
  co_return p->v;
}

FORM(aw_sizeof) { co_return 7 + 0 * (int)sizeof(decltype(later_int(1))); }

FORM(goto_loop) {
  int i = 0;
again:
  co_await suspend_once{};
  if (++i < 7) goto again;
  co_return i;
}

FORM(move_ret) {
  auto p = std::make_unique<tracked>(7);
  co_await suspend_once{};
  auto f = [](std::unique_ptr<tracked> q) -> task<std::unique_ptr<tracked>> { co_return q; };
  auto r = co_await f(std::move(p));
  co_return r->v;
}

int main(int argc, char** argv) { return forms_main(argc, argv, run_to_the_end); }
