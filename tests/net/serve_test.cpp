#include <rota/net/serve.hpp>

#include <csignal>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/streams.hpp"

using namespace rota_test;
using rota::address;
using rota::as_bytes;
using rota::serve;
using rota::serve_options;
using rota::tcp_listener;
using rota::tcp_stream;

namespace {

/// Sends the text and reads as many bytes back.
rota::task<std::string> ask(tcp_stream& stream, std::string text) {
  co_await stream.write_all(as_bytes(text));
  std::string answer;
  while (answer.size() < text.size()) {
    const std::string part = co_await read_text(stream, text.size() - answer.size());
    if (part.empty()) break;
    answer += part;
  }
  co_return answer;
}

rota::task<bool> works(address at) {
  tcp_stream stream = co_await tcp_stream::connect(at);
  const std::string answer = co_await ask(stream, "are you there?");
  co_return answer == "are you there?";
}

rota::task<> fail_on_x(tcp_stream peer) {
  for (;;) {
    const std::string text = co_await read_text(peer);
    if (text.empty()) break;
    if (text == "x") throw std::runtime_error("the handler did not like it");
    co_await peer.write_all(as_bytes(text));
  }
}

/// Cancels the server and waits until it has ended.
rota::task<> stop(rota::join_handle<> server) {
  server.cancel("enough");
  const std::error_code code = co_await error_of(server);
  CHECK(code == rota::errc::task_cancelled);
  CHECK(server.cancelled());
}

}  // namespace

TEST_CASE("a server answers many connections, one after the other and at once") {
  const descriptor_balance nothing_left;
  const std::size_t n = allow_descriptors(scaled(200, 60, 100) * 2) / 2;
  run([n]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(&echo)>, std::move(listener), &echo, serve_options());
    for (int i = 0; i != 20; ++i) {
      const bool right = co_await works(at);
      REQUIRE(right);
    }
    std::vector<rota::join_handle<bool>> clients;
    for (std::size_t i = 0; i != n; ++i) clients.push_back(rota::spawn(works, at));
    std::size_t right = 0;
    for (auto& client : clients) {
      const bool answered = co_await client;
      right += answered;
    }
    CHECK(right == n);
    co_await stop(server);
  });
}

TEST_CASE("each connection gets a copy of the handler, with its state") {
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto handler = [greeting = std::string("hello from a long enough string")](tcp_stream peer) -> rota::task<> {
      co_await settle_tasks();
      co_await peer.write_all(as_bytes(greeting));
    };
    auto server = rota::spawn(serve<decltype(handler)>, std::move(listener), handler, serve_options());
    for (int i = 0; i != 3; ++i) {
      tcp_stream stream = co_await tcp_stream::connect(at);
      const std::string text = co_await read_to_end(stream);
      CHECK(text == "hello from a long enough string");
    }
    co_await stop(server);
  });
}

TEST_CASE("a failing handler ends its own connection only, and on_error gets its exception") {
  const descriptor_balance nothing_left;
  const captured_reports reports;
  run([]() -> rota::task<> {
    std::vector<std::string> errors;
    serve_options options;
    options.on_error = [&errors](std::exception_ptr error) {
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        errors.push_back(e.what());
      }
    };
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(&fail_on_x)>, std::move(listener), &fail_on_x, options);
    tcp_stream bystander = co_await tcp_stream::connect(at);
    for (int i = 0; i != 3; ++i) {
      tcp_stream victim = co_await tcp_stream::connect(at);
      co_await victim.write_all(as_bytes("x"));
      const std::string end = co_await read_to_end(victim);
      CHECK(end.empty());
      const std::string answer = co_await ask(bystander, "still here");
      CHECK(answer == "still here");
    }
    CHECK(errors == std::vector<std::string>(3, "the handler did not like it"));
    co_await bystander.close();
    co_await stop(server);
  });
  CHECK(reports.size() == 0);
}

TEST_CASE("a handler that is no coroutine and throws ends its own connection only") {
  const descriptor_balance nothing_left;
  const captured_reports reports;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    const auto refuse = [](tcp_stream) -> rota::task<> { throw std::runtime_error("not today"); };
    auto server = rota::spawn(serve<decltype(refuse)>, std::move(listener), refuse, serve_options());
    for (int i = 0; i != 2; ++i) {
      tcp_stream victim = co_await tcp_stream::connect(at);
      const std::string end = co_await read_to_end(victim);
      CHECK(end.empty());
    }
    co_await stop(server);
  });
  CHECK(reports.size() == 2);
  CHECK(reports.contains("not today"));
}

TEST_CASE("without on_error a peer that has gone is no news") {
  const captured_reports reports;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(&fail_on_x)>, std::move(listener), &fail_on_x, serve_options());
    {
      tcp_stream gone = co_await tcp_stream::connect(at);
      const std::string answer = co_await ask(gone, "hello");
      CHECK(answer == "hello");
      gone.set_linger(std::chrono::seconds(0));  // resets the connection: the handler's read fails
      co_await gone.close();
    }
    const bool right = co_await works(at);
    CHECK(right);
    co_await stop(server);
  });
  INFO(reports.all());
  CHECK(reports.size() == 0);
}

TEST_CASE("without on_error a peer that has gone is no news, when a task group of the handler hears of it, either") {
  const captured_reports reports;
  run([]() -> rota::task<> {
    const auto handler = [](tcp_stream peer) -> rota::task<> {
      const auto body = [&peer](rota::task_group& group) -> rota::task<> {
        (void)group.spawn([](tcp_stream& from) -> rota::task<> { (void)co_await read_to_end(from); }, std::ref(peer));
        co_return;
      };
      co_await rota::with_task_group(body);
    };
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(handler)>, std::move(listener), handler, serve_options());
    tcp_stream gone = co_await tcp_stream::connect(at);
    co_await gone.write_all(as_bytes("x"));
    gone.set_linger(std::chrono::seconds(0));
    co_await gone.close();
    tcp_stream other = co_await tcp_stream::connect(at);  // and its end is heard of behind the first one's
    other.shutdown(rota::shutdown_direction::send);
    (void)co_await read_to_end(other);
    co_await stop(server);
  });
  INFO(reports.all());
  CHECK(reports.size() == 0);
}

TEST_CASE("without on_error a failing handler is reported") {
  const captured_reports reports;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(&fail_on_x)>, std::move(listener), &fail_on_x, serve_options());
    tcp_stream victim = co_await tcp_stream::connect(at);
    co_await victim.write_all(as_bytes("x"));
    (void)co_await read_to_end(victim);
    co_await stop(server);
  });
  INFO(reports.all());
  CHECK(reports.size() == 1);
  CHECK(reports.count("the handler did not like it") == 1);
}

TEST_CASE("a handler whose peer resets is an error of that connection") {
  run([]() -> rota::task<> {
    std::vector<std::error_code> errors;
    serve_options options;
    options.on_error = [&errors](std::exception_ptr error) {
      try {
        std::rethrow_exception(error);
      } catch (const std::system_error& e) {
        errors.push_back(e.code());
      }
    };
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(&echo)>, std::move(listener), &echo, options);
    tcp_stream rude = co_await tcp_stream::connect(at);
    (void)co_await ask(rude, "hello");
    rude.set_linger(0s);
    co_await rude.close();
    const bool others_live = co_await works(at);
    CHECK(others_live);
    co_await settle_tasks();
    CHECK(errors.size() == 1);
    CHECK(errors.at(0) == std::errc::connection_reset);
    co_await stop(server);
  });
}

TEST_CASE("no more than most_connections are served at a time, and the next one gets its turn") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    std::size_t now_served = 0, most = 0;
    auto handler = [&now_served, &most](tcp_stream peer) -> rota::task<> {
      most = std::max(most, ++now_served);
      co_await echo(std::move(peer));
      --now_served;
    };
    serve_options options;
    options.most_connections = 2;
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(handler)>, std::move(listener), handler, options);
    std::vector<tcp_stream> open;
    for (int i = 0; i != 5; ++i) {
      tcp_stream stream = co_await tcp_stream::connect(at);
      open.push_back(std::move(stream));
    }
    co_await settle_tasks();
    CHECK(now_served == 2);
    for (tcp_stream& stream : open) {
      const std::string answer = co_await ask(stream, "my turn");
      CHECK(answer == "my turn");
      co_await stream.close();  // makes room for the next
    }
    co_await settle_tasks();
    CHECK(now_served == 0);
    CHECK(most == 2);
    co_await stop(server);
  });
}

TEST_CASE("a server at its limit can be stopped") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    serve_options options;
    options.most_connections = 1;
    options.grace = 0s;
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(&echo)>, std::move(listener), &echo, options);
    tcp_stream one = co_await tcp_stream::connect(at);
    tcp_stream other = co_await tcp_stream::connect(at);
    (void)co_await ask(one, "served");
    co_await stop(server);
    const std::string end = co_await read_to_end(one);
    CHECK(end.empty());
  });
}

TEST_CASE("a stopped server closes its listener at once and lets handlers finish") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(&echo)>, std::move(listener), &echo, serve_options());
    tcp_stream stream = co_await tcp_stream::connect(at);
    (void)co_await ask(stream, "before");
    server.cancel("enough");
    co_await settle_tasks();
    CHECK_FALSE(server.done());
    const std::error_code refused = co_await error_of(tcp_stream::connect(at));
    CHECK(refused == std::errc::connection_refused);
    const std::string answer = co_await ask(stream, "in the time of grace");
    CHECK(answer == "in the time of grace");
    co_await stream.close();
    const std::error_code code = co_await error_of(server);
    CHECK(code == rota::errc::task_cancelled);
  });
}

TEST_CASE("handlers that outlast the time of grace are cancelled") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    std::vector<rota::cancel_kind> seen;
    auto handler = [&seen](tcp_stream peer) -> rota::task<> {
      try {
        co_await echo(std::move(peer));
      } catch (const rota::cancelled& c) {
        seen.push_back(c.kind());
        throw;
      }
    };
    serve_options options;
    options.grace = 2ms;
    options.on_error = [](std::exception_ptr) { FAIL("a cancelled handler is no error"); };
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(handler)>, std::move(listener), handler, options);
    tcp_stream one = co_await tcp_stream::connect(at);
    tcp_stream other = co_await tcp_stream::connect(at);
    (void)co_await ask(one, "x");
    (void)co_await ask(other, "y");
    const rota::time_point before = rota::event_loop::current()->now();
    co_await stop(server);
    CHECK(rota::event_loop::current()->now() >= before + 2ms);
    CHECK(seen == std::vector<rota::cancel_kind>(2, rota::cancel_kind::shutdown));
    const std::string end = co_await read_to_end(one);
    CHECK(end.empty());
  });
}

TEST_CASE("a handler that takes a stop_signal gives up waiting for the peer when the server stops") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    int ended = 0;
    auto handler = [&ended](tcp_stream peer, rota::stop_signal stop) -> rota::task<> {
      while (!stop.requested()) {
        const std::optional<std::string> text = co_await rota::move_on_when(stop, read_text(peer));
        if (!text || text->empty()) break;
        co_await peer.write_all(as_bytes(*text));
      }
      ended += stop.requested();
    };
    serve_options options;
    options.grace = 1h;
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(handler)>, std::move(listener), handler, options);
    tcp_stream one = co_await tcp_stream::connect(at);
    tcp_stream other = co_await tcp_stream::connect(at);
    tcp_stream third = co_await tcp_stream::connect(at);
    const std::string answer = co_await ask(one, "x");
    CHECK(answer == "x");
    co_await third.close();  // its scope goes before the others'
    co_await settle_tasks();
    co_await stop(server);
    CHECK(ended == 2);
    const std::string end = co_await read_to_end(other);
    CHECK(end.empty());
  });
}

TEST_CASE("what does not wait is given although the server stops, and what waits is not begun") {
  run([]() -> rota::task<> {
    std::string said;
    auto handler = [&said](tcp_stream peer, rota::stop_signal stop) -> rota::task<> {
      const auto three = []() -> rota::task<int> { co_return 3; };
      const auto nothing = []() -> rota::task<> { co_return; };
      while (!stop.requested()) co_await rota::yield();
      const std::optional<int> value = co_await rota::move_on_when(stop, three());
      const bool ran = co_await rota::move_on_when(stop, nothing());
      const bool slept = co_await rota::move_on_when(stop, rota::sleep_for(1h));
      const std::optional<std::size_t> count = co_await rota::move_on_when(stop, peer.write_some(as_bytes("x")));
      said = (value == 3 ? "value " : "") + std::string(ran ? "ran " : "") + (slept ? "slept " : "") +
             (count ? "wrote " : "");
      co_await peer.write_all(as_bytes("goodbye"));  // outside, the time of grace goes on
    };
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(handler)>, std::move(listener), handler, serve_options());
    tcp_stream client = co_await tcp_stream::connect(at);
    co_await settle_tasks();
    co_await stop(server);
    CHECK(said == "value ran ");
    const std::string text = co_await read_to_end(client);
    CHECK(text == "goodbye");
  });
}

TEST_CASE("move_on_when lets a deadline around it, an error inside it, and the end of the grace pass") {
  run([]() -> rota::task<> {
    bool in_time = true, failed = false, cancelled = false;
    auto handler = [&](tcp_stream peer, rota::stop_signal stop) -> rota::task<> {
      const auto fail = []() -> rota::task<int> {
        co_await rota::yield();
        throw std::runtime_error("inside");
      };
      const std::optional<std::optional<std::string>> text =
          co_await rota::move_on_after(1ms, rota::move_on_when(stop, read_text(peer)));
      in_time = text.has_value();
      try {
        (void)co_await rota::move_on_when(stop, fail());
      } catch (const std::runtime_error&) {
        failed = true;
      }
      const bool slept = co_await rota::move_on_when(stop, rota::shield(1h, rota::sleep_for(5ms)));
      try {
        if (slept) co_await rota::move_on_when(stop, rota::shield(1h, rota::sleep_for(5ms)));
        co_await rota::sleep_for(1h);
      } catch (const rota::cancelled& c) {
        cancelled = c.kind() == rota::cancel_kind::shutdown;
        throw;
      }
    };
    serve_options options;
    options.grace = 10ms;
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(serve<decltype(handler)>, std::move(listener), handler, options);
    tcp_stream client = co_await tcp_stream::connect(at);
    while (!failed) co_await rota::sleep_for(1ms);
    co_await stop(server);
    CHECK_FALSE(in_time);
    CHECK(failed);
    CHECK(cancelled);
  });
}

TEST_CASE("after Ctrl-C the exit code is what a server says that catches its cancel, else 130") {
  for (const bool catches : {true, false}) {
    child_process child([catches] {
      const auto handler = [](tcp_stream peer, rota::stop_signal stop) -> rota::task<> {
        (void)co_await rota::move_on_when(stop, read_text(peer));
      };
      const auto program = [&]() -> rota::task<int> {
        serve_options options;
        options.grace = 1h;
        tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
        std::printf("port %d.\n", listener.local_address().port());
        try {
          co_await serve(std::move(listener), handler, options);
        } catch (const rota::cancelled&) {
          if (!catches) throw;
        }
        co_return 0;
      };
      return rota::run_main(program());
    });
    REQUIRE(child.wait_for("."));
    const rota::unique_fd idle =
        connect_to(address("127.0.0.1", static_cast<std::uint16_t>(std::stoi(child.output().substr(5)))));
    child.send(SIGINT);
    CHECK(child.wait().exit_code() == (catches ? 0 : 130));
  }
}

TEST_CASE("a server that is cancelled before it begins, or at once, ends cleanly") {
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    for (const int rounds : {0, 1, 2, 3}) {
      tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
      auto server = rota::spawn(serve<decltype(&echo)>, std::move(listener), &echo, serve_options());
      for (int i = 0; i != rounds; ++i) co_await rota::yield();
      co_await stop(server);
    }
  });
}

TEST_CASE("a server on a listener that is closed ends with errc::closed") {
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const int fd = listener.native_handle();
    auto server = rota::spawn(serve<decltype(&echo)>, std::move(listener), &echo, serve_options());
    co_await settle_tasks();
    ::shutdown(fd, SHUT_RDWR);  // what a listener's accept then says is EINVAL
    const std::error_code code = co_await error_of(server);
    CHECK(code == std::errc::invalid_argument);
  });
}

TEST_CASE("a server is stopped by the end of its loop") {
  const descriptor_balance nothing_left;
  bool connected = false;
  {
    rota::event_loop loop;
    loop.run([](bool& answered) -> rota::task<> {
      tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
      const address at = listener.local_address();
      serve_options options;
      options.grace = 1ms;
      (void)rota::spawn(serve<decltype(&echo)>, std::move(listener), &echo, options);
      answered = co_await works(at);
      (void)rota::spawn(
          [](address to) -> rota::task<> {
            tcp_stream idle = co_await tcp_stream::connect(to);
            (void)co_await read_text(idle);
          },
          at);
      co_await settle_tasks();
    }(connected));
  }
  CHECK(connected);
}

TEST_CASE("accepting pauses while the process has no descriptors left, says so once per pause, and goes on") {
  if (under_asan) SKIP("UBSan needs descriptors itself to look at an object's type");
  const child_outcome child = run_in_child([] {
    const captured_reports reports;
    bool answered_during = true, answered_after = false;
    std::size_t said = 0, steps = 0;
    run([&]() -> rota::task<> {
      serve_options options;
      options.exhausted_pause = 5ms;
      tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
      const address at = listener.local_address();
      auto server = rota::spawn(serve<decltype(&echo)>, std::move(listener), &echo, options);
      co_await settle_tasks();
      tcp_stream client = co_await tcp_stream::connect(at);
      (void)co_await ask(client, "first");
      co_await client.close();
      co_await settle_tasks();

      // A connection that is made while there is not a single number left for its other end.
      rota::unique_fd waiting(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      const rlimit none{static_cast<rlim_t>(waiting.get() + 1), limit.rlim_max};
      ::setrlimit(RLIMIT_NOFILE, &none);
      std::vector<rota::unique_fd> gaps;  // numbers below it that are free
      for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) gaps.emplace_back(fd);
      if (::connect(waiting.get(), at.data(), at.size()) != 0) co_return;
      const std::size_t before = reports.size();
      const auto steps_before = rota::event_loop::current()->statistics().steps;
      co_await rota::sleep_for(12ms);
      said = reports.size() - before;
      steps = rota::event_loop::current()->statistics().steps - steps_before;
      (void)::send(waiting.get(), "hello", 5, 0);
      answered_during = !read_text(waiting.get()).empty();

      ::setrlimit(RLIMIT_NOFILE, &limit);
      gaps.clear();
      for (int i = 0; i != 1000 && !answered_after; ++i) {
        co_await rota::sleep_for(1ms);
        answered_after = read_text(waiting.get()) == "hello";
      }
      waiting.reset();
      co_await stop(server);
    });
    std::printf("said %zu, steps %zu, during %d, after %d\n%s", said, steps, answered_during, answered_after,
                reports.all().c_str());
    if (said < 1 || said > 4) return 1;
    if (reports.count("accepting pauses") != reports.size()) return 2;
    if (steps > 20) return 3;  // it does not spin
    return !answered_during && answered_after ? 0 : 4;
  });
  INFO(child.output);
  CHECK(child.exit_code() == 0);
}
