// co_await pool.close(): takes a pool down while who awaits it goes on.
#pragma once

#include <rota/base/usage_error.hpp>
#include <rota/coro/executor.hpp>
#include <rota/coro/task.hpp>
#include <rota/coro/task_state.hpp>
#include <rota/pool/blocking_lane.hpp>
#include <rota/pool/strand.hpp>
#include <rota/pool/thread_pool.hpp>

namespace rota {

// On a thread of its own: it may take as long as the pool's tasks like, and no lane must wait for it.
template <int>
task<> thread_pool::close() {
  const detail::task_state* const me = detail::running_task();
  if (me && me->exec->is_strand() && &static_cast<detail::strand&>(*me->exec).pool() == &core_)
    throw usage_error(usage_error::kind::blocking_in_loop,
                      "a thread_pool was closed by one of its own tasks, which would wait for itself");
  take_no_more();  // now, so that nobody on this thread comes too late
  blocking_lane one_call;
  co_await one_call.run([this] { stop(); });
}

}  // namespace rota
