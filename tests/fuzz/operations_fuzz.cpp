// A program of tasks, decoded from the input, in a simulated world: reads, writes, connects, closes, timers, callbacks,
// futures, groups and scopes, and cancels of all of them at any moment. The oracle is rules R1 to R3:
//   - an await ends once, as value, cancelled or error; in a cancelled scope the next one is cancelled, too;
//   - cancelled means that it did not happen: a stream goes on with exactly the next byte, none is lost or comes twice;
//   - what is left at the end is nothing: no task, frame, operation, timer or socket; every error came out once;
//   - and watched_reactor.hpp, at the seam.
// All tasks take their next instruction from the one input, which is deterministic, since the world is.
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rota/rota.hpp>

#include "fuzz/fuzz.hpp"
#include "fuzz/watched_reactor.hpp"

using namespace std::chrono_literals;
using rota::testing::fault_rates;
using rota_fuzz::require;

namespace {

constexpr int deepest = 6;
constexpr int most_tasks = 64;

// ---- the errors that tasks throw on purpose

class boom : public std::exception {
 public:
  explicit boom(int number) : number_(number), text_("boom " + std::to_string(number) + ";") {}
  const char* what() const noexcept override { return text_.c_str(); }
  int number() const noexcept { return number_; }

 private:
  int number_;
  std::string text_;
};

std::vector<int> times_seen;  // of each boom

void see_report(const char* line) noexcept {
  if (!std::strstr(line, "nobody retrieved")) return;  // debug mode also tells why somebody was cancelled
  for (const char* at = line; (at = std::strstr(at, "boom ")) != nullptr; at += 5)
    ++times_seen[static_cast<std::size_t>(std::atoi(at + 5))];
}

void see(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const boom& b) {
    ++times_seen[static_cast<std::size_t>(b.number())];
  } catch (const rota::exception_group& group) {
    for (const std::exception_ptr& member : group.flatten()) see(member);
  } catch (...) {
  }
}

// ---- what the tasks share

/// One direction of a connection. Byte n of it has a value that tells n.
struct flow {
  std::uint8_t salt = 0;
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::uint64_t writing = 0;  // bytes that may be on their way, nobody knows yet
  int readers = 0, writers = 0;
  bool cut = false;         // a write_all ended early: good for closing only
  bool disordered = false;  // two tasks read, or wrote, at once

  std::byte at(std::uint64_t n) const noexcept { return static_cast<std::byte>(n * 7 + n / 251 + salt); }
};

struct stream_end {
  rota::tcp_stream stream;
  flow* in = nullptr;
  flow* out = nullptr;
  bool saw_error = false;
  bool shut = false;
};

struct callback {
  rota::call_handle handle;
  rota::time_point due{};
  bool is_made = false;
  bool cancelled = false;
  int calls = 0;
};

struct machine {
  machine(rota_fuzz::input& i, rota::event_loop& l, rota::detail::virtual_network& n) : in(i), loop(l), network(n) {}
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;

  rota::duration some_time() {
    constexpr rota::duration times[] = {0ns, 1ns, 1us, 100us, 1ms, 3ms, 10ms, 1s, 1min, 1h};
    return times[in.below(std::size(times))];
  }
  std::size_t some_size() {
    constexpr std::size_t sizes[] = {0, 1, 7, 100, 700, 1'024, 3'000, 9'000};
    return sizes[in.below(std::size(sizes))];
  }
  template <class T, std::size_t N>
  T& some(std::array<T, N>& all) {
    return all[in.below(N)];
  }
  void take(std::shared_ptr<stream_end>& slot, rota::tcp_stream stream, std::uint16_t client_port, std::size_t side) {
    std::array<flow, 2>& both = flows[client_port];
    for (std::size_t i = 0; i != 2; ++i) both[i].salt = static_cast<std::uint8_t>(client_port * 2u + i);
    auto end = std::make_shared<stream_end>();
    end->stream = std::move(stream);
    end->out = &both[side];
    end->in = &both[1 - side];
    slot = std::move(end);
  }

  rota_fuzz::input& in;
  rota::event_loop& loop;
  rota::detail::virtual_network& network;
  std::map<std::uint16_t, std::array<flow, 2>> flows;  // by the client's port
  std::array<std::shared_ptr<stream_end>, 4> ends;
  std::array<std::optional<rota::tcp_listener>, 2> listeners;
  std::array<rota::join_handle<>, 8> handles;
  std::array<callback, 4> callbacks;
  std::array<rota::promise<int>, 3> promises;
  std::array<rota::shared_future<int>, 3> futures;
  std::vector<rota::cancel_scope*> scopes;  // that are open
  int tasks = 0;
  int alive = 0;
  int ends_told = 0;  // by on_done
};

// ---- one await, watched

enum class ended { not_yet, value, cancelled, error, nothing_to_do };

/// `suspends`: in a cancelled scope it has to be cancelled at once, as everything that may wait.
template <class Make, class Take>
rota::task<ended> watch(Make make, Take take, bool suspends = true) {
  const bool cancelled_before = rota::this_task::is_cancelled();
  ended how = ended::not_yet;
  const auto end = [&how](ended now) {
    require(how == ended::not_yet, "an await ended twice");
    how = now;
  };
  try {
    using value = rota::await_result_t<std::invoke_result_t<Make&>>;
    if constexpr (std::is_void_v<value>) {
      co_await make();
      take();
    } else {
      value result = co_await make();
      take(std::move(result));
    }
    end(ended::value);
  } catch (const rota::cancelled&) {
    end(ended::cancelled);
  } catch (const std::system_error&) {
    end(ended::error);
  }
  if (how == ended::cancelled) require(rota::this_task::is_cancelled(), "cancelled, but no scope around it is");
  if (cancelled_before && suspends) require(how != ended::value, "an await went on in a cancelled scope (rule R3)");
  co_return how;
}

// ---- the instructions

rota::task<> block(machine& m, rota::task_group* group, int depth);

/// Reads once, and compares. `told`: how much it was.
rota::task<ended> read(std::shared_ptr<stream_end> end, std::size_t size, std::size_t& told) {
  flow& f = *end->in;
  std::vector<std::byte> buffer(size);
  const auto make = [&] { return end->stream.read_some(buffer); };
  const auto take = [&](std::size_t n) {
    told = n;
    require(n <= size, "more bytes than asked for");
    if (f.disordered) return;
    if (n == 0 && size != 0 && !end->saw_error && !end->shut && !f.cut)
      require(f.received >= f.sent, "the end of a stream came before its bytes");
    require(f.received + n <= f.sent + f.writing, "bytes that nobody has sent");
    for (std::size_t i = 0; i != n; ++i)
      require(buffer[i] == f.at(f.received + i), "bytes were lost, duplicated or reordered");
    f.received += n;
  };
  ++f.readers;
  const ended how = co_await watch(make, take);
  --f.readers;
  if (how == ended::error) end->saw_error = true;
  co_return how;
}

rota::task<ended> read(machine& m) {
  const std::shared_ptr<stream_end> end = m.some(m.ends);
  const std::size_t size = m.some_size();
  if (!end) co_return ended::nothing_to_do;
  if (end->in->readers != 0) {
    if (m.in.below(4) != 0) co_return ended::nothing_to_do;
    end->in->disordered = true;
  }
  std::size_t n = 0;
  const ended how = co_await read(end, size, n);
  co_return how;
}

rota::task<ended> write(machine& m, bool all) {
  const std::shared_ptr<stream_end> end = m.some(m.ends);
  const std::size_t size = m.some_size();
  if (!end || end->out->cut) co_return ended::nothing_to_do;
  flow& f = *end->out;
  if (f.writers != 0) {
    if (m.in.below(4) != 0) co_return ended::nothing_to_do;
    f.disordered = true;
  }
  std::vector<std::byte> buffer(size);
  for (std::size_t i = 0; i != size; ++i) buffer[i] = f.at(f.sent + i);
  const auto take = [&](std::size_t n) {
    require(all ? n == size : n <= size && (n != 0 || size == 0), "a count that no write can have");
    f.sent += n;
  };
  f.writing += size;
  ++f.writers;
  ended how = ended::not_yet;
  if (all) {
    const auto make = [&] { return end->stream.write_all(buffer); };
    how = co_await watch(make, take);
  } else {
    const auto make = [&] { return end->stream.write_some(buffer); };
    how = co_await watch(make, take);
  }
  --f.writers;
  if (how == ended::error) end->saw_error = true;
  if (all && how != ended::value)
    f.cut = true;  // `writing` stays
  else
    f.writing -= size;
  co_return how;
}

rota::task<ended> connect(machine& m, std::size_t which, std::shared_ptr<stream_end>& slot) {
  const rota::address to("127.0.0.1", static_cast<std::uint16_t>(7 + which));
  const auto make = [&] { return rota::tcp_stream::connect(to); };
  const auto take = [&](rota::tcp_stream stream) {
    const std::uint16_t port = stream.local_address().port();
    m.take(slot, std::move(stream), port, 0);
  };
  const ended how = co_await watch(make, take);
  co_return how;
}

rota::task<ended> accept(machine& m, std::size_t which, std::shared_ptr<stream_end>& slot) {
  std::optional<rota::tcp_listener>& listener = m.listeners[which];
  if (!listener) co_return ended::nothing_to_do;
  const auto make = [&] { return listener->accept(); };
  const auto take = [&](rota::tcp_stream stream) {
    const std::uint16_t port = stream.peer_address().port();
    m.take(slot, std::move(stream), port, 1);
  };
  const ended how = co_await watch(make, take);
  co_return how;
}

void listen(machine& m, std::size_t which) {
  std::optional<rota::tcp_listener>& listener = m.listeners[which];
  listener.reset();
  rota::listen_options options;
  options.backlog = 1 + static_cast<int>(m.in.below(3));
  try {
    listener.emplace(rota::tcp_listener::bind({"127.0.0.1", static_cast<std::uint16_t>(7 + which)}, options));
  } catch (const std::system_error&) {
  }
}

rota::task<ended> close(machine& m) {
  const std::shared_ptr<stream_end> end = m.some(m.ends);
  if (!end) co_return ended::nothing_to_do;
  const auto make = [&] { return end->stream.close(); };
  const auto take = [] {};
  const ended how = co_await watch(make, take, false);
  require(how == ended::value && !end->stream.is_open(), "a close that did not close");
  co_return how;
}

rota::task<ended> sleep(machine& m) {
  const rota::duration d = m.some_time();
  const rota::time_point start = m.loop.now();
  const auto make = [&] { return rota::sleep_for(d); };
  const auto take = [&] { require(m.loop.now() - start >= d, "a sleep that was too short"); };
  const ended how = co_await watch(make, take);
  co_return how;
}

rota::task<ended> yield() {
  const auto make = [] { return rota::yield(); };
  const auto take = [] {};
  const ended how = co_await watch(make, take);
  co_return how;
}

rota::task<ended> wait_for_future(machine& m) {
  const rota::shared_future<int> future = m.some(m.futures);
  if (!future.valid()) co_return ended::nothing_to_do;
  const bool was_ready = future.ready();
  const auto make = [&] { return future; };
  const auto take = [](int value) { require(value == 42, "a future gave what nobody set"); };
  const ended how = co_await watch(make, take, !was_ready);
  co_return how;
}

void use_promise(machine& m) {
  const std::size_t which = m.in.below(m.promises.size());
  if (!m.futures[which].valid() || m.in.below(3) == 0) {  // the old one breaks
    m.promises[which] = rota::promise<int>();
    m.futures[which] = m.promises[which].get_future().share();
  } else {
    const bool was_ready = m.futures[which].ready();
    require(m.promises[which].try_set_value(42) != was_ready, "a promise was set twice, or never");
  }
}

void use_callback(machine& m) {
  callback& c = m.some(m.callbacks);
  if (c.is_made) {
    const bool in_time = c.handle.cancel();
    require(in_time == (c.calls == 0 && !c.cancelled), "a cancel of a callback said something else than what happened");
    c.cancelled = c.cancelled || in_time;
  }
  if (m.in.below(2) == 0) return;
  const rota::duration d = m.some_time();
  c = callback();
  c.is_made = true;
  c.due = m.loop.now() + d;
  c.handle = m.loop.call_later(d, [&m, &c] {
    require(!c.cancelled && ++c.calls == 1, "a callback was called twice, or after its cancel");
    require(m.loop.now() >= c.due, "a callback came early");
  });
}

void spawn(machine& m, rota::task_group* group, int depth) {
  if (!group || m.tasks == most_tasks) return;
  ++m.tasks;
  rota::join_handle<> handle = group->spawn(block, std::ref(m), nullptr, depth + 1);
  handle.on_done([&m] { ++m.ends_told; });
  m.some(m.handles) = std::move(handle);
}

rota::task<ended> limited(machine& m, rota::task_group* group, int depth) {
  const rota::duration d = m.some_time();
  const rota::time_point start = m.loop.now();
  const auto make = [&] { return rota::move_on_after(d, block(m, group, depth + 1)); };
  const auto take = [&](bool in_time) {
    require(in_time || m.loop.now() - start >= d, "a time limit that struck early");
  };
  const ended how = co_await watch(make, take, false);
  co_return how;
}

// A cancel that comes close to what it is for.
rota::task<ended> read_for(machine& m) {
  const rota::duration d = m.some_time();
  const auto make = [&] { return rota::move_on_after(d, read(m)); };
  const auto take = [](std::optional<ended>) {};
  const ended how = co_await watch(make, take, false);
  co_return how;
}

rota::task<ended> scoped(machine& m, rota::task_group* group, int depth) {
  bool was_cancelled = false;
  const auto body = [&](rota::cancel_scope& scope) -> rota::task<> {
    m.scopes.push_back(&scope);
    struct leaving {
      machine& all;
      rota::cancel_scope* which;
      bool& cancelled;
      ~leaving() {
        cancelled = which->cancel_requested();
        std::erase(all.scopes, which);
      }
    } const at_end{m, &scope, was_cancelled};
    if (m.in.below(4) == 0) scope.set_deadline(m.loop.now() + m.some_time());
    if (m.in.below(4) == 0) scope.defer(1s, [&m]() -> rota::task<> { (void)co_await sleep(m); });
    co_await block(m, group, depth + 1);
  };
  const auto make = [&] { return rota::with_cancel_scope(body); };
  const auto take = [&](bool completed) { require(completed || was_cancelled, "a scope ended early by itself"); };
  const ended how = co_await watch(make, take, false);
  co_return how;
}

rota::task<ended> grouped(machine& m, int depth) {
  const auto body = [&](rota::task_group& group) -> rota::task<> {
    co_await block(m, &group, depth + 1);
    if (m.in.below(4) == 0) group.cancel("by its body");
  };
  std::exception_ptr error;
  ended how = ended::error;
  try {
    const auto make = [&] { return rota::with_task_group(body); };
    const auto take = [] {};
    how = co_await watch(make, take, false);
  } catch (const rota::exception_group&) {
    error = std::current_exception();
  }
  if (error) see(error);
  co_return how;
}

rota::task<ended> both(machine& m, int depth) {
  std::exception_ptr error;
  ended how = ended::error;
  try {
    const auto make = [&] { return rota::when_all(block(m, nullptr, depth + 1), block(m, nullptr, depth + 1)); };
    const auto take = [] {};
    how = co_await watch(make, take, false);
  } catch (const rota::exception_group&) {
    error = std::current_exception();
  }
  if (error) see(error);
  co_return how;
}

rota::task<> sleep_a_while(rota::duration d) { co_await rota::sleep_for(d); }

rota::task<ended> first(machine& m) {
  const rota::duration a = m.some_time(), b = m.some_time();
  const auto make = [&] { return rota::when_any(sleep_a_while(a), sleep_a_while(b)); };
  const auto take = [&](const auto& winner) {
    if (a != b) require(winner.index == (a < b ? 0u : 1u), "the later one came first");
  };
  const ended how = co_await watch(make, take, false);
  co_return how;
}

rota::task<ended> shielded(machine& m) {
  const rota::duration limit = m.some_time();
  ended inner = ended::not_yet;
  const auto wait = [](machine& all, ended& told) -> rota::task<> { told = co_await sleep(all); };
  const auto make = [&] { return rota::shield(limit, wait(m, inner)); };
  const auto take = [] {};
  const ended how = co_await watch(make, take, false);
  require(inner != ended::not_yet, "a shield that was left before its end");
  co_return how;
}

rota::task<ended> step(machine& m, rota::task_group* group, int depth) {
  using state = rota::detail::virtual_network::link_state;
  ended how = ended::nothing_to_do;
  const std::size_t what = m.in.below(32);
  if (depth >= deepest && what >= 22 && what <= 26) co_return how;
  switch (what) {
    case 0:
    case 1:
    case 2: how = co_await read(m); break;
    case 17: how = co_await read_for(m); break;
    case 3:
    case 4: how = co_await write(m, false); break;
    case 5:
    case 6: how = co_await write(m, true); break;
    case 7:
    case 8: how = co_await connect(m, m.in.below(2), m.some(m.ends)); break;
    case 9:
    case 10: how = co_await accept(m, m.in.below(2), m.some(m.ends)); break;
    case 11: listen(m, m.in.below(2)); break;
    case 12: how = co_await close(m); break;
    case 13:
      if (const std::shared_ptr<stream_end> end = m.some(m.ends)) const rota::tcp_stream gone = std::move(end->stream);
      break;
    case 14: {
      const std::shared_ptr<stream_end> end = m.some(m.ends);
      const auto direction = static_cast<rota::shutdown_direction>(m.in.below(3));
      if (!end) break;
      if (direction != rota::shutdown_direction::send) end->shut = true;
      try {
        end->stream.shutdown(direction);
      } catch (const std::system_error&) {
      }
      break;
    }
    case 15: how = co_await sleep(m); break;
    case 16:
      if (m.in.below(4) == 0)
        how = co_await yield();
      else
        how = co_await wait_for_future(m);
      break;
    case 18: use_promise(m); break;
    case 19: use_callback(m); break;
    case 20:
    case 21: spawn(m, group, depth); break;
    case 22: how = co_await limited(m, group, depth); break;
    case 23: how = co_await scoped(m, group, depth); break;
    case 24:
    case 25: how = co_await grouped(m, depth); break;
    case 26: how = co_await both(m, depth); break;
    case 27: how = co_await first(m); break;
    case 28: how = co_await shielded(m); break;
    case 29:
      if (m.in.below(2) == 0 && !m.scopes.empty())
        m.scopes[m.in.below(m.scopes.size())]->cancel("by somebody");
      else if (rota::join_handle<>& handle = m.some(m.handles); handle.valid())
        handle.cancel("by somebody");
      break;
    case 30: m.network.set_link(0, 0, static_cast<state>(m.in.below(3))); break;
    default:
      if (m.in.below(2) == 0) {
        times_seen.push_back(0);
        throw boom(static_cast<int>(times_seen.size()) - 1);
      }
      how = ended::not_yet;  // ends the block
  }
  co_return how;
}

rota::task<> block(machine& m, rota::task_group* group, int depth) {
  struct life {
    machine& all;
    explicit life(machine& where) : all(where) { ++all.alive; }
    life(const life&) = delete;
    life& operator=(const life&) = delete;
    ~life() { --all.alive; }
  } const here(m);
  int swallowed = 0;
  bool goes_on = true;
  while (goes_on && m.in.more()) {
    const ended how = co_await step(m, group, depth);
    if (how == ended::not_yet) goes_on = false;
    // Some swallow their cancel for a while: it comes again.
    if (how == ended::cancelled && (m.in.below(4) != 0 || ++swallowed > 3)) {
      rota::this_task::checkpoint();
      require(false, "a cancel that went away by itself (rule R3)");
    }
  }
}

/// Reads what is on its way, so that nothing can have been lost unnoticed.
rota::task<> drain(std::shared_ptr<stream_end> end) {
  std::size_t n = 1;
  ended how = ended::value;
  while (how == ended::value && n != 0) how = co_await read(end, 5'000, n);
}

rota::task<> program(machine& m) {
  for (std::size_t i = 0; i != 2; ++i) {
    listen(m, i);
    const auto pair = [&m, i] { return rota::when_all(connect(m, i, m.ends[2 * i]), accept(m, i, m.ends[2 * i + 1])); };
    (void)co_await rota::move_on_after(1s, pair());
  }
  const auto body = [&m](rota::task_group& group) -> rota::task<> { co_await block(m, &group, 0); };
  std::exception_ptr error;
  try {
    (void)co_await rota::move_on_after(2h, rota::with_task_group(body));
  } catch (...) {
    error = std::current_exception();
  }
  if (error) see(error);
  require(m.alive == 0 && m.scopes.empty(), "a task or a scope outlived its group");
  m.network.set_link(0, 0, rota::detail::virtual_network::link_state::open);
  for (const std::shared_ptr<stream_end>& end : m.ends) {
    try {
      if (end) end->stream.shutdown();
    } catch (const std::system_error&) {
    }
  }
  for (std::shared_ptr<stream_end>& end : m.ends) {
    if (end) (void)co_await rota::move_on_after(1min, drain(end));  // its peer may be held by nobody
    end = nullptr;
  }
  for (std::optional<rota::tcp_listener>& listener : m.listeners) listener.reset();
  for (callback& c : m.callbacks) c.handle.cancel();
}

rota::task<> settle() {
  for (int i = 0; i != 4; ++i) co_await rota::yield();
}

// ---- the world

rota::testing::simulation_options some_world(rota_fuzz::input& in) {
  rota::testing::simulation_options options(in.byte());
  const std::uint8_t kind = in.byte();
  constexpr std::uint16_t rates[] = {0, 20, 100, 300};
  options.faults = (kind & 4) == 0 ? fault_rates::harmless(rates[kind % 4u]) : fault_rates::all(rates[kind % 4u]);
  options.shuffle = (kind & 8) != 0;
  if ((kind & 16) != 0) options.receive_buffer = options.send_buffer = 1'024;
  if ((kind & 32) != 0) options.loopback = rota::testing::link_options(1ms, 2ms);
  options.keep_trace = std::getenv("ROTA_TRACE") != nullptr;
  return options;
}

rota_fuzz::watched_reactor* current = nullptr;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rota_fuzz::input in({data, size});
  rota::set_report_handler(&see_report);
  rota_fuzz::print_more = [] {
    if (current) std::fputs(current->network().record.text().c_str(), stderr);
  };
  times_seen.clear();
  const std::int64_t frames = rota::detail::frame_memory::live_on_this_thread();
  {
    const rota::testing::simulation_options options = some_world(in);
    rota::event_loop_options how;
    how.debug = in.below(2) == 1;
    auto made = std::make_unique<rota_fuzz::watched_reactor>(options);
    current = made.get();
    rota::detail::virtual_network& network = made->network();
    rota::event_loop loop(std::move(made), how);
    machine m(in, loop, network);
    loop.run(program(m));
    loop.run(settle());  // callbacks of what has just ended
    const rota::event_loop_statistics s = loop.statistics();
    require(s.quiescent(), "something is left on the loop");
    require(network.open_sockets(0) == 0, "a socket was not closed");
    require(m.ends_told == m.tasks, "on_done was not called once for each task");
    current = nullptr;
  }
  require(rota::detail::frame_memory::live_on_this_thread() == frames, "a coroutine frame was not freed");
  for (const int times : times_seen) {
    require(times != 0, "an error was lost (rule R7)");
    require(times == 1, "an error came out twice");
  }
  return 0;
}
