// Runs rota's lock-free headers, as they are, under relacy: a checker that executes threads as fibers, tries one
// interleaving after the other, and lets every atomic load give any value that the C++ memory model allows.
//
// And it checks the checks. Each atomic operation of the headers is a site, known by its source line. Every site is
// broken in every way of the list below, one at a time, and a check has to notice:
//
//   weaker order    seq_cst to acq_rel (a load: acquire, a store: release), acq_rel to acquire and to release, those to relaxed
//   not atomic      a read-modify-write becomes a load and a store
//   not written     a store does nothing; a compare-exchange says that it succeeded
//
// So every order in the headers is as weak as it can be, or tests/model says why a stronger one stays.
//
// Include this before any header of rota.
#pragma once

#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <map>
#include <new>
#include <ostream>
#include <set>
#include <source_location>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

// relacy.hpp itself would also redefine new, memory_order_*, sched_yield and the like for everything that follows. Its
// headers need this order.
#include <relacy/base.hpp>

#include <relacy/context.hpp>
#include <relacy/context_base_impl.hpp>

#include <relacy/atomic.hpp>
#include <relacy/atomic_fence.hpp>
#include <relacy/backoff.hpp>
#include <relacy/stdlib/mutex.hpp>

#include <relacy/stdlib/condition_variable.hpp>
#include <relacy/stdlib/event.hpp>
#include <relacy/stdlib/semaphore.hpp>
#include <relacy/test_suite.hpp>
#include <relacy/var.hpp>

// relacy replaces the plain operators, to find leaks and what is used after it was freed; these must agree with them. Each
// check is one file.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return ::operator new(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return ::operator new[](size); }
void operator delete(void* p, std::size_t) noexcept { ::operator delete(p); }
void operator delete[](void* p, std::size_t) noexcept { ::operator delete[](p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { ::operator delete(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { ::operator delete[](p); }

namespace rota_model {

// ---- sites and what is broken there

enum class op : std::uint8_t { load, store, rmw, cas };
enum class fault : std::uint8_t { none, order, failure_order, not_atomic, not_written };

using order = std::memory_order;

struct site {
  std::source_location at;
  op what = op::load;
  order is = order::relaxed;
  order on_failure = order::relaxed;
};

struct mutant {
  const site* of = nullptr;
  fault is = fault::none;
  order becomes = order::relaxed;
};

// Fixed room: an allocation inside a check would be counted by relacy. A template's site is one, however often it is
// instantiated; `marks` are the compiler's pointers to it.
inline site sites[64];
inline std::size_t site_count = 0;
inline struct {
  const void* where;
  const site* of;
} marks[512];
inline std::size_t mark_count = 0;
inline mutant seeded;
inline std::uint64_t progress = 0;

inline const site& add_site(const void* where, op what, order is, order on_failure) {
  const auto at = std::bit_cast<std::source_location>(where);
  std::size_t i = 0;
  while (i != site_count && (sites[i].at.line() != at.line() || sites[i].at.column() != at.column() ||
                             std::string_view(sites[i].at.file_name()) != at.file_name()))
    ++i;
  if (mark_count == std::size(marks) || i == std::size(sites)) std::abort();
  if (i == site_count) sites[site_count++] = {at, what, is, on_failure};
  marks[mark_count++] = {where, &sites[i]};
  return sites[i];
}
inline fault fault_here(const void* where, op what, order is, order on_failure = order::relaxed) {
  ++progress;
  std::size_t i = 0;
  while (i != mark_count && marks[i].where != where) ++i;
  const site& here = i == mark_count ? add_site(where, what, is, on_failure) : *marks[i].of;
  return &here == seeded.of ? seeded.is : fault::none;
}

inline rl::memory_order as_relacys(order o) {
  switch (o) {
    case order::relaxed: return rl::mo_relaxed;
    case order::consume:
    case order::acquire: return rl::mo_acquire;
    case order::release: return rl::mo_release;
    case order::acq_rel: return rl::mo_acq_rel;
    case order::seq_cst: return rl::mo_seq_cst;
  }
  return rl::mo_seq_cst;
}
inline order load_part(order o) {
  return o == order::acq_rel ? order::acquire : o == order::release ? order::relaxed : o;
}
inline order store_part(order o) {
  return o == order::acq_rel ? order::release : o == order::acquire ? order::relaxed : o;
}

// ---- what stands in for std::atomic

#define ROTA_MODEL_SITE const void* where = __builtin_source_location()

template <class T>
class atomic {
 public:
  atomic() : atomic(T{}) {}
  atomic(T value) { word_.store(pack(value), rl::mo_relaxed, {}); }
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(order o = order::seq_cst, ROTA_MODEL_SITE) const {
    if (fault_here(where, op::load, o) == fault::order) o = seeded.becomes;
    return unpack(word_.load(as_relacys(o), info(where)));
  }
  void store(T value, order o = order::seq_cst, ROTA_MODEL_SITE) {
    const fault f = fault_here(where, op::store, o);
    if (f == fault::not_written) return;
    if (f == fault::order) o = seeded.becomes;
    word_.store(pack(value), as_relacys(o), info(where));
  }
  T exchange(T value, order o = order::seq_cst, ROTA_MODEL_SITE) {
    return rmw(o, where, [&](T) { return value; });
  }
  T fetch_add(T value, order o = order::seq_cst, ROTA_MODEL_SITE) {
    return rmw(o, where, [&](T now) { return static_cast<T>(now + value); });
  }
  T fetch_sub(T value, order o = order::seq_cst, ROTA_MODEL_SITE) {
    return rmw(o, where, [&](T now) { return static_cast<T>(now - value); });
  }
  T fetch_or(T value, order o = order::seq_cst, ROTA_MODEL_SITE) {
    return rmw(o, where, [&](T now) { return static_cast<T>(now | value); });
  }
  T fetch_and(T value, order o = order::seq_cst, ROTA_MODEL_SITE) {
    return rmw(o, where, [&](T now) { return static_cast<T>(now & value); });
  }
  bool compare_exchange_weak(T& expected, T value, order o, order on_failure, ROTA_MODEL_SITE) {
    return cas<true>(expected, value, o, on_failure, where);
  }
  bool compare_exchange_strong(T& expected, T value, order o, order on_failure, ROTA_MODEL_SITE) {
    return cas<false>(expected, value, o, on_failure, where);
  }
  bool compare_exchange_strong(T& expected, T value, order o = order::seq_cst, ROTA_MODEL_SITE) {
    return cas<false>(expected, value, o, load_part(o), where);
  }

 private:
  static std::uint64_t pack(T value) {
    if constexpr (std::is_pointer_v<T>)
      return reinterpret_cast<std::uintptr_t>(value);
    else
      return static_cast<std::uint64_t>(value);
  }
  static T unpack(std::uint64_t word) {
    if constexpr (std::is_pointer_v<T>)
      return reinterpret_cast<T>(word);
    else
      return static_cast<T>(word);
  }
  static rl::debug_info info(const void* where) {
    const auto at = std::bit_cast<std::source_location>(where);
    return {at.function_name(), at.file_name(), at.line()};
  }

  // One atomic step whatever it computes: relacy switches threads before an operation, not within one.
  template <class F>
  T rmw(order o, const void* where, F next) {
    const fault f = fault_here(where, op::rmw, o);
    if (f == fault::order) o = seeded.becomes;
    if (f == fault::not_atomic || f == fault::not_written) {
      const T now = unpack(word_.load(as_relacys(load_part(o)), info(where)));
      if (f == fault::not_atomic) word_.store(pack(next(now)), as_relacys(store_part(o)), info(where));
      return now;
    }
    // An exchange reads the latest value, which debug_value() gives without counting as a read.
    rl::ctx().sched();
    rl::ctx().disable_preemption();
    const T now = unpack(word_.debug_value());
    word_.rmw(rl::rmw_type_t<rl::rmw_type_swap>(), pack(next(now)), as_relacys(o), info(where));
    rl::ctx().enable_preemption();
    return now;
  }
  template <bool Weak>
  bool cas(T& expected, T value, order o, order on_failure, const void* where) {
    const fault f = fault_here(where, op::cas, o, on_failure);
    if (f == fault::order) {
      o = seeded.becomes;
      if (on_failure != order::relaxed) on_failure = load_part(o);  // relacy refuses a stronger one
    }
    if (f == fault::failure_order) on_failure = seeded.becomes;
    std::uint64_t word = pack(expected);
    bool done = false;
    if (f == fault::not_atomic || f == fault::not_written) {
      const std::uint64_t now = word_.load(as_relacys(load_part(o)), info(where));
      done = now == word;
      if (done && f == fault::not_atomic) word_.store(pack(value), as_relacys(store_part(o)), info(where));
      word = now;
    } else {
      done = word_.compare_exchange(rl::bool_t<Weak>(), word, pack(value), as_relacys(o), as_relacys(on_failure),
                                    info(where));
    }
    expected = unpack(word);
    return done;
  }

  rl::atomic<std::uint64_t> word_;
};

/// A plain variable of a check: relacy reports every access that races with another one.
template <class T>
class plain {
 public:
  plain() : value_(T{}) {}
  explicit plain(T value) : value_(value) {}
  T get() const { return value_({}).load(); }
  void set(T value) { value_({}).store(value); }

 private:
  rl::var<T> value_;
};

/// Between threads of a check, beside the headers that are checked: no site, and it orders nothing.
template <class T>
class unordered {
 public:
  unordered() { set(T{}); }
  // The latest value, not any that the memory model allows: what is looked for is elsewhere.
  T get() { return add(0); }
  void set(T value) { value_.store(value, rl::mo_relaxed, {}); }
  T add(T n) { return value_.fetch_add(n, rl::mo_relaxed, {}); }

 private:
  rl::atomic<T> value_;
};

/// Wakes whoever waits, or the next one to wait. Like the kernel's eventfd it orders what came before with what comes after.
class event {
 public:
  event() { event_.init(false, false, {}); }
  ~event() { event_.deinit({}); }
  void set() { event_.set({}); }
  void wait() { event_.wait(false, false, {}); }

 private:
  rl::generic_event event_;
};

inline void require(bool condition, std::source_location at = std::source_location::current()) {
  if (!condition)
    rl::ctx().fail_test("a requirement of the check", rl::test_result_user_assert_failed,
                        {at.function_name(), at.file_name(), at.line()});
}

struct sys;

}  // namespace rota_model

#define ROTA_ATOMIC_POLICY ::rota_model::atomic
#define ROTA_SYS_POLICY ::rota_model::sys
#include <rota/base/sys.hpp>

struct rota_model::sys : rota::detail::real_sys {
  static void yield_core() noexcept { rl::yield(1, {}); }
  static int poll(pollfd*, nfds_t, int) noexcept {
    rl::yield(1, {});
    return 0;
  }
};

namespace rota_model {

// ---- the runner

/// A mutant that no check can notice, because what it changes is not needed for what rota promises.
struct equivalent {
  std::string_view function;  // a part of its name
  std::string_view line;      // a part of the source line
  std::string_view what;      // a part of the mutant's name
  std::string_view why;
};

struct found {
  std::uint64_t iteration;
  rl::test_result_e how;
};

// What relacy has to say, in fixed room: its operator new is not the one that the streams of libstdc++.so use.
class relacys_log : public std::streambuf {
 public:
  relacys_log() { setp(text_, text_ + sizeof text_); }
  void print() const { std::fwrite(text_, 1, static_cast<std::size_t>(pptr() - pbase()), stdout); }

 private:
  char text_[1 << 16];
};

template <class Check>
found run_check(std::uint64_t iterations, unsigned context_bound, bool explain) {
  relacys_log text;
  std::ostream log(&text);
  std::ostream nowhere(nullptr);
  rl::test_params parameters;
  parameters.iteration_count = iterations;
  parameters.execution_depth_limit = 4000;
  parameters.search_type = context_bound == 0 ? rl::random_scheduler_type : rl::fair_context_bound_scheduler_type;
  parameters.context_bound = context_bound;
  parameters.output_stream = &log;
  parameters.progress_stream = &nowhere;
  parameters.output_history = !explain;  // otherwise it would run once more, for the history
  rl::simulate<Check>(parameters);
  if (explain && parameters.test_result != rl::test_result_success) text.print();
  return {parameters.stop_iteration, parameters.test_result};
}

inline const char* name_of(order o) {
  switch (o) {
    case order::relaxed: return "relaxed";
    case order::consume: return "consume";
    case order::acquire: return "acquire";
    case order::release: return "release";
    case order::acq_rel: return "acq_rel";
    case order::seq_cst: return "seq_cst";
  }
  return "?";
}

inline std::vector<mutant> mutants_of(const site& s) {
  std::vector<mutant> all;
  const auto weaker = [&](order o) { all.push_back({&s, fault::order, o}); };
  switch (s.is) {
    case order::seq_cst:
      weaker(s.what == op::load ? order::acquire : s.what == op::store ? order::release : order::acq_rel);
      break;
    case order::acq_rel:
      weaker(order::acquire);
      weaker(order::release);
      break;
    case order::acquire:
    case order::release: weaker(order::relaxed); break;
    default: break;
  }
  if (s.what == op::cas && s.on_failure == order::seq_cst) all.push_back({&s, fault::failure_order, order::acquire});
  if (s.what == op::cas && s.on_failure == order::acquire) all.push_back({&s, fault::failure_order, order::relaxed});
  if (s.what == op::rmw || s.what == op::cas) all.push_back({&s, fault::not_atomic, order::relaxed});
  if (s.what != op::load) all.push_back({&s, fault::not_written, order::relaxed});
  return all;
}

inline std::string name_of(const site& s, const mutant& m) {
  switch (m.is) {
    case fault::order: return std::string(name_of(s.is)) + " to " + name_of(m.becomes);
    case fault::failure_order: return std::string("failure ") + name_of(s.on_failure) + " to " + name_of(m.becomes);
    case fault::not_atomic: return "not atomic";
    case fault::not_written: return "not written";
    case fault::none: break;
  }
  return "none";
}

class source_lines {
 public:
  const std::vector<std::string>& of(const std::string& file) {
    std::vector<std::string>& lines = files_[file];
    if (lines.empty()) {
      // The compiler's name of it may be relative to a folder that is not ours.
      std::ifstream in(ROTA_MODEL_ROOT + file.substr(file.rfind("include/rota/")));
      for (std::string line; std::getline(in, line);) {
        line.erase(0, line.find_first_not_of(' '));
        lines.push_back(line);
      }
      if (lines.empty()) throw std::runtime_error("cannot read " + file);
    }
    return lines;
  }
  std::string at(const std::source_location& where) {
    const auto& lines = of(where.file_name());
    return where.line() <= lines.size() ? lines[where.line() - 1] : "";
  }

 private:
  std::map<std::string, std::vector<std::string>> files_;
};

// A mutant may corrupt memory or never end, so each has a process of its own.
struct verdict {
  int check;  // -1: survived
  std::uint64_t iteration;
  const char* how;
};

inline void tick(int) {
  static std::uint64_t before = 0;
  if (progress == before) ::_exit(3);  // a whole second in a loop without an atomic operation
  before = progress;
}

template <class... Checks>
verdict try_mutant(const mutant& m, std::uint64_t iterations) {
  auto* const shared = static_cast<verdict*>(
      ::mmap(nullptr, sizeof(verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  *shared = {-1, 0, "survived"};
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    seeded = m;
    for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(number, SIG_DFL);
    std::freopen("/dev/null", "w", stdout);
    std::freopen("/dev/null", "w", stderr);
    std::signal(SIGPROF, &tick);
    const itimerval second{{1, 0}, {1, 0}};
    ::setitimer(ITIMER_PROF, &second, nullptr);
    int number = 0;
    const auto one = [&]<class Check>() {
      shared->check = number++;
      const found f = run_check<Check>(iterations, 0, false);
      if (f.how == rl::test_result_success) return false;
      *shared = {shared->check, f.iteration, rl::test_result_str(f.how)};
      return true;
    };
    if (!(one.template operator()<Checks>() || ...)) *shared = {-1, 0, "survived"};
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  verdict v = *shared;
  ::munmap(shared, sizeof(verdict));
  if (WIFSIGNALED(status)) v.how = "crash";
  if (WIFEXITED(status) && WEXITSTATUS(status) == 3) v.how = "endless loop";
  return v;
}

inline std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// What must hold in every execution.
template <class... Checks>
struct checks {};
/// Checks in which what is around the headers is wrong, such as a poster that wakes nobody: they must fail.
template <class... Checks>
struct broken {};

/// Runs all that; then every mutant of every site in `files` (ends of their names). Returns the number of failures.
/// ROTA_MODEL_ITERATIONS: random executions of each. ROTA_MODEL_BOUND=n: also all with at most n forced thread switches.
template <class... Checks, class... Broken>
int run(checks<Checks...>, broken<Broken...>, std::uint64_t iterations, std::initializer_list<std::string_view> files,
        std::initializer_list<equivalent> equivalents = {}) {
  iterations = from_environment("ROTA_MODEL_ITERATIONS", iterations);
  const auto bound = static_cast<unsigned>(from_environment("ROTA_MODEL_BOUND", 0));
  int failures = 0;
  const auto unbroken = [&]<class Check>(unsigned with_bound) {
    const found f = run_check<Check>(iterations, with_bound, true);
    const bool ok = f.how == rl::test_result_success;
    std::printf("%-62s %s, %llu executions\n", Check::name, ok ? "holds" : rl::test_result_str(f.how),
                static_cast<unsigned long long>(f.iteration));
    failures += !ok;
  };
  (unbroken.template operator()<Checks>(0), ...);
  if (bound != 0) (unbroken.template operator()<Checks>(bound), ...);
  if (failures != 0) return failures;
  const std::size_t known = site_count;

  [[maybe_unused]] const auto must_fail = [&]<class Check>() {
    const verdict v = try_mutant<Check>(mutant(), iterations);
    std::printf("%-62s %s\n", Check::name, v.check >= 0 ? "found" : "SURVIVED");
    failures += v.check < 0;
  };
  (must_fail.template operator()<Broken>(), ...);

  source_lines sources;
  const char* const names[] = {Checks::name...};
  std::vector<bool> used(equivalents.size());
  std::set<std::string> reached;
  int caught = static_cast<int>(sizeof...(Broken)) - failures;
  int excused = 0;
  for (std::size_t i = 0; i != known; ++i) {
    const std::source_location at = sites[i].at;
    const std::string_view file = at.file_name();
    bool mine = false;
    for (const std::string_view f : files) mine |= file.ends_with(f);
    if (!mine) continue;
    reached.insert(std::string(file) + ':' + std::to_string(at.line()));
    const std::string line = sources.at(at);
    for (const mutant& m : mutants_of(sites[i])) {
      const verdict v = try_mutant<Checks...>(m, iterations);
      const std::string name = name_of(sites[i], m);
      std::size_t excuse = equivalents.size();
      for (std::size_t e = 0; e != equivalents.size(); ++e) {
        const equivalent& one = equivalents.begin()[e];
        const std::string_view function = at.function_name();
        if (function.find(one.function) != function.npos && line.find(one.line) != line.npos &&
            name.find(one.what) != name.npos)
          excuse = e;
      }
      std::printf("%s:%-4u %-22s ", std::string(file.substr(file.rfind('/') + 1)).c_str(), at.line(), name.c_str());
      if (v.check >= 0) {
        std::printf("found: %s, %llu executions of \"%s\"\n", v.how, static_cast<unsigned long long>(v.iteration),
                    names[v.check]);
        ++caught;
      } else if (excuse != equivalents.size()) {
        std::printf("needs not be found: %s\n", std::string(equivalents.begin()[excuse].why).c_str());
        used[excuse] = true;
        ++excused;
      } else {
        std::printf("SURVIVED: %s\n", line.c_str());
        ++failures;
      }
    }
  }
  // What no check reaches would have no mutants.
  for (std::size_t i = 0; i != known; ++i) {
    const std::string file = sites[i].at.file_name();
    bool mine = false;
    for (const std::string_view f : files) mine |= std::string_view(file).ends_with(f);
    if (!mine || !reached.insert(file).second) continue;
    const auto& lines = sources.of(file);
    for (std::size_t n = 0; n != lines.size(); ++n) {
      const std::string& line = lines[n];
      if (line.starts_with("//")) continue;
      bool is_site = false;
      for (const char* const call : {".load(", ".store(", ".exchange(", ".fetch_", ".compare_exchange_"})
        is_site |= line.find(call) != line.npos;
      if (!is_site || reached.contains(file + ':' + std::to_string(n + 1))) continue;
      std::printf("%s:%zu NOT REACHED: %s\n", file.c_str(), n + 1, line.c_str());
      ++failures;
    }
  }
  for (std::size_t e = 0; e != used.size(); ++e) {
    if (used[e]) continue;
    const equivalent& one = equivalents.begin()[e];
    std::printf("NO SUCH SURVIVOR: %s: %s\n", std::string(one.function).c_str(), std::string(one.what).c_str());
    ++failures;
  }
  std::printf("%d mutants found, %d equivalent, %d failures\n", caught, excused, failures);
  return failures;
}

}  // namespace rota_model
