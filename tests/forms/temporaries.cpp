// Lambdas, aggregates and awaiters as temporaries of an expression that awaits, and the ways round them.
#include <array>
#include <functional>
#include <memory>
#include <optional>

#include "form.hpp"

template <class F>
task<int> by_rref(F&& f) {
  co_await suspend_once{};
  co_return f();
}
// An aggregate of options, and those that are none further down.
struct opts {
  int a = 1;
  tracked t{};
  std::string tag = {};
};
task<int> ov(opts o) {
  co_await suspend_once{};
  o.t.check();
  co_return o.a + o.t.v + int(o.tag.size());
}
task<int> ocr(const opts& o) {
  co_await suspend_once{};
  o.t.check();
  co_return o.a + o.t.v + int(o.tag.size());
}
struct trivial_opts {
  int a = 1;
  long b = 2;
  const char* c = "";
};
task<int> tov(trivial_opts o) {
  co_await suspend_once{};
  co_return o.a + (int)o.b;
}
// Awaiters: an aggregate, with a constructor, not movable.
struct holder {
  tracked t;
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { resume_later(h); }
  int await_resume() {
    t.check();
    return t.v;
  }
};
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
struct holder_nm {
  tracked t;
  holder_nm(tracked x) : t(std::move(x)) {}
  holder_nm(const holder_nm&) = delete;
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { resume_later(h); }
  int await_resume() {
    t.check();
    return t.v;
  }
};
holder mk(tracked t) { return holder{std::move(t)}; }
holder_nm mknm(tracked t) { return holder_nm(std::move(t)); }
template <class F>
struct fn_aw {
  F f;
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { resume_later(h); }
  auto await_resume() { return f(); }
};
template <class F>
fn_aw(F) -> fn_aw<F>;
template <class F>
struct fn_awc {
  F f;
  explicit fn_awc(F x) : f(std::move(x)) {}
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { resume_later(h); }
  auto await_resume() { return f(); }
};
template <class F>
fn_awc<F> mkf(F f) {
  return fn_awc<F>(std::move(f));
}
int plain(tracked t) {
  t.check();
  return t.v;
}

FORM(lam_val) {
  co_return co_await by_value([t = tracked(7)] {
    t.check();
    return t.v;
  });
}

FORM(lam_val_mv) {
  tracked x(7);
  co_return co_await by_value([t = std::move(x)] {
    t.check();
    return t.v;
  });
}

FORM(lam_ref) {
  co_return co_await by_ref([t = tracked(7)] {
    t.check();
    return t.v;
  });
}

FORM(lam_rref) {
  co_return co_await by_rref([t = tracked(7)] {
    t.check();
    return t.v;
  });
}

FORM(lam_named) {
  auto l = [t = tracked(7)] {
    t.check();
    return t.v;
  };
  co_return co_await by_value(std::move(l));
}

FORM(lam_stdfn) {
  co_return co_await by_value(std::function<int()>([t = tracked(7)] {
    t.check();
    return t.v;
  }));
}

FORM(lam_aw_agg) {
  co_return co_await fn_aw{[t = tracked(7)] {
    t.check();
    return t.v;
  }};
}

FORM(lam_aw_ctor) {
  co_return co_await fn_awc([t = tracked(7)] {
    t.check();
    return t.v;
  });
}

FORM(lam_aw_mk) {
  co_return co_await mkf([t = tracked(7)] {
    t.check();
    return t.v;
  });
}

FORM(tv_temp) { co_return co_await take_value(tracked(7)); }

FORM(tv_paren_t) {
  auto t = take_value(tracked(7));
  co_return co_await std::move(t);
}

FORM(tcr_temp) { co_return co_await take_reference(tracked(7)); }

FORM(ov_braced) { co_return co_await ov({7, tracked(0), ""}); }

FORM(ov_agg) { co_return co_await ov(opts{7, tracked(0), ""}); }

FORM(ov_desig) { co_return co_await ov({.a = 7, .t = tracked(0), .tag = {}}); }

FORM(ov_default) { co_return 6 + co_await ov({}); }

FORM(ocr_agg) { co_return co_await ocr(opts{7, tracked(0), ""}); }

FORM(ocr_desig) { co_return co_await ocr({.a = 7, .t = tracked(0), .tag = {}}); }

FORM(ov_named) {
  opts o{7, tracked(0), ""};
  co_return co_await ov(std::move(o));
}

FORM(tov_desig) { co_return co_await tov({.a = 5, .b = 2}); }

FORM(aw_agg) { co_return co_await holder{tracked(7)}; }

FORM(aw_agg2) { co_return co_await holder{{7}}; }

FORM(aw_ctor) { co_return co_await holder_c(tracked(7)); }

FORM(aw_mk) { co_return co_await mk(tracked(7)); }

FORM(aw_nm) { co_return co_await holder_nm(tracked(7)); }

FORM(aw_mknm) { co_return co_await mknm(tracked(7)); }

FORM(aw_lvalue) {
  holder_nm h(tracked(7));
  co_return co_await h;
}

FORM(aw_xvalue) {
  holder_c h(tracked(7));
  co_return co_await std::move(h);
}

FORM(mixed_args) {
  auto f = [](int a, tracked t, int b) {
    t.check();
    return a + b + t.v;
  };
  co_return f(co_await holder{tracked(1)}, tracked(2), co_await holder{tracked(4)});
}

FORM(nest) { co_return plain(tracked(co_await take_value(tracked(co_await take_value(tracked(7)))))); }

FORM(uptr_arg) {
  auto f = [](std::unique_ptr<tracked> p) -> task<int> {
    co_await suspend_once{};
    co_return p->v;
  };
  co_return co_await f(std::make_unique<tracked>(7));
}

FORM(str_concat) {
  auto f = [](std::string s, tracked t) -> task<int> {
    co_await suspend_once{};
    co_return int(s.size()) + t.v;
  };
  co_return co_await f("abc" + std::string("d"), tracked(3));
}

struct opts_c {
  int a;
  tracked t;
  std::string tag;
  opts_c(int a, tracked t, std::string g) : a(a), t(std::move(t)), tag(std::move(g)) {}
};
task<int> ocv(opts_c o) {
  co_await suspend_once{};
  o.t.check();
  co_return o.a + o.t.v + int(o.tag.size());
}
// A builder.
struct opts_d {
  int a = 1;
  tracked t{};
  std::string tag = {};
  opts_d() {}
  opts_d& A(int x) & {
    a = x;
    return *this;
  }
  opts_d&& A(int x) && {
    a = x;
    return std::move(*this);
  }
};
task<int> odv(opts_d o) {
  co_await suspend_once{};
  o.t.check();
  co_return o.a + o.t.v + int(o.tag.size());
}
struct opts_def {
  int a = 1;
  tracked t{};
  opts_def() = default;
  opts_def(int a, tracked t) : a(a), t(std::move(t)) {}
};
task<int> odef(opts_def o) {
  co_await suspend_once{};
  o.t.check();
  co_return o.a + o.t.v;
}
struct opts_nsdmi {
  int a = 1;
  std::string s = {};
};
task<int> onsd(const opts_nsdmi& o = {}) {
  co_await suspend_once{};
  co_return o.a + 6 + int(o.s.size());
}
template <class F>
F make(F f) {
  return f;
}
opts mkopts(int a) { return opts{a, tracked(0), ""}; }

FORM(w_split) {
  auto t = by_value([t = tracked(7)] {
    t.check();
    return t.v;
  });
  co_return co_await std::move(t);
}

FORM(w_id) {
  co_return co_await by_value(make([t = tracked(7)] {
    t.check();
    return t.v;
  }));
}

FORM(w_refcap) {
  tracked t(7);
  co_return co_await by_value([&t] {
    t.check();
    return t.v;
  });
}

FORM(w_trivcap) {
  int x = 7;
  co_return co_await by_value([x] { return x; });
}

FORM(w_spcap) {
  auto p = std::make_shared<tracked>(7);
  auto* other = new std::shared_ptr<tracked>(p);  // so that a second destruction of the capture shows in the count
  int r = co_await by_value([p] { return p->v; });
  if (p.use_count() != 2) co_return 0;
  delete other;
  co_return r;
}

FORM(w_ctor) { co_return co_await ocv(opts_c(7, tracked(0), "")); }

FORM(w_ctor_br) { co_return co_await ocv(opts_c{7, tracked(0), ""}); }

FORM(w_ctor_impl) { co_return co_await ocv({7, tracked(0), ""}); }

FORM(w_builder) { co_return co_await odv(opts_d().A(7)); }

FORM(w_builder_br) { co_return co_await odv(opts_d{}.A(7)); }

FORM(w_defctor) { co_return 6 + co_await odef({}); }

FORM(w_defctor2) { co_return 6 + co_await odef(opts_def{}); }

FORM(w_defarg) { co_return co_await onsd(); }

FORM(w_fnret) { co_return co_await ov(mkopts(7)); }

FORM(iife) {
  co_return co_await [](tracked t) -> task<int> {
    co_await suspend_once{};
    co_return t.v;
  }(tracked(7));
}

FORM(iife_cap) {
  co_return co_await [t = tracked(7)]() -> task<int> {
    co_await suspend_once{};
    t.check();
    co_return t.v;
  }();
}

FORM(near_arg) {
  auto f = [](auto g, int x) { return g() + x; };
  co_return f([t = tracked(3)] { return t.v; }, co_await take_value(tracked(4)));
}

FORM(near_agg) {
  auto f = [](opts o, int x) { return o.a + x; };
  co_return f(opts{3, tracked(0), ""}, co_await take_value(tracked(4)));
}

FORM(sep_stmt) {
  int x = co_await take_value(tracked(4));
  auto f = [](opts o, int x) { return o.a + x; };
  co_return f(opts{3, tracked(0), ""}, x);
}

FORM(pair_agg) {
  auto f = [](std::pair<int, tracked> p) -> task<int> {
    co_await suspend_once{};
    co_return p.second.v;
  };
  co_return co_await f({1, tracked(7)});
}

FORM(optional_arg) {
  auto f = [](std::optional<tracked> p) -> task<int> {
    co_await suspend_once{};
    co_return p->v;
  };
  co_return co_await f(tracked(7));
}

FORM(vec_arg) {
  auto f = [](std::vector<tracked> p) -> task<int> {
    co_await suspend_once{};
    co_return p[0].v;
  };
  std::vector<tracked> v;
  v.emplace_back(7);
  co_return co_await f(std::move(v));
}

FORM(arr_arg) {
  auto f = [](std::array<tracked, 2> p) -> task<int> {
    co_await suspend_once{};
    co_return p[0].v + p[1].v;
  };
  co_return co_await f({tracked(3), tracked(4)});
}

FORM(arr_arg2) {
  auto f = [](std::array<tracked, 2> p) -> task<int> {
    co_await suspend_once{};
    co_return p[0].v + p[1].v;
  };
  co_return co_await f(std::array<tracked, 2>{tracked(3), tracked(4)});
}

FORM(bind_front) {
  auto f = [](auto g) -> task<int> {
    co_await suspend_once{};
    co_return g();
  };
  co_return co_await f(std::bind_front([](const tracked& t) { return t.v; }, tracked(7)));
}

int main(int argc, char** argv) { return forms_main(argc, argv, run_to_the_end); }
