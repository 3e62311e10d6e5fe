// Each of these is destroyed before its first step and at each of its suspensions.
#include <optional>

#include "form.hpp"

task<std::pair<int, tracked>> gp() {
  co_await suspend_once{};
  co_return std::pair<int, tracked>(3, tracked(4));
}
struct holder_c {
  tracked t;
  holder_c(tracked x) : t(std::move(x)) {}
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { resume_later(h); }
  int await_resume() {
    t.check();
    return t.v;
  }
};
struct tval {
  tracked t;
  tval(tracked x) : t(std::move(x)) {}
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { resume_later(h); }
  tracked await_resume() { return std::move(t); }
};

FORM(d_never) {
  tracked a(1);
  co_await suspend_once{};
  co_return a.v;
}

FORM(d_local) {
  tracked a(1);
  co_await suspend_once{};
  {
    tracked b(2);
    co_await suspend_once{};
  }
  tracked c(3);
  co_await suspend_once{};
  co_return a.v;
}

FORM(d_temp_ref) { co_return co_await take_reference(tracked(7)); }

FORM(d_temp_val) { co_return co_await take_value(tracked(7)); }

FORM(d_aw) { co_return co_await holder_c(tracked(7)); }

FORM(d_sbind) {
  auto [a, b] = co_await gp();
  co_await suspend_once{};
  co_return a + b.v;
}

FORM(d_sbind_ref) {
  auto&& [a, b] = co_await gp();
  co_await suspend_once{};
  co_return a + b.v;
}

FORM(d_ref_bind) {
  const tracked& t = co_await later_tracked(7);
  co_await suspend_once{};
  co_return t.v;
}

FORM(d_try) {
  try {
    tracked a(1);
    co_await suspend_once{};
    throw 1;
  } catch (int) {
  }
  tracked b(2);
  co_await suspend_once{};
  co_return b.v;
}

FORM(d_nest) {
  tracked a(1);
  int x = co_await take_value(tracked(2));
  tracked b(3);
  x += co_await take_value(tracked(4));
  co_return x;
}

FORM(d_args) {
  auto f = [](tracked a, int b, tracked c, int d) { return a.v + b + c.v + d; };
  co_return f(tracked(1), co_await later_int(2), tracked(3), co_await later_int(4));
}

FORM(d_args_t) {
  auto f = [](tracked a, tracked b) { return a.v + b.v; };
  co_return f(co_await tval(tracked(1)), co_await tval(tracked(2)));
}

FORM(d_loop) {
  for (int i = 0; i < 4; ++i) {
    tracked t(i);
    co_await suspend_once{};
  }
  co_return 7;
}

FORM(d_for_init) {
  for (tracked t(0); t.v < 4; ++t.v) {
    co_await suspend_once{};
  }
  co_return 7;
}

FORM(d_ranged) {
  std::vector<tracked> v;
  v.reserve(3);
  v.emplace_back(1);
  v.emplace_back(2);
  for (tracked& t : v) {
    tracked u(t.v);
    co_await suspend_once{};
  }
  co_return 7;
}

FORM(d_if_init) {
  if (tracked t(1); t.v) {
    tracked u(2);
    co_await suspend_once{};
  } else {
    co_await suspend_once{};
  }
  co_return 7;
}

FORM(d_opt) {
  std::optional<tracked> o;
  co_await suspend_once{};
  o.emplace(3);
  co_await suspend_once{};
  o.reset();
  co_await suspend_once{};
  co_return 7;
}

FORM(d_while_c) {
  int n = 0;
  while ((co_await later_tracked(n)).v < 3) {
    tracked t(1);
    co_await suspend_once{};
    ++n;
  }
  co_return n;
}

FORM(d_logic) {
  int n = 0;
  if ((co_await later_tracked(1)).v && (co_await later_tracked(2)).v) {
    tracked t(3);
    co_await suspend_once{};
    n = 7;
  }
  co_return n;
}

FORM(d_param) {
  auto f = [](tracked a, tracked b) -> task<int> {
    co_await suspend_once{};
    co_return a.v + b.v;
  };
  auto t = f(tracked(1), tracked(2));
  tracked z(3);
  co_return co_await std::move(t);
}

FORM(d_late_init) {
  co_await suspend_once{};
  tracked a(co_await later_int(1));
  tracked b(co_await later_int(2));
  co_return a.v + b.v;
}

int main(int argc, char** argv) { return forms_main(argc, argv, destroy_at_every_suspension); }
