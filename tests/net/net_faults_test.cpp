// System calls that fail under listeners, connections and serve(). Those of sockets go through the policy on both
// backends; accepting and transfers do on epoll only (tests/reactor/io_uring_faults_test.cpp has the ring's).
#include "support/faulty_sys.hpp"

#include <rota/net/serve.hpp>

#include <memory>
#include <string>
#include <vector>

#include "support/streams.hpp"

using namespace rota_test;
using rota::address;
using rota::as_bytes;
using rota::tcp_listener;
using rota::tcp_stream;

namespace {

struct clean_policy {
  clean_policy() { faulty_sys::reset(); }
  ~clean_policy() { faulty_sys::reset(); }
  clean_policy(const clean_policy&) = delete;
  clean_policy& operator=(const clean_policy&) = delete;
};

bool on_epoll() { return rota::event_loop().backend() == rota::backend::epoll; }

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

}  // namespace

TEST_CASE("binding fails with the error of the call that failed, and leaves nothing behind") {
  struct {
    call which;
    int error;
    const char* name;
  } const cases[] = {{call::socket, EMFILE, "socket"},
                     {call::socket, EAFNOSUPPORT, "socket"},
                     {call::setsockopt, ENOPROTOOPT, "SO_REUSEADDR"},
                     {call::bind, EACCES, "bind to 127.0.0.1:0"},
                     {call::listen, EADDRINUSE, "listen"}};
  for (const auto& c : cases) {
    INFO(c.name);
    const clean_policy policy;
    const descriptor_balance nothing_left;
    run([&c]() -> rota::task<> {
      faulty_sys::fail(c.which, c.error);
      std::string text;
      std::error_code code;
      try {
        const tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
      } catch (const std::system_error& error) {
        code = error.code();
        text = error.what();
      }
      CHECK(code == std::error_code(c.error, std::generic_category()));
      INFO(text);
      CHECK(text.find(c.name) != std::string::npos);
      co_return;
    });
  }
}

TEST_CASE("connecting without descriptors fails, and works again afterwards") {
  const clean_policy policy;
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
      faulty_sys::fail(call::socket, error);
      const std::error_code code = co_await error_of(tcp_stream::connect(listener.local_address()));
      CHECK(code == std::error_code(error, std::generic_category()));
    }
    const tcp_stream client = co_await tcp_stream::connect(listener.local_address());
    const tcp_stream server = co_await listener.accept();
    CHECK(server.is_open());
  });
}

TEST_CASE("a connect that the network gave up says so, apart from a time limit of our own") {
  if (!on_epoll()) {
    SKIP("with io_uring the kernel's result does not pass the policy");
  }
  const clean_policy policy;
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    for (const int error : {ETIMEDOUT, EHOSTUNREACH, ENETUNREACH}) {
      // connect() seems to wait; what it came to is asked for when the socket says that it is ready.
      faulty_sys::fail(call::connect, EINPROGRESS);
      faulty_sys::fail(call::getsockopt, error);
      const std::error_code code = co_await error_of(tcp_stream::connect(address("127.0.0.1", 1)));
      CHECK(code == std::error_code(error, std::generic_category()));
      CHECK(code != rota::errc::timed_out);
    }
  });
}

TEST_CASE("options that the kernel refuses are errors that name the option") {
  const clean_policy policy;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    faulty_sys::fail(call::setsockopt, ENOPROTOOPT);
    std::string text;
    try {
      pair.client.set_keep_alive(true);
    } catch (const std::system_error& error) {
      text = error.what();
    }
    CHECK(text.find("SO_KEEPALIVE") != std::string::npos);
    faulty_sys::fail(call::getpeername, ENOTCONN);
    CHECK(error_code_of([&] { return pair.client.peer_address().port(); }) == std::errc::not_connected);
  });
}

TEST_CASE("an accepted connection is given even if TCP_NODELAY cannot be set on it") {
  const clean_policy policy;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const tcp_stream client = co_await tcp_stream::connect(listener.local_address());
    faulty_sys::fail(call::setsockopt, EINVAL);  // what a socket says whose peer has reset it
    const tcp_stream server = co_await listener.accept();
    CHECK(server.is_open());
  });
}

TEST_CASE("serve pauses when descriptors or memory run out, says so once per pause, and goes on") {
  if (!on_epoll()) SKIP("the ring accepts without a call of ours");
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    INFO("accept fails with " << error);
    const clean_policy policy;
    const descriptor_balance nothing_left;
    const captured_reports reports;
    run([error]() -> rota::task<> {
      rota::serve_options options;
      options.exhausted_pause = 1ms;
      tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
      const address at = listener.local_address();
      auto server = rota::spawn(rota::serve<decltype(&echo)>, std::move(listener), &echo, options);
      co_await settle_tasks();
      tcp_stream early = co_await tcp_stream::connect(at);
      (void)co_await ask(early, "before");
      faulty_sys::fail(call::accept, error, 3);
      tcp_stream late = co_await tcp_stream::connect(at);
      const std::string others_live = co_await ask(early, "meanwhile");
      CHECK(others_live == "meanwhile");
      const std::string answer = co_await ask(late, "after three pauses");
      CHECK(answer == "after three pauses");
      co_await early.close();
      co_await late.close();
      server.cancel();
      (void)co_await error_of(server);
    });
    INFO(reports.all());
    CHECK(reports.size() == 3);
    CHECK(reports.count("accepting pauses") == 3);
  }
}

TEST_CASE("a server that pauses can be stopped") {
  if (!on_epoll()) SKIP("the ring accepts without a call of ours");
  const clean_policy policy;
  const descriptor_balance nothing_left;
  const captured_reports reports;
  run([]() -> rota::task<> {
    rota::serve_options options;
    options.exhausted_pause = 1h;
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    faulty_sys::fail(call::accept, EMFILE);
    auto server = rota::spawn(rota::serve<decltype(&echo)>, std::move(listener), &echo, options);
    co_await settle_tasks();
    CHECK_FALSE(server.done());
    server.cancel();
    const std::error_code code = co_await error_of(server);
    CHECK(code == rota::errc::task_cancelled);
  });
  CHECK(reports.size() == 1);
}

TEST_CASE("connections that died in the backlog do not end a server") {
  if (!on_epoll()) SKIP("the ring accepts without a call of ours");
  const clean_policy policy;
  const descriptor_balance nothing_left;
  const captured_reports reports;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(rota::serve<decltype(&echo)>, std::move(listener), &echo, rota::serve_options());
    co_await settle_tasks();
    faulty_sys::fail(call::accept, ECONNABORTED, 5);
    tcp_stream client = co_await tcp_stream::connect(at);
    const std::string answer = co_await ask(client, "alive");
    CHECK(answer == "alive");
    co_await client.close();
    server.cancel();
    (void)co_await error_of(server);
  });
  CHECK(reports.size() == 0);
}

TEST_CASE("an error of accept that no pause cures ends the server, after its connections") {
  if (!on_epoll()) SKIP("the ring accepts without a call of ours");
  const clean_policy policy;
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    tcp_listener listener = tcp_listener::bind(address("127.0.0.1", 0));
    const address at = listener.local_address();
    auto server = rota::spawn(rota::serve<decltype(&echo)>, std::move(listener), &echo, rota::serve_options());
    co_await settle_tasks();
    tcp_stream client = co_await tcp_stream::connect(at);
    (void)co_await ask(client, "served");
    faulty_sys::fail(call::accept, EINVAL);
    const tcp_stream trigger = co_await tcp_stream::connect(at);
    co_await settle_tasks();
    CHECK_FALSE(server.done());
    const std::string answer = co_await ask(client, "still served");
    CHECK(answer == "still served");
    co_await client.close();
    const std::error_code code = co_await error_of(server);
    CHECK(code == std::errc::invalid_argument);
  });
}

TEST_CASE("signals and short transfers at every call do not change what an echo gives back") {
  if (!on_epoll()) SKIP("the ring transfers without a call of ours");
  for (const std::size_t most : {std::size_t{1}, std::size_t{7}, std::size_t{4'095}}) {
    INFO("at most " << most << " bytes per write");
    const clean_policy policy;
    const descriptor_balance nothing_left;
    run([most]() -> rota::task<> {
      stream_pair pair = co_await connect_streams();
      auto server = rota::spawn(echo, std::move(pair.server));
      faulty_sys::plan(call::send).most = most;
      for (const call which : {call::send, call::recv, call::epoll_wait, call::epoll_wait_until})
        faulty_sys::plan(which).eintr_every = 3;
      for (std::size_t size = 1; size <= 4'096; size *= 4) {
        const std::string text(size, 'e');
        const std::string answer = co_await ask(pair.client, text);
        REQUIRE(answer == text);
      }
      co_await pair.client.close();
      co_await server;
    });
  }
}

TEST_CASE("a stream whose descriptor cannot be watched says so, and works when it can") {
  if (!on_epoll()) SKIP("the ring watches by itself");
  const clean_policy policy;
  const descriptor_balance nothing_left;
  run([]() -> rota::task<> {
    stream_pair pair = co_await connect_streams();
    std::array<std::byte, 8> buffer;
    faulty_sys::fail(call::epoll_ctl, ENOSPC);  // fs.epoll.max_user_watches
    const std::error_code code = co_await error_of(pair.server.read_some(buffer));
    CHECK(code == std::errc::no_space_on_device);
    co_await pair.client.write_all(as_bytes("fine"));
    const std::string text = co_await read_text(pair.server);
    CHECK(text == "fine");
  });
}

TEST_CASE("a loop whose backend cannot be made leaves nothing behind") {
  const clean_policy policy;
  const descriptor_balance nothing_left;
  const captured_reports reports;
  for (int i = 0; i != 3; ++i) {
    faulty_sys::fail(call::eventfd, EMFILE);
    const std::error_code code = error_code_of([] { return rota::event_loop().backend(); });
    CHECK(code == std::errc::too_many_files_open);
  }
  CHECK(rota::event_loop::current() == nullptr);
}
