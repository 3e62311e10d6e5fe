// Several simulated hosts in one process and on one thread, each with its own event loop, in one virtual time.
#pragma once

#include <signal.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rota/base/atomic.hpp>
#include <rota/base/sys.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/describe.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/join_handle.hpp>
#include <rota/loop/signals.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/testing/simulated_reactor.hpp>
#include <rota/testing/simulation_options.hpp>

namespace rota::detail {
class storm;
}

namespace rota::testing {

class outside_work;

/// A world: hosts 10.0.0.1, 10.0.0.2, ... with links between them. Its thread is the one that made it. Members that let
/// time pass (run, run_until, advance, wait_all_tasks_blocked) are called from outside of all tasks; those that change
/// the world (partition, crash, ...) from there, or from a task of another host.
///
/// Time stands still while anything can run. A task that never blocks, `for (;;) co_await yield();`, so hangs.
class simulation {
 public:
  class host;

  explicit simulation(const simulation_options& options = simulation_options()) : network_(options) {}
  simulation(const simulation&) = delete;
  simulation& operator=(const simulation&) = delete;
  /// Takes the hosts down one by one: their tasks are cancelled and end, without effect on each other.
  ~simulation();

  // ---- hosts

  /// A host with an event loop and nothing on it. The reference is good as long as the simulation.
  host& add_host(std::string name);
  /// A host whose program is `main`, a callable that returns task<>: started now, and again by restart(). Whatever it
  /// keeps of its own across a crash (its disk, so to say) lives outside of it.
  template <class F>
  host& add_host(std::string name, F main);

  // ---- time

  /// Since the simulation was made.
  duration elapsed() const noexcept { return duration(network_.clock.now() - detail::virtual_clock::start_time); }
  /// Until every task of every host has ended. Throws what a host's main has thrown, and deadlock.
  void run();
  /// Until the condition, which is looked at between steps, holds. Throws deadlock.
  template <class Condition>
  void run_until(Condition holds) {
    while (!holds()) {
      if (turn()) continue;
      if (wait_for_outside()) continue;
      const detail::nanoseconds t = next_instant();
      if (t == detail::never) throw deadlock(describe_deadlock());
      move_to(t);
    }
  }
  /// Lets so much time pass, and everything happen that belongs to it.
  void advance(duration d) {
    const detail::nanoseconds end = detail::deadline_after(network_.clock.now(), d.count());
    for (;;) {
      if (turn() || wait_for_outside()) continue;
      const detail::nanoseconds t = next_instant();
      if (t > end) break;
      move_to(t);
    }
    move_to(end);
  }
  /// Runs what can run without time passing.
  void wait_all_tasks_blocked() {
    while (turn()) {
    }
  }

  // ---- links: between two hosts, both directions

  void set_link(const host& a, const host& b, const link_options& options);
  /// Nothing gets through. Connections survive a short one: TCP sends again, for 15 minutes (2 for a connect).
  void partition(const host& a, const host& b) {
    set_link(a, b, detail::virtual_network::link_state::cut, "partition");
  }
  /// What is sent waits, however long.
  void hold(const host& a, const host& b) { set_link(a, b, detail::virtual_network::link_state::held, "hold"); }
  /// Ends a partition or hold: what waited is on its way, in order.
  void heal(const host& a, const host& b) { set_link(a, b, detail::virtual_network::link_state::open, "heal"); }

  // ---- crashes

  /// The host is gone, without a word to its peers. Its tasks are cancelled and unwind, which nobody can see: their
  /// operations fail, and their time is not the world's. Throws usage_error on the host itself.
  void crash(host& h);
  /// The host is there again, with a new loop; its main is started. Peers that still talk to its former life are reset.
  void restart(host& h);

  // ---- signals

  /// The host's process gets a signal (a number of <csignal>). A handler of its loop (add_signal_handler) is called.
  /// Otherwise it is as under run_main: the first SIGINT or SIGTERM cancels main; a second one, and every other signal
  /// that ends processes, is a crash. From outside of all tasks, or from a task of another host. Throws usage_error for
  /// a number that no loop can handle.
  void raise(host& h, int signal);

  // ---- how much the program does

  /// `most`; less when the options say so. Ask it how often to go round a loop, and explore() can make a failure shorter:
  /// the first n rounds should be the same, however many follow.
  std::size_t steps(std::size_t most) {
    const std::vector<std::size_t>& limits = network_.options.steps;
    if (steps_.size() < limits.size()) most = std::min(most, limits[steps_.size()]);
    steps_.push_back(most);
    return most;
  }

  // ---- what happened

  const testing::trace& trace() const noexcept { return network_.record; }
  /// The faults that have struck: as options.script, they make the same run again.
  const std::vector<fault_at>& faults() const noexcept { return network_.faults.struck(); }
  /// What steps() has given.
  const std::vector<std::size_t>& steps_given() const noexcept { return steps_; }
  /// Of all hosts.
  std::size_t tasks() const noexcept;
  /// Nothing is left on any host: no tasks, operations, timers, sockets.
  bool quiescent() noexcept;
  const simulation_options& options() const noexcept { return network_.options; }

 private:
  friend outside_work;
  friend detail::storm;

  bool turn();
  detail::nanoseconds next_instant() noexcept;
  void move_to(detail::nanoseconds t) {
    network_.clock.move_to(t);
    network_.run_due();
  }
  // Another thread may post at any moment, and only its post can tell.
  bool wait_for_outside() const noexcept {
    if (outside_.load(std::memory_order_acquire) == 0) return false;
    detail::sys::poll(nullptr, 0, 1);
    return true;
  }
  void set_link(const host& a, const host& b, detail::virtual_network::link_state state, std::string_view what);
  void take_down(host& h);
  std::string describe_deadlock();

  detail::virtual_network network_;
  std::vector<std::unique_ptr<host>> hosts_;
  std::vector<host*> turns_;
  std::vector<std::size_t> steps_;
  detail::atomic<int> outside_{0};
};

/// A machine of a simulation.
class simulation::host {
 public:
  host(const host&) = delete;
  host& operator=(const host&) = delete;

  const std::string& name() const noexcept { return world_.network_.host(index_).name; }
  /// Where the others reach it.
  rota::address address(std::uint16_t port) const {
    return rota::address(world_.network_.host(index_).at.host(), port);
  }
  bool is_up() const noexcept { return loop_.has_value(); }
  /// Throws usage_error while the host is down.
  event_loop& loop() {
    if (!loop_) throw usage_error(usage_error::kind::no_event_loop, "this simulated host is down");
    return *loop_;
  }
  simulation& world() noexcept { return world_; }

  /// As rota::spawn, on the host's loop. Drop the handle before the host goes down.
  template <class F, class... Args>
  auto spawn(F&& f, Args&&... args) {
    event_loop& on = loop();
    return detail::start_task(on, detail::loop_access::root(on), std::forward<F>(f), std::forward<Args>(args)...);
  }

 private:
  friend simulation;
  host(simulation& world, std::size_t index) : world_(world), index_(index) {}

  void boot() {
    auto made = std::make_unique<detail::simulated_reactor>(world_.network_, index_);
    reactor_ = made.get();
    loop_.emplace(detail::owned<detail::reactor>(std::move(made)));
  }
  void start_main() {
    interrupted_ = false;
    if (main_) running_ = spawn([this]() -> task<> { return main_(); });
  }
  bool has_work() const noexcept {
    return loop_ && (reactor_->has_completions() || detail::loop_access::has_work(*loop_, reactor_->now()));
  }
  /// A sleep, deadline or call_later of a task ends with the next step.
  bool is_due() noexcept { return detail::loop_access::timers(*loop_).next_deadline() <= reactor_->now(); }
  void rethrow() {
    if (running_.valid() && running_.done() && !running_.cancelled()) running_.result();
  }

  simulation& world_;
  const std::size_t index_;
  std::function<task<>()> main_;
  detail::simulated_reactor* reactor_ = nullptr;  // the loop's
  std::optional<event_loop> loop_;                // none: the host is down
  bool interrupted_ = false;                      // main has had its SIGINT or SIGTERM
  join_handle<> running_;                         // main
};

/// While it lives, another thread works for a task of the simulation and will post to its loop: time does not jump.
/// Any thread; ends before the simulation.
class outside_work {
 public:
  explicit outside_work(simulation& world) noexcept : world_(world) {
    world_.outside_.fetch_add(1, std::memory_order_relaxed);
  }
  outside_work(const outside_work&) = delete;
  outside_work& operator=(const outside_work&) = delete;
  ~outside_work() { world_.outside_.fetch_sub(1, std::memory_order_release); }

 private:
  simulation& world_;
};

// ---------------------------------------------------------------------------------------------------------------

inline simulation::~simulation() {
  for (const std::unique_ptr<host>& h : hosts_) take_down(*h);
}

inline simulation::host& simulation::add_host(std::string name) {
  const std::size_t index = network_.add_host(std::move(name));
  hosts_.push_back(std::unique_ptr<host>(new host(*this, index)));
  hosts_.back()->boot();
  return *hosts_.back();
}

template <class F>
simulation::host& simulation::add_host(std::string name, F main) {
  host& h = add_host(std::move(name));
  h.main_ = std::move(main);
  h.start_main();
  return h;
}

inline void simulation::run() {
  run_until([this] { return tasks() == 0; });
  for (const std::unique_ptr<host>& h : hosts_) h->rethrow();
}

// One iteration of each loop that has something to do. False: every task is blocked.
inline bool simulation::turn() {
  network_.run_due();
  turns_.clear();
  for (const std::unique_ptr<host>& h : hosts_)
    if (h->has_work()) turns_.push_back(h.get());
  if (network_.options.shuffle) {
    for (std::size_t i = turns_.size(); i > 1; --i)
      std::swap(turns_[i - 1], turns_[static_cast<std::size_t>(network_.order.below(i))]);
  }
  for (host* h : turns_) {
    if (!h->loop_) continue;  // another one's turn has crashed it
    if (turns_.size() > 1) network_.note(h->index_).word("turn").end();
    if (h->is_due()) network_.note(h->index_).word("timer").end();
    detail::loop_access::step(*h->loop_);
  }
  return !turns_.empty();
}

inline detail::nanoseconds simulation::next_instant() noexcept {
  detail::nanoseconds first = network_.next_event();
  for (const std::unique_ptr<host>& h : hosts_) {
    if (!h->loop_) continue;
    const detail::nanoseconds t = h->reactor_->due_at(detail::loop_access::timers(*h->loop_).next_deadline());
    if (t < first) first = t;
  }
  return first;
}

inline std::size_t simulation::tasks() const noexcept {
  std::size_t n = 0;
  for (const std::unique_ptr<host>& h : hosts_)
    if (h->loop_) n += h->loop_->statistics().tasks;
  return n;
}

inline bool simulation::quiescent() noexcept {
  for (const std::unique_ptr<host>& h : hosts_)
    if ((h->loop_ && !h->loop_->statistics().quiescent()) || network_.open_sockets(h->index_) != 0) return false;
  return true;
}

inline void simulation::set_link(const host& a, const host& b, const link_options& options) {
  network_.set_link(a.index_, b.index_, options);
}

inline void simulation::set_link(const host& a, const host& b, detail::virtual_network::link_state state,
                                 std::string_view what) {
  network_.note(a.index_).word(what).word(b.name()).end();
  network_.set_link(a.index_, b.index_, state);
}

inline void simulation::crash(host& h) {
  if (!h.loop_) return;
  if (event_loop::current() == &*h.loop_)
    throw usage_error(usage_error::kind::invalid_argument, "a simulated host cannot crash itself: another one can");
  network_.note(h.index_).word("crash").end();
  network_.crash(h.index_);
  take_down(h);
}

inline void simulation::raise(host& h, int signal) {
  if (!h.loop_) return;
  network_.note(h.index_).word("signal ").number(signal).end();
  if (detail::signal_handlers::raise(*h.loop_, signal)) return;
  for (const int ignored : {SIGCHLD, SIGCONT, SIGURG, SIGWINCH})
    if (signal == ignored) return;
  const bool interrupts = signal == SIGINT || signal == SIGTERM;
  if (interrupts && !h.interrupted_ && h.running_.valid() && !h.running_.done()) {
    h.interrupted_ = true;
    const char* const name = signal == SIGINT ? "SIGINT" : "SIGTERM";
    detail::scope_tree::cancel(h.running_.task(), cancel_kind::interrupt, name, {});
  } else {
    crash(h);
  }
}

inline void simulation::restart(host& h) {
  crash(h);
  network_.note(h.index_).word("restart").end();
  network_.restart(h.index_);
  h.boot();
  h.start_main();
}

inline void simulation::take_down(host& h) {
  if (!h.loop_) return;
  h.running_ = join_handle<>();
  h.reactor_->leave();
  h.loop_.reset();
}

inline std::string simulation::describe_deadlock() {
  std::string text = "every task is blocked for ever:";
  for (const std::unique_ptr<host>& h : hosts_) {
    if (!h->loop_) continue;
    detail::scope_tree::for_each_task(detail::loop_access::root(*h->loop_), [&](detail::task_state& task) {
      text += "\n  " + h->name() + ": " + detail::describe(task).c_str();
    });
  }
  return text;
}

}  // namespace rota::testing
