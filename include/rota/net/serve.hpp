// serve(listener, handler, options): accept connections and run a task for each.
#pragma once

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <exception>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/base/report.hpp>
#include <rota/loop/sleep.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/net/stop_signal.hpp>
#include <rota/net/tcp.hpp>
#include <rota/scope/exception_group.hpp>
#include <rota/scope/timeout.hpp>

namespace rota {

/// How serve() behaves.
struct serve_options {
  serve_options() {}

  /// Connections at a time; further ones wait in the listener's backlog.
  std::size_t most_connections = SIZE_MAX;
  /// After a graceful stop: how long handlers may go on before they are cancelled.
  duration grace = std::chrono::seconds(5);
  /// How long accepting pauses when the process or the system is out of descriptors or memory.
  duration exhausted_pause = std::chrono::milliseconds(100);
  /// Called with the exception of a handler; default: the loop's exception handler hears of it, but for a
  /// peer that has gone (peer_has_gone()), and a task group whose errors are all of that kind. Must not throw.
  detail::callable<void(std::exception_ptr)> on_error;
};

namespace detail {

// Owns the connections. Shielded: when the server is cancelled its handlers get their time of grace first.
class connection_owner final : public task_owner {
 public:
  explicit connection_owner(const serve_options& options) noexcept : task_owner(shielded), options_(options) {}
  void child_ended(task_state& child) noexcept override {
    if (!child.has(task_state::was_cancelled)) handler_failed(*error_of(child), &child);
  }

  /// A handler that is no coroutine runs here and now; its exception is its connection's all the same. Throws
  /// std::bad_alloc.
  template <class Handler>
  void start(event_loop& loop, Handler& handler, tcp_stream peer) {
    try {
      if constexpr (std::invocable<Handler&, tcp_stream, stop_signal>)
        (void)start_task(loop, *this, handler, std::move(peer), stop_signal(stop_));
      else
        (void)start_task(loop, *this, handler, std::move(peer));
    } catch (const std::bad_alloc&) {
      throw;
    } catch (...) {
      handler_failed(std::current_exception(), nullptr);
    }
  }
  void request_stop() noexcept { stop_.request(); }

 private:
  void handler_failed(const std::exception_ptr& error, task_state* child) noexcept {
    if (options_.on_error) {
      options_.on_error(error);
    } else if (!is_by_the_peer(error)) {
      description text;
      text.add("a connection's handler (%s) failed", child ? describe(*child).c_str() : "before its first step");
      loop_access::report_error(event_loop::current(), error, text, child);
    }
  }
  static bool is_by_the_peer(const std::exception_ptr& error) noexcept {
    try {
      std::rethrow_exception(error);
    } catch (const std::system_error& e) {
      return peer_has_gone(e.code());
    } catch (const exception_group& group) {  // of a reader and a writer, say
      for (const exception_group::member& one : group.members())
        if (!is_by_the_peer(one.error)) return false;
      return true;
    } catch (...) {
      return false;
    }
  }

  const serve_options& options_;
  stop_source stop_;
};

template <class Handler, class... Args>
inline constexpr bool is_handler_of = requires { requires is_task<std::invoke_result_t<Handler&, Args...>>; };
template <class Handler>
inline constexpr bool is_handler =
    is_handler_of<Handler, tcp_stream> || is_handler_of<Handler, tcp_stream, stop_signal>;

inline bool is_exhaustion(int error) noexcept {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace detail

/// Accepts connections for ever and runs `handler(tcp_stream)` or `handler(tcp_stream, stop_signal)`, which returns a task,
/// for each; a copy of the handler lives with each connection. A failing handler ends its own connection only
/// (serve_options::on_error). When descriptors or memory run out, accepting pauses and goes on; connections wait in the
/// backlog.
///
/// Stops when its scope is cancelled, gracefully: it closes the listener at once, tells handlers that take a stop_signal,
/// lets them all go on for options.grace, cancels those that are left, waits until all have ended, and throws
/// rota::cancelled. Any other error of the listener (errc::closed: somebody closed it) is thrown after the same steps.
template <class Handler>
  requires detail::is_handler<Handler>
task<> serve(tcp_listener listener, Handler handler, serve_options options = serve_options()) {
  detail::connection_owner connections(options);
  detail::task_state& me = co_await detail::this_state_awaiter();
  event_loop& loop = detail::loop_access::loop_of(me);
  connections.attach(me);
  std::exception_ptr stopped_by;
  while (!stopped_by) {
    bool exhausted = false;
    try {
      if (connections.children >= options.most_connections)
        co_await detail::children_awaiter(connections, options.most_connections, true);
      tcp_stream peer = co_await listener.accept();
      connections.start(loop, handler, std::move(peer));
    } catch (const std::system_error& error) {
      exhausted = detail::is_exhaustion(error.code().value());
      if (exhausted)
        report("accepting pauses: %s", error.what());
      else
        stopped_by = std::current_exception();
    } catch (const std::bad_alloc&) {
      exhausted = true;
    } catch (...) {
      stopped_by = std::current_exception();
    }
    if (exhausted) {
      try {
        co_await sleep_for(options.exhausted_pause);
      } catch (...) {
        stopped_by = std::current_exception();
      }
    }
  }
  if (listener.loop() == &loop) co_await listener.close();  // the listener of another loop is that one's to close
  connections.request_stop();
  if (connections.children != 0) {
    try {
      co_await shield(options.grace, detail::children_awaiter(connections, 1, true));
    } catch (...) {  // the time is over, or there is no memory to say so
      detail::scope_tree::cancel(connections, cancel_kind::shutdown, "the server is stopping", {});
    }
    co_await detail::children_awaiter(connections, 1, false);
  }
  connections.detach();
  std::rethrow_exception(stopped_by);
}
template <class Handler>
  requires(!detail::is_handler<Handler>)  // so that clang sees one function behind serve<H>
task<> serve(tcp_listener, Handler, serve_options = serve_options()) {
  static_assert(detail::is_handler<Handler>,
                "serve(listener, handler): the handler takes a rota::tcp_stream, by value, and returns a rota::task: "
                "[](rota::tcp_stream peer) -> rota::task<> { ... } with a co_await or a co_return in it");
  return {};
}

}  // namespace rota
