// Everything that rota offers, except ext/ and testing/.
#pragma once

#include <rota/base/cancelled.hpp>
#include <rota/base/clock.hpp>
#include <rota/base/error.hpp>
#include <rota/base/random.hpp>
#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/concepts.hpp>
#include <rota/coro/sync_wait.hpp>
#include <rota/coro/task.hpp>
#include <rota/io/buffer.hpp>
#include <rota/io/byte_stream.hpp>
#include <rota/io/fd_stream.hpp>
#include <rota/loop/as_result.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/loop/run.hpp>
#include <rota/loop/sleep.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/net/address.hpp>
#include <rota/net/serve.hpp>
#include <rota/net/tcp.hpp>
#include <rota/scope/cancel_scope.hpp>
