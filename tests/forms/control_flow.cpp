// switch, try, loops, scopes and member functions around suspensions.
#include <functional>
#include <memory>
#include <optional>

#include "form.hpp"

enum class E { a, b, c };
task<E> ge(E x) {
  co_await suspend_once{};
  co_return x;
}
task<int> boom() {
  co_await suspend_once{};
  throw std::string("boom");
  co_return 1;
}

FORM(sw_await_cond) {
  int r = 0;
  switch (co_await later_int(2)) {
    case 1: r = 1; break;
    case 2: r = 7; break;
    default: r = 3;
  }
  co_return r;
}

FORM(sw_named_body) {
  int k = co_await later_int(2);
  int r = 0;
  switch (k) {
    case 1: r = 1; break;
    case 2:
      co_await suspend_once{};
      r = 7;
      break;
    default: r = 3;
  }
  co_return r;
}

FORM(sw_named_ret) {
  int k = co_await later_int(2);
  switch (k) {
    case 1: co_return 1;
    case 2: {
      co_await suspend_once{};
      co_return 7;
    }
    default: co_return 0;
  }
}

FORM(sw_named_cret) {
  int k = co_await later_int(2);
  switch (k) {
    case 1: co_return 1;
    case 2: co_return 7;
    default: co_return 0;
  }
}

FORM(sw_cond_cret) {
  switch (co_await later_int(2)) {
    case 1: co_return 1;
    case 2: co_return 7;
    default: co_return 0;
  }
}

FORM(sw_enum) {
  switch (co_await ge(E::b)) {
    case E::a: co_return 1;
    case E::b: co_return 7;
    case E::c: co_return 3;
  }
  co_return 0;
}

FORM(sw_cond_body) {
  int r = 0;
  switch (co_await later_int(2)) {
    case 1: r = 1; break;
    case 2: r = co_await later_int(7); break;
    default: r = 3;
  }
  co_return r;
}

FORM(sw_loop) {
  int r = 0;
  for (int i = 0; i < 3; ++i) switch (i) {
      case 0: co_await suspend_once{}; continue;
      case 1: r += co_await later_int(3); break;
      case 2: r += co_await later_int(4); break;
    }
  co_return r;
}

FORM(sw_tr) {
  tracked t(3);
  int k = 1;
  switch (k) {
    case 1: {
      tracked u(4);
      co_await suspend_once{};
      co_return t.v + u.v;
    }
    default: co_return 0;
  }
}

FORM(exc_locals) {
  try {
    tracked a(1);
    tracked b(2);
    (void)co_await boom();
  } catch (std::string&) {
    co_return 7;
  }
  co_return 0;
}

FORM(exc_temp) {
  auto f = [](const tracked& t, int x) { return t.v + x; };
  try {
    co_return f(tracked(1), co_await boom());
  } catch (std::string&) {
    co_return 7;
  }
  co_return 0;
}

FORM(exc_in_catch2) {
  int n = 0;
  for (int i = 0; i < 7; ++i) {
    try {
      (void)co_await boom();
    } catch (std::string& s) {
      n += s.size() == 4;
    }
  }
  co_return n;
}

FORM(exc_ptr_await) {
  std::exception_ptr e;
  try {
    (void)co_await boom();
  } catch (...) {
    e = std::current_exception();
  }
  int r = co_await later_int(7);
  if (!e) co_return 0;
  co_return r;
}

FORM(break_tr) {
  int s = 0;
  for (;;) {
    tracked t(7);
    co_await suspend_once{};
    s = t.v;
    if (s == 7) break;
  }
  co_return s;
}

FORM(cont_tr) {
  int s = 0;
  for (int i = 0; i < 8; ++i) {
    tracked t(i);
    co_await suspend_once{};
    if (i == 0) continue;
    ++s;
  }
  co_return s;
}

FORM(ret_in_for_tr) {
  for (int i = 0; i < 8; ++i) {
    tracked t(i);
    co_await suspend_once{};
    if (i == 7) co_return t.v;
  }
  co_return 0;
}

FORM(scope_shadow) {
  int v = 3;
  {
    int v = co_await later_int(2);
    {
      int v = co_await later_int(1);
      (void)v;
    }
    (void)v;
  }
  co_return v + 4;
}

FORM(shadow_cls) {
  tracked v(3);
  {
    tracked v(2);
    co_await suspend_once{};
    {
      tracked v(1);
      co_await suspend_once{};
      v.check();
    }
    v.check();
  }
  v.check();
  co_return v.v + 4;
}

FORM(if_else_await) {
  if (co_await later_int(0))
    co_return 1;
  else if (co_await later_int(0))
    co_return 2;
  else if (co_await later_int(1))
    co_return 7;
  co_return 0;
}

FORM(if_cls_cond) {
  if ((co_await later_tracked(7)).v == 7) {
    co_await suspend_once{};
    co_return 7;
  }
  co_return 0;
}

FORM(while_cls) {
  int n = 0;
  while ((co_await later_tracked(n)).v < 7) {
    tracked t(1);
    co_await suspend_once{};
    ++n;
  }
  co_return n;
}

FORM(lambda_in_coro) {
  int n = 0;
  auto inc = [&n](int k) { n += k; };
  inc(3);
  co_await suspend_once{};
  inc(4);
  co_return n;
}

FORM(lambda_uncap) {
  int n = co_await later_int(3);
  auto g = [n, t = tracked(4)] { return n + t.v; };
  co_await suspend_once{};
  co_return g();
}

FORM(stdfn_local) {
  std::function<int()> f = [t = tracked(7)] { return t.v; };
  co_await suspend_once{};
  co_return f();
}

FORM(uptr_lambda) {
  auto p = std::make_unique<tracked>(7);
  auto g = [p = std::move(p)] { return p->v; };
  co_await suspend_once{};
  co_return g();
}

struct S {
  tracked t{7};
  task<int> m(int k) {
    co_await suspend_once{};
    co_return t.v + k;
  }
  task<int> cm() const {
    co_await suspend_once{};
    co_return t.v;
  }
  template <class U>
  task<int> tm(U u) {
    co_await suspend_once{};
    co_return t.v + (int)u;
  }
};

FORM(memfn) {
  S s;
  co_return co_await s.m(0);
}

FORM(memfn_c) {
  const S s;
  co_return co_await s.cm();
}

FORM(memfn_t) {
  S s;
  co_return co_await s.tm(0.0);
}

FORM(memfn_tmp) { co_return co_await S().m(0); }

FORM(nested_tasks) {
  auto t = [](int d, auto self) -> task<int> {
    if (d == 0) co_return 7;
    co_return co_await self(d - 1, self);
  };
  co_return co_await t(20, t);
}

FORM(asm_vol) {
  volatile int z = 7;
  co_await suspend_once{};
  co_return z;
}

FORM(arr_local) {
  int a[64];
  for (int i = 0; i < 64; ++i) a[i] = i;
  co_await suspend_once{};
  co_return a[7];
}

FORM(arr_tr_local) {
  tracked a[3] = {tracked(1), tracked(2), tracked(4)};
  co_await suspend_once{};
  co_return a[0].v + a[1].v + a[2].v;
}

FORM(agg_local) {
  struct A {
    tracked a;
    int b;
    std::string c;
  };
  A x{tracked(3), 4, "x"};
  co_await suspend_once{};
  co_return x.a.v + x.b;
}

FORM(agg_assign) {
  struct A {
    tracked a;
    int b;
  };
  A x{tracked(1), 4};
  x.a = co_await later_tracked(3);
  co_return x.a.v + x.b;
}

FORM(opt_ret_agg) {
  struct A {
    tracked a;
    int b;
  };
  auto mk = [](int n) { return A{tracked(n), 4}; };
  std::optional<A> o;
  o.emplace(mk(3));
  co_await suspend_once{};
  co_return o->a.v + o->b;
}

int main(int argc, char** argv) { return forms_main(argc, argv, run_to_the_end); }
