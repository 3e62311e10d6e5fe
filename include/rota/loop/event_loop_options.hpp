// What goes into an event loop, and what can be read off it: its options and its statistics.
#pragma once

#include <cstddef>
#include <cstdint>

#include <rota/base/clock.hpp>
#include <rota/base/debug_mode.hpp>
#include <rota/reactor/reactor.hpp>

namespace rota {

/// How a loop is made. Every member has a sensible default.
struct event_loop_options {
  event_loop_options() noexcept {}

  /// The environment variable ROTA_BACKEND beats it.
  rota::backend backend = rota::backend::automatic;
  /// How long the destructor waits for cancelled tasks to end before it reports those that do not.
  duration shutdown_deadline = std::chrono::seconds(10);
  /// Set by guest_loop: the loop is driven by another one, which waits for its descriptor.
  bool is_guest = false;

  /// Debug mode: the loop watches its program and reports what asyncio's debug mode would, and more; see
  /// docs/reference/debugging.md. Costs a look at the clock for each step.
  bool debug = detail::debug_by_environment();
  /// Debug mode: a step or a callback that takes so long is reported.
  duration slow_step = std::chrono::milliseconds(100);
  /// Debug mode: a task that still runs so long after its scope was cancelled is reported.
  duration cancel_grace = std::chrono::seconds(5);
};

/// Always on; one call reads them all.
struct event_loop_statistics {
  std::size_t tasks = 0;        ///< spawned and not ended
  std::size_t ready = 0;        ///< waiting for their turn
  std::size_t timers = 0;       ///< armed
  std::size_t operations = 0;   ///< in the kernel, or waiting for readiness
  std::size_t descriptors = 0;  ///< owned by this loop's objects
  std::int64_t frames = 0;      ///< coroutine frames made on this thread and not freed, minus those it freed for others
  std::uint64_t steps = 0;      ///< coroutines resumed, callbacks called
  std::uint64_t iterations = 0;  ///< batches of the ready queue
  std::uint64_t polls = 0;       ///< system calls that wait or poll
  std::uint64_t posts = 0;       ///< received by post() and call_soon_threadsafe()
  std::uint64_t submitted = 0;   ///< operations

  /// Nothing is left that could ever run or complete.
  bool quiescent() const noexcept {
    return tasks == 0 && ready == 0 && timers == 0 && operations == 0 && descriptors == 0;
  }
};

}  // namespace rota
