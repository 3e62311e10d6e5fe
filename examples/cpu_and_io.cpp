// Shows: an echo server that also hashes: on its loop, where an echo waits for the hashes, and on a pool, where it does not.
// Run:   build/release/examples/cpu_and_io        or: cpu_and_io --echoes 5000 --hash-us 2000 --threads 4

#include <rota/rota.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/arguments.hpp"

namespace {

using std::chrono::microseconds;

// A request and its answer: 16 bytes. Rounds of hashing; 0: an echo.
struct message {
  message() noexcept {}
  std::uint64_t rounds = 0;
  std::uint64_t value = 0;
};

struct plan {
  plan() noexcept {}
  std::size_t echoes = 2000;
  std::size_t hashers = 4;  // clients that want hashes, one after the other, all the time
  microseconds hash_time{1000};
  std::uint64_t rounds = 0;           // that take so long
  rota::thread_pool* pool = nullptr;  // null: the server hashes on its loop
};

struct outcome {
  outcome() noexcept {}
  std::vector<rota::duration> round_trips;  // of echoes
  std::size_t hashes = 0;
};

std::uint64_t hash(std::uint64_t value, std::uint64_t rounds) {
  for (; rounds != 0; --rounds) {
    value ^= value >> 32;
    value *= 0xd6e8feb86659fd93U;
  }
  return value;
}

std::uint64_t rounds_that_take(microseconds time) {
  const auto began = rota::clock::now();
  std::uint64_t rounds = 0;
  std::uint64_t value = 1;
  for (; rota::clock::now() - began < std::chrono::milliseconds(20); rounds += 1000) value = hash(value, 1000);
  return value == 0 ? 1 : rounds * static_cast<std::uint64_t>(time.count()) / 20'000;
}

// False at the end of the stream.
rota::task<bool> receive(rota::tcp_stream& from, message& m) {
  const auto bytes = std::as_writable_bytes(std::span(&m, 1));
  std::size_t have = 0;
  while (have != bytes.size()) {
    const std::size_t n = co_await from.read_some(bytes.subspan(have));
    if (n == 0) co_return false;
    have += n;
  }
  co_return true;
}
rota::task<> send(rota::tcp_stream& to, const message& m) { co_await to.write_all(std::as_bytes(std::span(&m, 1))); }

// [session]
rota::task<> session(rota::tcp_stream peer, const plan& p) {
  message m;
  for (;;) {
    const bool more = co_await receive(peer, m);
    if (!more) break;
    if (m.rounds != 0 && p.pool)
      m.value = co_await p.pool->run(hash, m.value, m.rounds);  // other connections are served meanwhile
    else
      m.value = hash(m.value, m.rounds);  // everybody waits for it
    co_await send(peer, m);
  }
}
// [/session]

rota::task<> wants_hashes(rota::address server, const plan& p, std::size_t& count) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(server);
  message m;
  m.rounds = p.rounds;
  for (;;) {
    co_await send(stream, m);
    const bool more = co_await receive(stream, m);
    if (!more) break;
    ++count;
  }
}
rota::task<> wants_echoes(rota::address server, const plan& p, std::vector<rota::duration>& round_trips) {
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(server);
  message m;
  for (std::size_t i = 0; i != p.echoes; ++i) {
    co_await rota::sleep_for(microseconds(200));
    const auto began = rota::clock::now();
    co_await send(stream, m);
    const bool more = co_await receive(stream, m);
    if (!more) throw std::runtime_error("the server hung up");
    round_trips.push_back(rota::clock::now() - began);
  }
}
rota::task<> clients(rota::address server, const plan& p, outcome& out) {
  std::vector<rota::task<>> all;
  all.push_back(wants_echoes(server, p, out.round_trips));
  for (std::size_t i = 0; i != p.hashers; ++i) all.push_back(wants_hashes(server, p, out.hashes));
  (void)co_await rota::when_any(std::move(all));  // the echoes come to an end; the others are cancelled then
}

// The server and its clients have a loop each, as if they were two programs.
rota::task<> on_each_loop(rota::loop_member here, const rota::shared_port& port, rota::any_thread::event& listens,
                          const plan& p, outcome& out) {
  if (here.index() == 0) {
    rota::tcp_listener listener = port.listen();
    listens.set();
    rota::serve_options options;
    options.grace = std::chrono::seconds(0);
    const auto handler = [&p](rota::tcp_stream peer) { return session(std::move(peer), p); };
    co_await rota::serve(std::move(listener), handler, options);
  } else {
    co_await listens.wait();
    co_await clients(port.local_address(), p, out);
    here.stop_group();
  }
}

void print(const char* title, outcome& out) {
  std::sort(out.round_trips.begin(), out.round_trips.end());
  const auto at = [&](double part) {
    const auto i = static_cast<std::size_t>(part * static_cast<double>(out.round_trips.size() - 1));
    return std::chrono::duration<double, std::micro>(out.round_trips[i]).count();
  };
  std::printf("\n%s: %zu hashes; an echo took %.0f us (median), %.0f us (99 %%), %.0f us (longest)\n", title,
              out.hashes, at(0.5), at(0.99), at(1));
  std::array<std::size_t, 32> histogram{};
  for (const rota::duration d : out.round_trips) {
    const auto us = static_cast<std::uint32_t>(std::chrono::duration_cast<microseconds>(d).count());
    ++histogram[static_cast<std::size_t>(std::bit_width(us))];
  }
  for (std::size_t i = 0; i != histogram.size(); ++i) {
    if (histogram[i] == 0) continue;
    const std::size_t bar = (histogram[i] * 60 + out.round_trips.size() - 1) / out.round_trips.size();
    std::printf("  below %8llu us %7zu %s\n", 1ULL << i, histogram[i], std::string(bar, '#').c_str());
  }
}

rota::task<> measure(plan p, outcome& out) {
  const rota::shared_port port(rota::address("127.0.0.1", 0));
  rota::any_thread::event listens;
  co_await rota::loop_group(2, on_each_loop, std::cref(port), std::ref(listens), std::cref(p), std::ref(out));
}

rota::task<int> program(plan p, unsigned threads) {
  p.rounds = rounds_that_take(p.hash_time);
  const std::string what =
      std::to_string(p.hashers) + " clients that want hashes of " + std::to_string(p.hash_time.count()) + " us each";
  std::printf("an echo server, and %s\n", what.c_str());
  outcome on_loop;
  co_await measure(p, on_loop);
  print("hashed on the loop", on_loop);
  rota::thread_pool pool(threads);
  p.pool = &pool;
  outcome on_pool;
  co_await measure(p, on_pool);
  print("hashed on the pool", on_pool);
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  support::arguments arguments(
      argc, argv,
      "usage: cpu_and_io [options]       what hashes do to an echo server, with a pool and without\n"
      "  --echoes N        default 2000\n"
      "  --hashers N       clients that want hashes, default 4\n"
      "  --hash-us N       time of a hash, default 1000\n"
      "  --threads N       of the pool; default: the CPUs but one\n");
  plan p;
  p.echoes = arguments.number<std::size_t>("--echoes", p.echoes, 1, 10'000'000);
  p.hashers = arguments.number<std::size_t>("--hashers", p.hashers, 0, 1000);
  p.hash_time = microseconds(arguments.number<int>("--hash-us", 1000, 0, 10'000'000));
  const unsigned others = std::max(rota::usable_cpus(), 2U) - 1;
  const auto threads = arguments.number<unsigned>("--threads", others, 1, 1000);
  arguments.end();
  return rota::run_main(program(p, threads));
}
