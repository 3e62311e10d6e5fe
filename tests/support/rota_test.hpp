// What most tests of rota need: run a task on a fresh loop and look that nothing is left of it, catch diagnostics,
// run something that ends the process in a child.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/rota.hpp>

#include "support/catch.hpp"

namespace rota_test {

#if ROTA_TSAN
inline constexpr bool under_tsan = true;
#else
inline constexpr bool under_tsan = false;
#endif
#if ROTA_ASAN
inline constexpr bool under_asan = true;
#else
inline constexpr bool under_asan = false;
#endif

// A repetition count, smaller where a sanitizer makes each step dear. Says so once per place.
inline std::size_t scaled(std::size_t normal, std::size_t in_tsan, std::size_t in_asan = 0) {
  const std::size_t n = under_tsan ? in_tsan : under_asan && in_asan ? in_asan : normal;
  if (n != normal) std::fprintf(stderr, "  under this sanitizer: %zu times instead of %zu\n", n, normal);
  return n;
}

/// Frames that this thread has made and not freed.
inline std::int64_t frames() noexcept { return rota::detail::frame_memory::live_on_this_thread(); }

/// REQUIREs that nothing is left on the loop; says what is.
inline void require_quiescent(const rota::event_loop& loop) {
  const rota::event_loop_statistics s = loop.statistics();
  INFO("left on the loop: tasks " << s.tasks << ", ready " << s.ready << ", timers " << s.timers << ", operations "
                                  << s.operations << ", descriptors " << s.descriptors);
  REQUIRE(s.quiescent());
}

/// REQUIREs at the end of its block that this thread has as many frames as at the beginning.
class frame_balance {
 public:
  explicit frame_balance(std::int64_t expected = frames()) noexcept : expected_(expected) {}
  frame_balance(const frame_balance&) = delete;
  frame_balance& operator=(const frame_balance&) = delete;
  ~frame_balance() noexcept(false) {
    if (std::uncaught_exceptions() == 0) REQUIRE(frames() == expected_);
  }

 private:
  std::int64_t expected_;
};

/// Runs the task on `loop`, then REQUIREs that nothing is left on it. The task's value or exception comes out.
template <class T>
T run_on(rota::event_loop& loop, rota::task<T> main) {
  struct look {
    rota::event_loop& loop;
    ~look() noexcept(false) {
      if (std::uncaught_exceptions() == 0) require_quiescent(loop);
    }
  } const at_end{loop};
  try {
    return loop.run(std::move(main));
  } catch (...) {
    require_quiescent(loop);
    throw;
  }
}

/// ROTA_TEST_EXECUTOR=strand: run() takes a pool of one thread in place of a loop, keeps all tasks on one strand,
/// and lets time jump.
/// =pool: as users have it, each child on a strand of its own.
inline const char* executor_of_tests() noexcept { return std::getenv("ROTA_TEST_EXECUTOR"); }
/// Does run() give each child a strand of its own?
inline bool is_parallel() noexcept {
  const char* const executor = executor_of_tests();
  return executor && std::string_view(executor) == "pool";
}

template <class T>
T run_on_pool(rota::task<T> main, bool on_one_strand) {
  rota::thread_pool pool(1);
  rota::detail::pool_access::core(pool).keeps_children = on_one_strand;
  rota::detail::pool_access::core(pool).timers.use_virtual_time();
  return rota::sync_wait(pool.run([&] { return std::move(main); }));
}

/// Runs the task on a new loop; afterwards the loop must be quiescent, and every frame that was made gone.
template <class T>
T run(rota::task<T> main) {
  if (const char* const executor = executor_of_tests())
    return run_on_pool(std::move(main), std::string_view(executor) == "strand");
  const frame_balance nothing_left(frames() - (main.valid() ? 1 : 0));
  rota::event_loop loop;
  return rota_test::run_on(loop, std::move(main));
}
/// The same for run([&]() -> rota::task<> { ... }) and run(f, arguments...); the callable outlives the run.
template <class F, class... Args>
  requires std::invocable<F&, Args...>
auto run(F&& f, Args&&... args) {
  return rota_test::run(std::invoke(f, std::forward<Args>(args)...));
}

/// While it lives, diagnostics are collected instead of printed. One at a time.
class captured_reports {
 public:
  captured_reports() : previous_(rota::set_report_handler(&keep)) {
    const std::lock_guard guard(mutex());
    kept().clear();
  }
  captured_reports(const captured_reports&) = delete;
  captured_reports& operator=(const captured_reports&) = delete;
  ~captured_reports() { rota::set_report_handler(previous_); }

  std::vector<std::string> lines() const {
    const std::lock_guard guard(mutex());
    return kept();
  }
  std::size_t size() const { return lines().size(); }
  /// How many lines contain the text.
  std::size_t count(std::string_view text) const {
    std::size_t n = 0;
    for (const std::string& line : lines()) n += line.find(text) != std::string::npos;
    return n;
  }
  bool contains(std::string_view text) const { return count(text) != 0; }
  /// All lines in one string, for INFO.
  std::string all() const {
    std::string text;
    for (const std::string& line : lines()) text += line + '\n';
    return text;
  }
  void clear() {
    const std::lock_guard guard(mutex());
    kept().clear();
  }

 private:
  static void keep(const char* line) noexcept {
    // Said once per process, by whichever loop comes first.
    if (std::string_view(line).starts_with("io_uring is not available")) return;
    const std::lock_guard guard(mutex());
    kept().emplace_back(line);
  }
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static std::vector<std::string>& kept() {
    static std::vector<std::string> lines;
    return lines;
  }

  rota::report_handler previous_;
};

/// Suspends a task of a loop until open() is called, on the loop's thread; cannot be cancelled. For one task.
class gate {
  struct awaiter {
    explicit awaiter(gate& g) noexcept : owner(g) {}
    bool await_ready() const noexcept { return owner.is_open_; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) const {
      owner.wait_.frame = handle.address();
      handle.promise().state->waits_for(&owner.wait_, rota::detail::wait_kind::custom);
    }
    void await_resume() const noexcept {}
    gate& owner;
  };

 public:
  gate() noexcept = default;
  gate(const gate&) = delete;
  gate& operator=(const gate&) = delete;

  awaiter operator co_await() noexcept { return awaiter(*this); }
  bool waiting() const noexcept { return wait_.frame != nullptr; }
  void open() noexcept {
    is_open_ = true;
    if (!wait_.frame) return;
    // On a pool it may be another strand's.
    rota::executor& where = *rota::detail::promise_of(wait_.frame).state->exec;
    if (!where.is_strand()) {
      rota::detail::make_ready(std::exchange(wait_.frame, nullptr));
      return;
    }
    news_.frame = std::exchange(wait_.frame, nullptr);
    news_.run = [](rota::detail::posted& self) noexcept { rota::detail::make_ready(static_cast<news&>(self).frame); };
    where.post(news_);
  }

 private:
  struct news : rota::detail::posted {
    void* frame = nullptr;
  };
  news news_;
  rota::detail::custom_wait wait_;
  bool is_open_ = false;
};

/// How a child process ended, and what it wrote to stdout and stderr.
struct child_outcome {
  int status = 0;  // of waitpid
  std::string output;

  bool exited() const noexcept { return WIFEXITED(status); }
  int exit_code() const noexcept { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
  int signal() const noexcept { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }
  bool says(std::string_view text) const { return output.find(text) != std::string::npos; }
};

/// A child process that runs `body` and exits with what it returns. No other thread may run when it is made.
class child_process {
 public:
  template <class F>
  explicit child_process(F body) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    std::fflush(nullptr);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::dup2(ends[1], STDERR_FILENO);
      ::close(ends[0]);
      ::close(ends[1]);
      std::setvbuf(stdout, nullptr, _IONBF, 0);
      // Neither the handlers of the test framework, nor a core file, nor a hang.
      for (const int number : {SIGABRT, SIGSEGV, SIGINT, SIGTERM, SIGFPE, SIGILL}) std::signal(number, SIG_DFL);
      const rlimit none{0, 0};
      ::setrlimit(RLIMIT_CORE, &none);
      ::alarm(60);
      int code = 99;
      try {
        code = body();
      } catch (const std::exception& e) {
        std::fprintf(stderr, "child: an exception left its body: %s\n", e.what());
      } catch (...) {
        std::fprintf(stderr, "child: an exception left its body\n");
      }
      std::fflush(nullptr);
      ::_exit(code);
    }
    ::close(ends[1]);
    output_ = rota::unique_fd(ends[0]);
  }
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const noexcept { return pid_; }
  /// What it has written so far.
  const std::string& output() const noexcept { return outcome_.output; }
  void send(int signal_number) const { REQUIRE(::kill(pid_, signal_number) == 0); }
  /// Reads the child's output until it contains the text, or ends.
  bool wait_for(std::string_view text) {
    while (outcome_.output.find(text) == std::string::npos)
      if (!read_more()) return false;
    return true;
  }
  child_outcome wait() {
    while (read_more()) {
    }
    ::waitpid(std::exchange(pid_, -1), &outcome_.status, 0);
    return outcome_;
  }

 private:
  bool read_more() {
    char block[4096];
    const auto n = ::read(output_.get(), block, sizeof block);
    if (n <= 0) return false;
    outcome_.output.append(block, static_cast<std::size_t>(n));
    return true;
  }

  pid_t pid_ = -1;
  rota::unique_fd output_;
  child_outcome outcome_;
};

template <class F>
child_outcome run_in_child(F body) {
  return child_process(std::move(body)).wait();
}

/// The kind of usage_error that f() throws. Fails the test when it throws none.
template <class F>
rota::usage_error::kind usage_error_of(F&& f) {
  try {
    (void)f();
  } catch (const rota::usage_error& error) {
    return error.which();
  }
  FAIL("no rota::usage_error was thrown");
  std::abort();
}

/// The code of the std::system_error that f() throws; empty when it throws none.
template <class F>
std::error_code error_code_of(F&& f) {
  try {
    (void)f();
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

}  // namespace rota_test

// Catch prints a failed comparison of these as {?} otherwise.
template <>
struct Catch::StringMaker<rota::usage_error::kind> {
  static std::string convert(rota::usage_error::kind k) { return "usage_error::kind " + std::to_string(int(k)); }
};
