// Runs a scenario again and again and lets its first allocation fail, then its second, and so on until it needs no more of
// them. Each time it must end as it should or as std::bad_alloc, leave nothing behind, and work again afterwards.
#pragma once

#include "support/failing_new.hpp"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <span>
#include <system_error>

#include "support/sockets.hpp"

namespace rota_test {

/// A program of a few lines. It gives true when everything went as it should.
class scenario {
 public:
  scenario(const char* what, rota::task<bool> (*program)()) noexcept : name(what), on_loop_(program) {}
  /// One that makes its own event loops.
  scenario(const char* what, bool (*program)()) noexcept : name(what), plain_(program) {}

  /// It may do without what it did not get.
  scenario may_succeed() const noexcept {
    scenario s = *this;
    s.must_fail = false;
    return s;
  }
  /// The other end of a connection sees it go, as std::system_error.
  scenario may_break_connections() const noexcept {
    scenario s = may_succeed();
    s.breaks_connections = true;
    return s;
  }
  /// Real descriptors or signals, or sockets: what the simulated network allocates, it cannot do without.
  scenario needs_kernel() const noexcept {
    scenario s = *this;
    s.with_kernel = true;
    return s;
  }

  bool run(rota::event_loop& loop) const { return on_loop_ ? loop.run(on_loop_()) : plain_(); }

  const char* name;
  bool must_fail = true;
  bool breaks_connections = false;
  bool with_kernel = false;

 private:
  rota::task<bool> (*on_loop_)() = nullptr;
  bool (*plain_)() = nullptr;
};

namespace sweep {

enum class ending { right, wrong, refused, peer_gone, other_exception };

/// What became of a run in which one allocation failed. Holds no memory of its own.
struct point {
  bool was_hit = false;
  ending ended = ending::right;
  char error[160] = "";
  bool quiescent = false;
  bool works_again = false;
  long blocks_left = 0;
  std::int64_t frames_left = 0;
  std::ptrdiff_t descriptors_left = 0;
};

inline char where[200];  // for the watchdog
inline int reports = 0;

extern "C" inline void sweep_hangs(int) {
  (void)!::write(STDERR_FILENO, where, std::strlen(where));
  std::abort();
}

inline void give_up_on_error(point& p) noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    p.ended = ending::refused;
  } catch (const rota::exception_group& group) {
    p.ended = group.find<std::bad_alloc>()      ? ending::refused
              : group.find<std::system_error>() ? ending::peer_gone
                                                : ending::other_exception;
    std::snprintf(p.error, sizeof p.error, "%s", group.what());
  } catch (const std::system_error& error) {
    p.ended = ending::peer_gone;
    std::snprintf(p.error, sizeof p.error, "%s", error.what());
  } catch (const std::exception& error) {
    p.ended = ending::other_exception;
    std::snprintf(p.error, sizeof p.error, "%s", error.what());
  } catch (...) {
    p.ended = ending::other_exception;
  }
}

inline rota::task<> let_others_end() {
  for (int i = 0; i != 10; ++i) co_await rota::yield();
  co_await rota::sleep_for(std::chrono::milliseconds(0));
}

inline point run_point(const scenario& s, long failing, bool once) {
  point p;
  const long blocks = live_blocks;
  const std::int64_t frames_before = frames();
  const std::size_t descriptors = open_descriptors();
  {
    rota::event_loop loop;
    fails_once = once;
    allocations_left = failing;
    try {
      if (!s.run(loop)) p.ended = ending::wrong;
    } catch (...) {
      give_up_on_error(p);
    }
    p.was_hit = allocations_left < 0;
    allocations_left = -1;
    no_memory = false;
    // What the failed program had spawned, and its callbacks, go on; they need a few iterations to end.
    for (int i = 0; i != 20 && !loop.statistics().quiescent(); ++i) loop.run(let_others_end());
    p.quiescent = loop.statistics().quiescent();
    p.works_again = s.run(loop);
  }
  p.blocks_left = live_blocks - blocks;
  p.frames_left = frames() - frames_before;
  p.descriptors_left = static_cast<std::ptrdiff_t>(open_descriptors()) - static_cast<std::ptrdiff_t>(descriptors);
  return p;
}

/// The number of allocations of the scenario, each of which has failed.
inline int each_allocation_of(const scenario& s, bool once) {
  int points = 0;
  for (long failing = 0;; ++failing) {
    std::snprintf(where, sizeof where, "the scenario '%s' hangs after allocation %ld %s\n", s.name, failing,
                  once ? "failed" : "and all later ones failed");
    ::alarm(30);
    point p = run_point(s, failing, once);
    // Something that is made once in the life of the process? Then it is there now.
    if (p.blocks_left != 0) p = run_point(s, failing, once);
    ::alarm(0);
    INFO(s.name << ": allocation " << failing << (once ? " failed; " : " and all later ones failed; ") << p.error);
    REQUIRE(failing < 2000);
    CHECK(p.ended != ending::wrong);
    CHECK(p.ended != ending::other_exception);
    if (!s.breaks_connections || !p.was_hit) CHECK(p.ended != ending::peer_gone);
    if (!p.was_hit) CHECK(p.ended == ending::right);
    if (p.was_hit && s.must_fail) CHECK(p.ended == ending::refused);
    CHECK(p.quiescent);
    CHECK(p.blocks_left == 0);
    CHECK(p.frames_left == 0);
    CHECK(p.descriptors_left == 0);
    CHECK(counted::alive == 0);
    CHECK(p.works_again);
    if (!p.was_hit) return points;
    ++points;
  }
}

}  // namespace sweep

/// Both ways of running out of memory: for a moment, and until the end. Prints how many points each scenario has.
inline void sweep_allocations(std::span<const scenario> scenarios) {
  // Reports are expected, and must not allocate.
  const rota::report_handler before = rota::set_report_handler([](const char*) noexcept { ++sweep::reports; });
  const auto alarm_before = std::signal(SIGALRM, sweep::sweep_hangs);
  const bool simulated = rota::event_loop().backend() == rota::backend::simulated;
  int total = 0, swept = 0;
  for (const scenario& s : scenarios) {
    if (simulated && s.with_kernel) continue;
    const int points = sweep::each_allocation_of(s, true);
    const int to_the_end = sweep::each_allocation_of(s, false);
    std::fprintf(stderr, "  %-60s %3d points\n", s.name, points);
    CHECK(points >= 1);
    CHECK(to_the_end == points);
    total += points;
    ++swept;
  }
  std::fprintf(stderr, "  %d scenarios, %d allocations, each failed for a moment and for good\n", swept, total);
  rota::set_report_handler(before);
  std::signal(SIGALRM, alarm_before);
}

}  // namespace rota_test
