// this_task::stop_token(): a task's cancellation for code that knows no rota. Not part of rota.hpp: <stop_token> would make
// that a fifth dearer to compile.
#pragma once

#include <stop_token>

#include <rota/coro/cancellation.hpp>
#include <rota/scope/this_task.hpp>

namespace rota {

namespace detail {

// Passes a scope's cancel on to a std::stop_source.
struct stop_watch : scope_watch {
  stop_watch()
      : scope_watch([](scope_watch& self) noexcept { static_cast<stop_watch&>(self).source.request_stop(); },
                    [](scope_watch& self) noexcept { delete &static_cast<stop_watch&>(self); }) {}
  std::stop_source source;
};

}  // namespace detail

namespace this_task {

/// For code that takes a std::stop_token, on any thread: a stop is requested when the innermost scope is cancelled, by
/// whatever reaches it. std::stop_callbacks are then called within the cancel, on the loop's thread; they must not
/// throw. When the scope ends, the token stays as it is. Each scope has one stop state, made when first asked for.
/// Throws std::bad_alloc, and usage_error outside of a task.
inline std::stop_token stop_token() {
  detail::task_state& task = detail::this_task_state();
  detail::this_task_extras();  // by these the end of the task knows that there may be a watch
  scope_node& scope = *task.current;
  auto* watch = static_cast<detail::stop_watch*>(detail::scope_tree::watch_of(scope));
  if (!watch) {
    watch = new detail::stop_watch;
    watch->link_first(scope);
    if (watch->is_cancelled()) watch->source.request_stop();
  }
  return watch->source.get_token();
}

}  // namespace this_task
}  // namespace rota
