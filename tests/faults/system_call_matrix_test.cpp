// Each system call of rota fails with each errno that its manual page allows, at each of its calls in each scenario, on both
// backends. What follows is what the table says: nobody notices, or the error is thrown; never a hang or a leak.
#include "support/system_call_table.hpp"

#include <rota/rota.hpp>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rota/adapt/guest_loop.hpp>

#include "support/streams.hpp"

namespace {

using namespace rota_test;
using rota::address;
using rota::as_bytes;
using rota::event_loop;
using rota::task;
using rota::tcp_listener;
using rota::tcp_stream;

// ---- the scenarios ------------------------------------------------------------------------------------------------

std::exception_ptr heard;  // an error that had nobody to be thrown at

constexpr std::size_t much = 512 * 1024;  // more than fits

task<> echo_one(tcp_stream& peer) {
  std::array<std::byte, 64> first, second;
  const std::array<rota::mutable_buffer, 2> parts{rota::mutable_buffer(first), rota::mutable_buffer(second)};
  for (;;) {
    const std::size_t n = co_await peer.read_some(parts);
    if (n == 0) break;
    const std::size_t in_first = n < first.size() ? n : first.size();
    co_await peer.write_all(std::span(first).first(in_first));
    if (n > in_first) co_await peer.write_all(std::span(second).first(n - in_first));
  }
  co_await peer.close();
}
task<bool> ask(tcp_stream& stream) {
  const std::string text(100, 'q');
  std::string got;
  for (int round = 0; round != 2; ++round) {
    co_await stream.write_all(as_bytes(text));
    while (got.size() < text.size() * static_cast<std::size_t>(round + 1)) {
      const std::string part = co_await read_text(stream);
      if (part.empty()) co_return false;
      got += part;
    }
  }
  stream.shutdown();
  const std::string end = co_await read_text(stream);
  co_return end.empty() && got == text + text;
}

task<bool> echo() {
  tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
  const auto accept = [&]() -> task<tcp_stream> { co_return co_await listener.accept(); };  // before there is anybody
  auto both = co_await rota::when_all(accept(), tcp_stream::connect(listener.local_address()));
  tcp_stream& server = std::get<0>(both);
  tcp_stream& client = std::get<1>(both);
  if (client.peer_address() != listener.local_address()) co_return false;
  const auto asked = co_await rota::when_all(ask(client), echo_one(server));
  co_await client.close();
  co_return std::get<0>(asked);
}

task<> send_much(tcp_stream& to, bool in_parts) {
  const std::string text(much, 'm');
  if (!in_parts) {
    co_await to.write_all(as_bytes(text));
  } else {
    for (std::size_t sent = 0; sent != text.size();) {
      const std::string_view rest = std::string_view(text).substr(sent);
      const std::array<rota::const_buffer, 2> parts{as_bytes(rest.substr(0, rest.size() / 2)),
                                                    as_bytes(rest.substr(rest.size() / 2))};
      const std::size_t n = co_await to.write_some(parts);
      sent += n;
    }
  }
  to.shutdown();
}
task<std::size_t> count_bytes(tcp_stream& from) {
  for (int i = 0; i != 3; ++i) co_await rota::sleep_for(0s);  // until the writer waits
  std::string part(256 * 1024, '\0');
  std::size_t all = 0;
  for (;;) {
    const std::size_t n = co_await from.read_some(std::as_writable_bytes(std::span(part)));
    if (n == 0) break;
    all += n;
  }
  co_return all;
}
template <bool InParts>
task<bool> much_data() {
  stream_pair pair = co_await connect_streams();
  pair.client.set_send_buffer(32 * 1024);
  const auto both = co_await rota::when_all(count_bytes(pair.server), send_much(pair.client, InParts));
  co_return std::get<0>(both) == much;
}

task<> handle(tcp_stream peer) { co_await echo_one(peer); }
task<bool> serve() {
  rota::serve_options options;
  options.exhausted_pause = 0ms;
  options.grace = 0ms;
  options.on_error = [](std::exception_ptr error) { heard = error; };
  tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
  const address at = listener.local_address();
  const auto body = [&](rota::task_group& group) -> task<bool> {
    (void)group.spawn(rota::serve<decltype(&handle)>, std::move(listener), &handle, options);
    co_await rota::yield();
    tcp_stream client = co_await tcp_stream::connect(at);
    const bool right = co_await ask(client);
    co_await client.close();
    group.cancel();
    co_return right;
  };
  co_return co_await rota::with_task_group(body);
}

task<bool> refused_connect() {
  address nobody("127.0.0.1", 0);
  {
    const tcp_listener listener = tcp_listener::bind(nobody);
    nobody = listener.local_address();
  }
  const auto end = co_await rota::as_result(tcp_stream::connect(nobody));
  if (end.error() != std::errc::connection_refused) throw std::system_error(end.error(), "connect");
  co_return true;
}

task<bool> pipes() {
  descriptor_pair ends = make_pipe();
  rota::fd_stream in = rota::fd_stream::adopt(std::move(ends.first));
  rota::fd_stream out = rota::fd_stream::adopt(std::move(ends.second));
  const auto write = [&]() -> task<> {
    const std::string text(200'000, 'p');
    co_await out.write_all(as_bytes(text));
    co_await out.close();
  };
  const auto both = co_await rota::when_all(read_to_end(in), write());
  co_return std::get<0>(both).size() == 200'000;
}

task<bool> timers() {
  for (int i = 0; i != 3; ++i) co_await rota::sleep_for(100us);
  const bool in_time = co_await rota::move_on_after(100us, rota::sleep_for(1h));
  co_return !in_time;
}

task<bool> watches() {
  event_loop& loop = *event_loop::current();
  const descriptor_pair ends = make_socket_pair();
  const int fd = ends.first.get();
  int reads = 0, writes = 0;
  loop.set_exception_handler([](const rota::exception_context& context) { heard = context.exception; });
  std::exception_ptr error;
  try {
    loop.add_reader(fd, [&] {
      ++reads;
      loop.remove_reader(fd);
    });
    loop.add_writer(fd, [&] {
      ++writes;
      loop.remove_writer(fd);
    });
  } catch (const std::system_error&) {
    error = std::current_exception();
  }
  for (int i = 0; i != 3; ++i) co_await rota::sleep_for(0s);  // the reader waits
  write_text(ends.second.get(), "x");
  while (!error && !heard && (reads == 0 || writes == 0)) co_await rota::sleep_for(0s);
  loop.remove_reader(fd);
  loop.remove_writer(fd);
  for (int i = 0; i != 3; ++i) co_await rota::sleep_for(0s);
  loop.set_exception_handler(nullptr);
  if (error) std::rethrow_exception(error);
  co_return reads == 1 && writes == 1;
}

task<bool> signals() {
  event_loop& loop = *event_loop::current();
  static int came;
  came = 0;
  loop.add_signal_handler(SIGUSR1, [] { ++came; });
  ::raise(SIGUSR1);
  while (came == 0) co_await rota::sleep_for(0s);
  loop.remove_signal_handler(SIGUSR1);
  co_return came == 1;
}

// Posts of others wake a loop that sleeps; a guest shows when it does. Gives a turn more, for what was drained.
bool wake_up() {
  rota::guest_loop guest;
  int ran = 0;
  for (int i = 0; i != 3; ++i) {
    guest.step();
    while (guest.timeout_ms() == 0) guest.step();
    guest.loop().post([&] { ++ran; });
    pollfd p{guest.fd(), POLLIN, 0};
    if (::poll(&p, 1, 5'000) != 1) return false;  // nobody was woken
    guest.step();
  }
  for (int i = 0; i != 3; ++i) guest.step();
  return ran == 3;
}

bool forked_loop() {
  event_loop loop;
  if (!loop.run(timers())) return false;
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      (void)loop.run(timers());
    } catch (const rota::usage_error& error) {
      ::_exit(error.which() == rota::usage_error::kind::forked ? 0 : 1);
    } catch (...) {
    }
    ::_exit(2);
  }
  int status = -1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0 && loop.run(timers());
}

struct scenario {
  const char* name;
  task<bool> (*on_loop)();
  bool (*plain)() = nullptr;
};
const scenario scenarios[] = {
    {"echo", echo},
    {"a write that does not fit", much_data<false>},
    {"writes of several buffers that do not fit", much_data<true>},
    {"serve", serve},
    {"a refused connect", refused_connect},
    {"pipes", pipes},
    {"timers", timers},
    {"watched descriptors", watches},
    {"signals", signals},
    {"wake-ups", nullptr, wake_up},
    {"a fork", nullptr, forked_loop},
};

// ---- running them -------------------------------------------------------------------------------------------------

char watched[200];
void hangs(int) {
  (void)!::write(STDERR_FILENO, watched, std::strlen(watched));
  std::abort();
}

struct outcome {
  bool right = false;
  std::vector<std::error_code> codes;  // of what was thrown
  std::string text;
};
void note(outcome& o, const std::exception_ptr& error) {
  o.right = false;
  try {
    std::rethrow_exception(error);
  } catch (const rota::exception_group& group) {
    for (const std::exception_ptr& each : group.flatten()) note(o, each);
  } catch (const std::system_error& e) {
    o.codes.push_back(e.code());
    o.text += std::string(e.what()) + "; ";
  } catch (const std::exception& e) {
    o.text += std::string(e.what()) + "; ";
  }
}

std::array<std::uint64_t, 9> operations;  // of each kind, in the last run behind a decorator

// Counts before the loop goes, whatever comes out of it.
struct counting {
  const rota::testing::faulty_reactor& reactor;
  ~counting() {
    for (std::size_t i = 0; i != operations.size(); ++i)
      operations[i] = reactor.operations(static_cast<operation_kind>(i));
  }
};

// `failing`: an operation, which may be none; null: without a decorator.
outcome run_scenario(const scenario& s, const rota::testing::failing_operation* failing) {
  outcome o;
  heard = nullptr;
  try {
    if (s.plain) {
      o.right = s.plain();
    } else if (failing) {
      rota::testing::faulty_options options;
      options.failing.push_back(*failing);
      auto reactor = std::make_unique<rota::testing::faulty_reactor>(options);
      const rota::testing::faulty_reactor& its = *reactor;
      event_loop loop(std::move(reactor));
      const counting at_end{its};
      o.right = loop.run(s.on_loop());
    } else {
      event_loop loop;
      o.right = loop.run(s.on_loop());
    }
  } catch (...) {
    note(o, std::current_exception());
  }
  if (heard) note(o, std::exchange(heard, nullptr));
  return o;
}

bool is(const std::error_code& code, int error, call which) {
  if (code == std::error_code(error, std::generic_category())) return true;
  // What rota says in place of the kernel's number.
  if (error == EPERM && which == call::epoll_ctl) return code == std::errc::operation_not_supported;
  if (which == call::fstat) return code == std::errc::bad_file_descriptor;  // a watch cannot tell whose it is
  return false;
}

// What has been exercised, by (site, fault).
struct coverage {
  std::set<std::pair<const site*, int>> struck;
  std::set<std::pair<const site*, int>> thrown;
  std::size_t runs = 0;
  std::map<std::pair<std::string, std::string>, std::uint64_t> skipped;  // by scenario and function, per errno
};

void inject(const scenario& s, const site& at, const fault& f, std::uint64_t calls, coverage& seen) {
  constexpr std::uint64_t most = 30;  // calls of a kind in one scenario; further ones are like these
  if (calls > most) seen.skipped[{s.name, at.name}] = calls - most;
  for (std::uint64_t k = 1; k <= calls && k <= most; ++k) {
    std::snprintf(watched, sizeof watched, "%s, %s fails with %s at call %u: it hangs\n", s.name, at.name,
                  ::strerrorname_np(f.error), static_cast<unsigned>(k));
    ::alarm(20);
    const std::size_t descriptors = open_descriptors();
    const std::int64_t frames_before = frames();
    rota::testing::failing_operation failing{static_cast<operation_kind>(at.operation < 0 ? 0 : at.operation), k,
                                             f.error};
    if (at.which != call::count_) faulty_sys::fail(at.which, f.error, 1, k - 1);
    if (at.ring != ring_call::count_) faulty_ring::fail(at.ring, f.error, k - 1);
    const outcome o = run_scenario(s, at.operation >= 0 ? &failing : nullptr);
    const bool struck = at.operation >= 0              ? operations[static_cast<std::size_t>(at.operation)] >= k
                        : at.ring != ring_call::count_ ? faulty_ring::struck()
                                                       : faulty_sys::plan(at.which).struck != 0;
    faulty_sys::reset();
    faulty_ring::reset();
    ::alarm(0);
    ++seen.runs;
    INFO(s.name << ": " << at.name << " fails with " << ::strerrorname_np(f.error) << " at call " << k << "; "
                << o.text);
    CHECK(open_descriptors() == descriptors);
    CHECK(frames() == frames_before);
    if (!struck) {
      CHECK(o.right);
      return;
    }
    seen.struck.emplace(&at, f.error);
    if (o.right) continue;
    CHECK(f.must == result::thrown);
    bool is_the_error = false;
    for (const std::error_code& code : o.codes) is_the_error = is_the_error || is(code, f.error, at.which);
    CHECK(is_the_error);
    if (is_the_error) seen.thrown.emplace(&at, f.error);
  }
}

bool is_here(const site& s, rota::backend backend) {
  return s.on == where::both || (s.on == where::epoll) == (backend == rota::backend::epoll);
}

std::string read_sys_hpp() {
  const char* const repository = std::getenv("ROTA_SOURCE_DIR");
  std::ifstream file(std::string(repository ? repository : ".") + "/include/rota/base/sys.hpp");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("every function of sys.hpp is in the table") {
  const std::string text = read_sys_hpp();
  if (text.empty()) {
    SKIP("sys.hpp was not found: run it by ctest, or in the repository");
  }
  std::set<std::string> in_table(never_fails);
  for (const site& s : table())
    if (s.which != call::count_) in_table.insert(s.name);
  const std::regex function("\n  static [a-z_:0-9]+ ([a-z_]+)\\(");
  std::size_t found = 0;
  for (std::sregex_iterator at(text.begin(), text.end(), function), end; at != end; ++at, ++found) {
    INFO((*at)[1]);
    CHECK(in_table.count((*at)[1]) == 1);
  }
  CHECK(found >= 28);
  std::set<call> calls;
  for (const site& s : table())
    if (s.which != call::count_) calls.insert(s.which);
  CHECK(calls.size() == static_cast<std::size_t>(call::count_));
}

TEST_CASE("every system call fails with every errno it may have, at every call, and nothing hangs or leaks") {
  const rota::report_handler reports = rota::set_report_handler([](const char*) noexcept {});
  const auto alarm_before = std::signal(SIGALRM, hangs);
  const auto pipe_before = std::signal(SIGPIPE, SIG_IGN);
  const rota::backend backend = event_loop().backend();
  coverage seen;
  for (const scenario& s : scenarios) {
    faulty_sys::reset();
    faulty_ring::reset();
    std::snprintf(watched, sizeof watched, "%s hangs without any fault\n", s.name);
    ::alarm(20);
    const outcome calm = run_scenario(s, nullptr);
    ::alarm(0);
    INFO(s.name << ": " << calm.text);
    REQUIRE(calm.right);
    std::vector<std::uint64_t> calls;
    for (const site& at : table())
      calls.push_back(at.which != call::count_       ? faulty_sys::calls(at.which)
                      : at.ring != ring_call::count_ ? faulty_ring::calls(at.ring)
                                                     : 0);
    for (const site& at : table())
      for (const fault& f : at.faults)
        if (f.by_the_kernel && at.which != call::count_ && faulty_sys::plan(at.which).again != 0)
          seen.struck.emplace(&at, f.error);
    faulty_sys::reset();
    faulty_ring::reset();
    const rota::testing::failing_operation none{operation_kind::poll, 0, 0};
    if (s.on_loop) REQUIRE(run_scenario(s, &none).right);
    const auto operations_here = operations;
    faulty_sys::reset();
    faulty_ring::reset();
    for (std::size_t i = 0; i != table().size(); ++i) {
      const site& at = table()[i];
      if (!is_here(at, backend)) continue;
      std::uint64_t n = calls[i];
      if (at.operation >= 0) {
        if (s.plain) continue;
        n = operations_here[static_cast<std::size_t>(at.operation)];
      }
      for (const fault& f : at.faults)
        if (!f.by_the_kernel) inject(s, at, f, n, seen);
    }
  }
  // Otherwise a kernel that forbids io_uring is no error: the loop takes epoll.
  const char* const wish = std::getenv("ROTA_BACKEND");
  const bool ring_is_a_must = wish != nullptr && std::string_view(wish) == "io_uring";
  std::size_t pairs = 0;
  for (const site& at : table()) {
    if (!is_here(at, backend)) continue;
    for (const fault& f : at.faults) {
      ++pairs;
      INFO(at.name << " with " << ::strerrorname_np(f.error));
      CHECK(seen.struck.count({&at, f.error}) == 1);
      const bool does_without =
          at.ring == ring_call::set_up && (f.error == ENOSYS || f.error == EPERM) && !ring_is_a_must;
      if (f.must == result::thrown && !does_without) CHECK(seen.thrown.count({&at, f.error}) == 1);
    }
  }
  std::fprintf(stderr, "  %zu of %zu pairs of a call and an errno exercised in %zu runs; %zu of them were thrown\n",
               seen.struck.size(), pairs, seen.runs, seen.thrown.size());
  if (seen.skipped.empty()) std::fprintf(stderr, "  every call of every scenario was failed\n");
  for (const auto& [where, calls] : seen.skipped)
    std::fprintf(stderr, "  %s: the last %llu calls of %s were not failed\n", where.first.c_str(),
                 static_cast<unsigned long long>(calls), where.second.c_str());
  rota::set_report_handler(reports);
  std::signal(SIGALRM, alarm_before);
  std::signal(SIGPIPE, pipe_before);
}
