// rota::testing::run_simulated: a program of one host in a simulated world, in one call.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include <rota/testing/simulation.hpp>

namespace rota::detail {

/// At the end of its block, where the environment wants it.
class print_trace {
 public:
  explicit print_trace(const testing::trace& of) noexcept : trace_(of) {}
  print_trace(const print_trace&) = delete;
  print_trace& operator=(const print_trace&) = delete;
  ~print_trace() {
    const char* const wanted = std::getenv("ROTA_TRACE");
    if (wanted && *wanted == '1') std::fputs(trace_.text().c_str(), stderr);
  }

 private:
  const testing::trace& trace_;
};

}  // namespace rota::detail

namespace rota::testing {

/// Runs f(args...), which returns a task<T>, as rota::run would, on a loop in virtual time with a virtual loopback
/// network. Hours of timers take milliseconds; time passes only when every task is blocked. Returns the task's value
/// or throws its exception; errc::task_cancelled when it ended as cancelled; deadlock when it can never end. Tasks that
/// are left are cancelled and end. With ROTA_TRACE=1 in the environment the trace goes to stderr at the end.
template <class F, class... Args>
auto run_simulated(const simulation_options& options, F&& f, Args&&... args) {
  simulation world(options);
  const detail::print_trace at_the_end(world.trace());
  auto handle = world.add_host("host").spawn(std::forward<F>(f), std::forward<Args>(args)...);
  world.run_until([&] { return handle.done(); });
  using value = decltype(handle.result());
  if constexpr (std::is_void_v<value>)
    handle.result();
  else
    return std::remove_reference_t<value>(std::move(handle.result()));
}
template <class F>
auto run_simulated(F&& f) {
  return testing::run_simulated(simulation_options(), std::forward<F>(f));
}

}  // namespace rota::testing
