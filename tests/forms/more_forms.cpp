// Forms that were found after the others, each with its near neighbours that every compiler gets right.
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "form.hpp"

// An aggregate that owns something, one that does not, and a class that is no aggregate.
struct owner {
  int a;
  tracked t;
};
struct plain {
  int a;
  long b;
};
struct no_aggregate {
  int a;
  tracked t;
  no_aggregate(int number = 1, tracked owned = {}) : a(number), t(std::move(owned)) {}
};
struct number {
  int v;
  number(int value = 0) : v(value) {}
};

inline task<number> later_number(int value) {
  co_await suspend_once{};
  co_return number(value);
}
inline task<int> take_owner(owner o) {
  co_await suspend_once{};
  co_return o.a;
}
inline task<int> take_string(std::string s) {
  co_await suspend_once{};
  co_return int(s.size());
}
// Not a constant for the compiler.
inline bool yes() { return std::getenv("PATH") != nullptr; }
inline int sum(tracked t, int x) { return t.v + x; }

// ---- a condition that awaits: any declaration anywhere in the coroutine prevents the fault

FORM(condition_in_nested_blocks) {
  {
    {
      if (co_await ready{1}) co_return 7;
    }
  }
  co_return 0;
}

FORM(condition_in_if) {
  if (yes()) {
    if (co_await ready{1}) co_return 7;
  }
  co_return 0;
}

FORM(condition_of_do_in_while) {
  while (yes()) {
    do {
    } while (co_await ready{0});
    co_return 7;
  }
  co_return 0;
}

FORM(condition_in_switch) {
  switch (1) {
    case 1:
      if (co_await ready{1}) co_return 7;
  }
  co_return 0;
}

FORM(condition_in_endless_loop) {
  for (;;) {
    if (co_await ready{1}) break;
  }
  co_return 7;
}

FORM(condition_in_if_constexpr) {
  if constexpr (true) {
    if (co_await ready{1}) co_return 7;
  }
  co_return 0;
}

FORM(condition_after_static_assert) {
  static_assert(true);
  if (co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(condition_after_asm) {
  asm("");
  if (co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(condition_compared) {
  if (co_await ready{1} == 1) co_return 7;
  co_return 0;
}

FORM(condition_second_operand) {
  if (yes() && co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(condition_of_else_if) {
  if (!yes()) {
  } else if (co_await ready{0})
    co_return 1;
  co_return 7;
}

FORM(condition_awaits_task) {
  if (co_await take_value(tracked(7))) co_return 7;
  co_return 0;
}

FORM(condition_of_while_suspends) {
  while (co_await later_int(0)) {
    co_await suspend_once{};
  }
  co_return 7;
}

FORM(condition_in_call_operator) {
  struct functor {
    task<int> operator()() {
      if (co_await ready{1}) co_return 7;
      co_return 0;
    }
  };
  functor f;
  co_return co_await f();
}

FORM(condition_local_elsewhere) {
  if (co_await ready{1}) co_return 7;
  {
    int k = 0;
    (void)k;
  }
  co_return 0;
}

FORM(condition_local_in_body) {
  while (co_await ready{1}) {
    int k = 7;
    co_return k;
  }
  co_return 0;
}

FORM(condition_lambda_elsewhere) {
  (void)[]{};
  if (co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(condition_lambda_inside) {
  if ([] { return true; }() && co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(condition_typed_handler) {
  try {
    if (co_await ready{1}) co_return 7;
  } catch (int) {
  }
  co_return 0;
}

static task<int> condition_function_try() try {
  if (co_await ready{1}) co_return 7;
  co_return 0;
} catch (...) {
}
FORM_FUNCTION(condition_function_try);

FORM(condition_other_if_declares) {
  if (co_await ready{0}) co_return 1;
  if (int k = co_await ready{7}) co_return k;
  co_return 0;
}

FORM(condition_using_directive) {
  using namespace std;
  if (co_await ready{1}) co_return 7;
  co_return 0;
}

FORM(condition_in_generic_lambda) {
  co_return co_await [](auto) -> task<int> {
    if (co_await ready{1}) co_return 7;
    co_return 0;
  }(1);
}

FORM(statement_conditional) {
  co_await later_int(1) ? (void)co_await later_int(7) : (void)0;
  co_return 7;
}

FORM(statement_and) {
  yes() && co_await later_int(1);
  co_return 7;
}

// ---- lambdas that own something

FORM(closure_in_condition) {
  int result = 0;
  if (co_await by_value([t = tracked(7)] { return t.v; })) result = 7;
  co_return result;
}

FORM(closure_beside_await) {
  auto pair = std::pair{co_await later_int(1), [t = tracked(6)] { return t.v; }};
  co_return pair.first + pair.second();
}

FORM(closure_called_beside_await) {
  co_return [t = tracked(7)] { return t.v; }() + co_await later_int(0);
}

FORM(closure_copies_by_default) {
  tracked x(7);
  co_return co_await by_value([=] { return x.v; });
}

FORM(closure_capture_awaits) {
  auto f = [t = co_await later_tracked(7)] { return t.v; };
  co_return f();
}

FORM(closure_capture_awaits_beside) {
  auto f = [n = co_await later_int(3), t = tracked(4)] { return n + t.v; };
  co_return f();
}

FORM(closure_that_is_a_coroutine) {
  auto id = [](auto f) { return f; };
  auto job = id([t = tracked(7)]() -> task<int> {
    co_await suspend_once{};
    co_return t.v;
  });
  co_return co_await job();
}

FORM(closure_in_last_expression) {
  co_return (by_ref([t = tracked(7)] { return t.v; }), 7);
}

FORM(closure_bound_to_reference) {
  auto&& f = [t = tracked(7)] { return t.v; };
  co_return co_await by_ref(f);
}

FORM(closure_capture_awaits_trivial) {
  auto f = [n = co_await later_int(7)] { return n; };
  co_return f();
}

FORM(closure_trivial_in_function) {
  co_return co_await by_value(std::function<int()>([] { return 7; }));
}

FORM(closure_argument_awaits_trivial) {
  co_return co_await by_value([n = co_await later_int(7)] { return n; });
}

FORM(closure_pointer) {
  tracked x(7);
  co_return co_await by_value([x = &x] { return x->v; });
}

FORM(closure_bind) {
  tracked x(7);
  co_return co_await by_value(std::bind([](const tracked& t) { return t.v; }, x));
}

FORM(closure_named_copy) {
  auto f = [t = tracked(7)] { return t.v; };
  co_return co_await by_value(f);
}

FORM(functor_aggregate) {
  struct functor {
    tracked t;
    int operator()() const { return t.v; }
  };
  co_return co_await by_value(functor{tracked(7)});
}

// ---- aggregates

static task<owner> returns_aggregate() { co_return owner{3, co_await later_tracked(4)}; }
FORM(aggregate_returned) {
  owner x = co_await returns_aggregate();
  co_return x.a + x.t.v;
}

static task<owner> returns_braces() { co_return {co_await later_int(3), co_await later_tracked(4)}; }
FORM(aggregate_returned_braces) {
  owner x = co_await returns_braces();
  co_return x.a + x.t.v;
}

static task<owner> returns_without_await() {
  co_await suspend_once{};
  co_return {3, tracked(4)};
}
FORM(aggregate_returned_without_await) {
  owner x = co_await returns_without_await();
  co_return x.a + x.t.v;
}

static task<plain> returns_plain() { co_return plain{co_await later_int(3), co_await later_int(4)}; }
FORM(aggregate_returned_plain) {
  plain x = co_await returns_plain();
  co_return x.a + int(x.b);
}

FORM(aggregate_pushed) {
  std::vector<owner> v;
  v.push_back({co_await later_int(3), tracked(4)});
  co_return v[0].a + v[0].t.v;
}

FORM(aggregate_assigned) {
  owner x{1, tracked(1)};
  x = owner{co_await later_int(3), tracked(4)};
  co_return x.a + x.t.v;
}

FORM(aggregate_assigned_braces) {
  owner x{1, tracked(1)};
  x = {co_await later_int(3), co_await later_tracked(4)};
  co_return x.a + x.t.v;
}

FORM(aggregate_new) {
  std::unique_ptr<owner> p(new owner{co_await later_int(3), tracked(4)});
  co_return p->a + p->t.v;
}

FORM(aggregate_one_await) {
  owner x{co_await later_int(3), tracked(4)};
  co_return x.a + x.t.v;
}

FORM(aggregate_default_member) {
  struct with_string {
    int a;
    std::string s;
  };
  with_string x{co_await later_int(7)};
  co_return x.a;
}

FORM(aggregate_designated) {
  owner x{.a = co_await later_int(3), .t = co_await later_tracked(4)};
  co_return x.a + x.t.v;
}

FORM(aggregate_nested) {
  struct nest {
    owner o;
    int z;
  };
  nest x{{co_await later_int(3), 4}, 0};
  co_return x.o.a + x.o.t.v;
}

FORM(aggregate_auto) {
  auto x = owner{co_await later_int(3), tracked(4)};
  co_return x.a + x.t.v;
}

FORM(aggregate_reference) {
  const owner& x = owner{co_await later_int(3), tracked(4)};
  co_await suspend_once{};
  co_return x.a + x.t.v;
}

FORM(aggregate_structured_binding) {
  auto [a, t] = owner{co_await later_int(3), co_await later_tracked(4)};
  co_return a + t.v;
}

FORM(aggregate_optional) {
  std::optional<owner> x = owner{co_await later_int(3), tracked(4)};
  co_return x->a + x->t.v;
}

FORM(aggregate_parentheses) {
  owner x(co_await later_int(3), co_await later_tracked(4));
  co_return x.a + x.t.v;
}

FORM(array_of_class) {
  tracked v[2] = {tracked(3), co_await later_tracked(4)};
  co_return v[0].v + v[1].v;
}

FORM(array_new) {
  std::unique_ptr<tracked[]> p(new tracked[2]{tracked(3), co_await later_tracked(4)});
  co_return p[0].v + p[1].v;
}

FORM(array_in_range_for) {
  int s = 0;
  for (auto& x : std::array<tracked, 2>{tracked(3), co_await later_tracked(4)}) s += x.v;
  co_return s;
}

FORM(aggregate_beside_await) { co_return owner{7, tracked(0)}.a + co_await later_int(0); }

FORM(aggregate_of_named) {
  tracked t(0);
  co_return co_await take_owner({7, t});
}

FORM(aggregate_of_moved) {
  struct box {
    std::unique_ptr<tracked> p;
  };
  auto f = [](box b) -> task<int> {
    co_await suspend_once{};
    co_return b.p->v;
  };
  auto p = std::make_unique<tracked>(7);
  co_return co_await f({std::move(p)});
}

FORM(aggregate_with_base) {
  struct derived : tracked {
    int z;
    tracked u;
  };
  auto f = [](derived d) -> task<int> {
    co_await suspend_once{};
    co_return d.z;
  };
  co_return co_await f(derived{tracked(1), 7, tracked(2)});
}

FORM(aggregate_to_lambda) {
  co_return co_await [](owner o) -> task<int> {
    co_await suspend_once{};
    co_return o.a;
  }(owner{.a = 7, .t = 1});
}

FORM(aggregate_parentheses_argument) { co_return co_await take_owner(owner(7, tracked(0))); }

FORM(aggregate_value_initialised) { co_return 7 + co_await take_owner(owner()); }

FORM(aggregate_plain) {
  plain x{co_await later_int(3), co_await later_int(4)};
  co_return x.a + int(x.b);
}

FORM(aggregate_plain_pushed) {
  std::vector<plain> v;
  v.push_back({co_await later_int(3), 4});
  co_return v[0].a + int(v[0].b);
}

FORM(aggregate_of_numbers) {
  std::array<number, 2> x{co_await later_number(3), co_await later_number(4)};
  co_return x[0].v + x[1].v;
}

FORM(aggregate_without_await) {
  std::vector<owner> v{owner{1, tracked(2)}};
  co_await suspend_once{};
  co_return v[0].a + 6;
}

FORM(aggregate_copy) {
  owner o{7, tracked(0)};
  co_return co_await take_owner(owner{o});
}

FORM(no_aggregate_braces) {
  no_aggregate x{co_await later_int(3), co_await later_tracked(4)};
  co_return x.a + x.t.v;
}

FORM(no_aggregate_argument) {
  auto f = [](no_aggregate o) { return o.a + o.t.v; };
  co_return f({co_await later_int(3), co_await later_tracked(4)});
}

// ---- default arguments

static task<int> default_aggregate(int x, owner o = {1, tracked(1)}) {
  co_await suspend_once{};
  co_return x + o.a;
}
static task<int> default_closure(std::function<int()> f = [t = tracked(7)] { return t.v; }) {
  co_await suspend_once{};
  co_return f();
}
struct default_in_constructor {
  int x;
  default_in_constructor(int a, const owner& o = {1, tracked(1)}) : x(a + o.a) {}
};
static task<int> default_no_aggregate(int x, no_aggregate o = {}) {
  co_await suspend_once{};
  co_return x + o.a;
}
static task<int> default_string(int x, const std::string& s = "abc") {
  co_await suspend_once{};
  co_return x + int(s.size());
}
static task<int> default_plain(int x, plain p = {1, 2}) {
  co_await suspend_once{};
  co_return x + p.a;
}
static owner made() { return owner{1, tracked(1)}; }
static task<int> default_made(int x, owner o = made()) {
  co_await suspend_once{};
  co_return x + o.a;
}
FORM(default_is_aggregate) { co_return co_await default_aggregate(6); }

FORM(default_is_closure) { co_return co_await default_closure(); }

FORM(default_of_constructor) {
  auto f = [](default_in_constructor c, int y) { return c.x + y; };
  co_return f(default_in_constructor(3), co_await later_int(3));
}

FORM(default_is_no_aggregate) { co_return co_await default_no_aggregate(6); }

FORM(default_is_string) { co_return co_await default_string(4); }

FORM(default_is_plain) { co_return co_await default_plain(6); }

FORM(default_from_function) { co_return co_await default_made(6); }

// ---- the conditional operator

FORM(conditional_condition_awaits) {
  tracked t = co_await later_bool(true) ? tracked(7) : tracked(1);
  co_return t.v;
}

FORM(conditional_argument) {
  bool b = yes();
  co_return co_await take_value(b ? tracked(7) : tracked(1));
}

FORM(conditional_reference_argument) {
  bool b = yes();
  co_return co_await take_reference(b ? tracked(7) : tracked(1));
}

FORM(conditional_one_named) {
  bool b = yes();
  tracked named(7);
  co_return co_await take_value(b ? named : tracked(1));
}

FORM(conditional_of_tasks) {
  bool b = yes();
  co_return co_await (b ? later_int(7) : later_int(1));
}

FORM(conditional_throws) {
  bool b = yes();
  tracked t = b ? co_await later_tracked(7) : throw 1;
  co_return t.v;
}

FORM(conditional_beside_await) {
  bool b = yes();
  co_return sum(b ? tracked(3) : tracked(1), co_await later_int(4));
}

FORM(conditional_assigned) {
  bool b = yes();
  std::string s;
  s = b ? co_await later_string("1234567") : "abc";
  co_return int(s.size());
}

static task<tracked> returns_conditional() {
  bool b = yes();
  co_return b ? co_await later_tracked(7) : co_await later_tracked(1);
}
FORM(conditional_returned) {
  tracked t = co_await returns_conditional();
  co_return t.v;
}

FORM(conditional_bound) {
  bool b = yes();
  const tracked& t = b ? co_await later_tracked(7) : tracked(1);
  co_await suspend_once{};
  co_return t.v;
}

FORM(conditional_converted) {
  bool b = yes();
  auto f = [](std::string_view s) -> task<int> {
    co_await suspend_once{};
    co_return int(s.size());
  };
  std::string s = "1234567";
  co_return co_await f(b ? s : "abc");
}

FORM(conditional_or_null) {
  bool b = !yes();
  std::unique_ptr<tracked> p = b ? nullptr : std::make_unique<tracked>(co_await later_int(7));
  co_return p->v;
}

FORM(conditional_optional) {
  bool b = yes();
  std::optional<tracked> o = b ? std::optional<tracked>(co_await later_tracked(7)) : std::nullopt;
  co_return o->v;
}

FORM(conditional_numbers) {
  bool b = yes();
  number n = b ? co_await later_number(7) : co_await later_number(1);
  co_return n.v;
}

FORM(conditional_between_named) {
  tracked a(7), c(1);
  tracked r = co_await later_bool(true) ? a : c;
  co_return r.v;
}

FORM(conditional_between_moved) {
  tracked a(7), c(1);
  tracked r = co_await later_bool(true) ? std::move(a) : std::move(c);
  co_return r.v;
}

FORM(conditional_between_tasks) {
  bool b = yes();
  auto t1 = later_int(7);
  auto t2 = later_int(1);
  int r = co_await (b ? std::move(t1) : std::move(t2));
  co_return r;
}

FORM(conditional_without_await) {
  bool b = yes();
  auto t = b ? later_int(7) : later_int(1);
  co_return co_await std::move(t);
}

FORM(conditional_scalar) {
  bool b = yes();
  co_return b ? co_await take_value(tracked(7)) : 0;
}

FORM(conditional_inside_constructor) {
  bool b = yes();
  co_return co_await take_value(tracked(b ? 7 : 1));
}

FORM(conditional_literals) {
  bool b = yes();
  co_return co_await take_string(b ? "1234567" : "abc");
}

FORM(logical_with_temporaries) {
  bool b = yes();
  bool r = b && co_await take_reference(tracked(7)) == 7;
  co_return r ? 7 : 0;
}

FORM(logical_not_taken) {
  bool b = !yes();
  bool r = b && (co_await later_tracked(7)).v == 7;
  co_return r ? 0 : 7;
}

// ---- throw

FORM(throw_awaits) {
  try {
    throw std::runtime_error(co_await later_string("1234567"));
  } catch (std::exception& e) {
    co_return int(std::strlen(e.what()));
  }
}

FORM(throw_class_awaits) {
  try {
    throw tracked(co_await later_int(7));
  } catch (tracked& t) {
    co_return t.v;
  }
}

FORM(throw_awaited) {
  try {
    throw co_await later_tracked(7);
  } catch (tracked& t) {
    co_return t.v;
  }
}

FORM(throw_after_comma) {
  try {
    throw(co_await later_int(1), tracked(7));
  } catch (tracked& t) {
    co_return t.v;
  }
}

FORM(throw_in_conditional) {
  try {
    co_await later_int(1) ? throw std::runtime_error("a long message, long enough to be allocated") : 0;
  } catch (std::exception&) {
    co_return 7;
  }
  co_return 0;
}

FORM(throw_in_statement) {
  try {
    if (bool b = co_await later_bool(true); b) throw tracked(7);
  } catch (tracked& t) {
    co_return t.v;
  }
  co_return 0;
}

FORM(throw_number) {
  try {
    throw number(co_await later_int(7));
  } catch (number& n) {
    co_return n.v;
  }
}

FORM(throw_named) {
  int x = co_await later_int(7);
  try {
    throw tracked(x);
  } catch (tracked& t) {
    co_return t.v;
  }
}

// ---- refused by GCC 12 with an error

FORM(list_argument) {
  auto f = [](std::vector<int> v) -> task<int> {
    co_await suspend_once{};
    co_return v[0];
  };
  co_return co_await f({7, 2, 3});
}

FORM(list_of_plain_type) {
  auto f = [](std::initializer_list<int> v) -> task<int> {
    co_await suspend_once{};
    co_return *v.begin();
  };
  co_return co_await f({7, 2, 3});
}

FORM(logical_around_temporary) {
  bool b = !yes();
  bool r = (b || tracked(3).v == 3) && (co_await later_tracked(7)).v == 7;
  co_return r ? 7 : 0;
}

FORM(local_function_declaration) {
  extern int never_defined();
  co_await suspend_once{};
  co_return 7;
}

FORM(list_without_await) {
  std::vector<std::string> v{"a", "b"};
  v = {"c", "d", "e"};
  co_await suspend_once{};
  co_return int(v.size()) + 4;
}

// ---- new of what an await gives: wrong where the awaited object becomes the new one without a move

FORM(new_of_awaited_object) {
  std::unique_ptr<tracked> p(new tracked(co_await later_tracked(7)));
  co_return p->v;
}

FORM(new_of_awaited_string) {
  const std::string* s = new std::string(co_await later_string("1234567"));
  int n = int(s->size());
  delete s;
  co_return n;
}

FORM(new_from_awaited_number) {
  std::unique_ptr<tracked> p(new tracked(co_await later_int(7)));
  co_return p->v;
}

FORM(new_of_two_awaits) {
  using made = std::pair<int, tracked>;
  std::unique_ptr<made> p(new made(co_await later_int(0), co_await later_tracked(7)));
  co_return p->second.v;
}

FORM(new_converted_from_awaited) {
  std::unique_ptr<no_aggregate> p(new no_aggregate(1, co_await later_tracked(7)));
  co_return p->t.v;
}

FORM(make_unique_awaited) {
  auto p = std::make_unique<tracked>(co_await later_tracked(7));
  co_return p->v;
}

int main(int argc, char** argv) { return forms_main(argc, argv, run_to_the_end); }
