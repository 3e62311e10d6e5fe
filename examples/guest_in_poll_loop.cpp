// Shows: rota inside a program that has its own poll(2) loop: an echo server beside lines from the standard input.
// Run:   build/release/examples/guest_in_poll_loop --port 7000        then: nc 127.0.0.1 7000        `quit` or Ctrl-D ends it.

#include <rota/rota.hpp>

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "support/arguments.hpp"

rota::task<> session(rota::tcp_stream peer) {
  std::array<std::byte, 16384> buffer;
  while (const std::size_t n = co_await peer.read_some(buffer)) co_await peer.write_all(std::span(buffer).first(n));
}

rota::task<> server(std::uint16_t port) {
  auto listener = rota::tcp_listener::bind({"127.0.0.1", port});
  co_await rota::serve(std::move(listener), session);
}

rota::task<> remind(std::string text, std::chrono::milliseconds after) {
  co_await rota::sleep_for(after);
  std::printf("%lld ms ago you wrote: %s\n", static_cast<long long>(after.count()), text.c_str());
}

// [host]
// The host owns the loop. Its own descriptor and the guest's are polled together.
int host(std::uint16_t port, std::chrono::milliseconds after) {
  rota::guest_loop guest;
  rota::join_handle<> serving = guest.spawn(server, port);
  bool quit = false;
  while (!quit || guest.tasks() != 0) {
    pollfd fds[] = {{quit ? -1 : STDIN_FILENO, POLLIN, 0}, {guest.fd(), POLLIN, 0}};
    if (::poll(fds, 2, guest.timeout_ms()) < 0 && errno != EINTR) break;
    guest.step();  // cheap when there is nothing to do

    if (fds[0].revents == 0) continue;
    char line[256];
    const ssize_t n = ::read(STDIN_FILENO, line, sizeof line);
    const std::string_view text(line, n > 0 ? static_cast<std::size_t>(n) : 0);
    quit = text.empty() || text == "quit\n";
    if (text.empty())
      serving.cancel("end of input");  // the reminders still come: the loop goes on until all tasks have ended
    else if (quit)
      guest.cancel("the user wants to leave");
    else
      (void)guest.spawn(remind, std::string(text.substr(0, text.size() - 1)), after);
  }
  if (serving.done() && !serving.cancelled()) serving.result();  // its error, if it had one
  return EXIT_SUCCESS;
}
// [/host]

int main(int argc, char** argv) {
  support::arguments arguments(
      argc, argv,
      "usage: guest_in_poll_loop [options]       an echo server that reminds you of what you wrote\n"
      "  --port N          default 7000; 0 takes a free one\n"
      "  --after MS        default 1000\n");
  const auto port = arguments.number<std::uint16_t>("--port", 7000, 0, 65535);
  const std::chrono::milliseconds after(arguments.number<int>("--after", 1000, 0, 1'000'000));
  arguments.end();
  try {
    return host(port, after);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "guest_in_poll_loop: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
