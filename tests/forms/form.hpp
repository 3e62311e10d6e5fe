// A form: one small coroutine that is correct C++ and returns 7. Some compilers compile some forms to wrong code
// (docs/compilers.md); compiler_forms.py runs each in a process of its own, so that a corrupted heap hides nothing.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rota/coro/task.hpp>

#include "support/by_hand.hpp"

using rota::task;

// Notices a second destruction, use at another address than the constructor's (a bitwise copy), and leaks.
struct tracked {
  static inline std::set<const void*> live;
  static inline int wrong = 0;

  const tracked* self;
  int v;
  std::string text = "a heap string, long enough to be allocated";

  tracked(int value = 0) : self(this), v(value) { enter(); }
  tracked(const tracked& o) : self(this), v(o.v), text(o.text) {
    o.check();
    enter();
  }
  tracked(tracked&& o) noexcept : self(this), v(o.v), text(std::move(o.text)) {
    o.check();
    enter();
    o.v = -777;
  }
  tracked& operator=(const tracked& o) {
    o.check();
    check();
    v = o.v;
    text = o.text;
    return *this;
  }
  tracked& operator=(tracked&& o) noexcept {
    o.check();
    check();
    v = o.v;
    text = std::move(o.text);
    o.v = -777;
    return *this;
  }
  ~tracked() {
    check();
    if (!live.erase(this)) ++wrong;
    self = nullptr;
  }

  void check() const {
    if (self != this || !live.count(this)) ++wrong;
  }

 private:
  void enter() {
    if (!live.insert(this).second) ++wrong;
  }
};

// One form runs at a time, and suspends in one place at a time.
inline rota_test::manual_awaiter suspension;
inline void resume_later(std::coroutine_handle<> handle) { suspension.operator co_await().await_suspend(handle); }

struct suspend_once {
  bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) { resume_later(handle); }
  void await_resume() noexcept {}
};

// Never suspends.
struct ready {
  int value;
  bool await_ready() { return true; }
  void await_suspend(std::coroutine_handle<>) {}
  int await_resume() { return value; }
};

inline task<int> later_int(int value) {
  co_await suspend_once{};
  co_return value;
}
inline task<bool> later_bool(bool value) {
  co_await suspend_once{};
  co_return value;
}
inline task<tracked> later_tracked(int value) {
  co_await suspend_once{};
  co_return tracked(value);
}
inline task<std::string> later_string(const char* value) {
  co_await suspend_once{};
  co_return std::string(value);
}
inline task<int> take_value(tracked t) {
  co_await suspend_once{};
  t.check();
  co_return t.v;
}
inline task<int> take_reference(const tracked& t) {
  co_await suspend_once{};
  t.check();
  co_return t.v;
}

template <class F>
task<int> by_value(F f) {
  co_await suspend_once{};
  co_return f();
}
template <class F>
task<int> by_ref(const F& f) {
  co_await suspend_once{};
  co_return f();
}

// ---- the forms of one program ----------------------------------------------------------------------------------------

inline std::map<std::string, task<int> (*)()>& all_forms() {
  static std::map<std::string, task<int> (*)()> forms;
  return forms;
}
struct form_entry {
  form_entry(const char* name, task<int> (*form)()) { all_forms().emplace(name, form); }
};

// FORM(name) { ... co_return 7; }   The script finds a form by its first line and by the brace in column 1 that ends it.
#define FORM(name)                                    \
  static task<int> name();                            \
  static const form_entry entry_##name(#name, &name); \
  static task<int> name()

// A form that needs helpers beside it.
#define FORM_FUNCTION(name) static const form_entry entry_##name(#name, &name)

inline bool all_is_well(const char* name, const char* what, bool right_result) {
  if (right_result && tracked::wrong == 0 && tracked::live.empty()) return true;
  std::printf("%s: %s%s, %d wrong uses of an object, %zu objects leaked\n", name, what,
              right_result ? "" : " the result is wrong", tracked::wrong, tracked::live.size());
  return false;
}

inline bool run_to_the_end(const char* name, task<int> (*form)()) {
  int result = -1;
  {
    rota_test::by_hand<int> running(form());
    running.start();
    while (suspension.waiting()) running.resume(suspension);
    if (running.done()) {
      try {
        result = running.take();
      } catch (...) {
      }
    }
  }
  return all_is_well(name, "run to its end:", result == 7);
}

// Destroyed before its first step, and at its first, second, ... suspension.
inline bool destroy_at_every_suspension(const char* name, task<int> (*form)()) {
  for (int stop = -1; stop != 12; ++stop) {
    bool finished = false;
    {
      rota_test::by_hand<int> running(form());
      if (stop >= 0) running.start();
      for (int n = 0; n < stop && suspension.waiting(); ++n) running.resume(suspension);
      finished = running.done();
    }
    suspension.take();
    const std::string what = "destroyed at suspension " + std::to_string(stop);
    if (!all_is_well(name, what.c_str(), true)) return false;
    if (finished) return true;
  }
  return false;
}

// `program` prints the names of its forms, `program NAME` runs one.
inline int forms_main(int argc, char** argv, bool (*run)(const char*, task<int> (*)())) {
  if (argc < 2) {
    for (auto& [name, form] : all_forms()) std::puts(name.c_str());
    return 0;
  }
  return run(argv[1], all_forms().at(argv[1])) ? 0 : 1;
}
