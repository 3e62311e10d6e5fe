// Measures boost::asio::experimental::channel: one coroutine sends, one receives.
#include <cstdint>
#include <utility>

#include <benchmark/benchmark.h>
#include <boost/asio.hpp>
#include <boost/asio/experimental/channel.hpp>

namespace asio = boost::asio;

namespace {

constexpr int batch = 1000;
using executor = asio::io_context::executor_type;
using awaitable = asio::awaitable<void, executor>;
using use_awaitable = asio::use_awaitable_t<executor>;
using channel = asio::experimental::channel<executor, void(boost::system::error_code, std::uint64_t)>;

awaitable send_for_ever(channel& to) {
  for (std::uint64_t i = 0; to.is_open(); ++i)
    co_await to.async_send(boost::system::error_code(), i, asio::as_tuple(use_awaitable()));
}

awaitable receive_all(benchmark::State& state, channel& from) {
  for (int i = 0; i != 10'000; ++i) benchmark::DoNotOptimize(co_await from.async_receive(use_awaitable()));
  for (auto _ : state)
    for (int i = 0; i != batch; ++i) benchmark::DoNotOptimize(co_await from.async_receive(use_awaitable()));
  state.SetItemsProcessed(state.iterations() * batch);
  from.close();
}

void channel_case(benchmark::State& state) {
  asio::io_context context(1);
  channel items(context.get_executor(), static_cast<std::size_t>(state.range(0)));
  asio::co_spawn(context.get_executor(), send_for_ever(items), asio::detached);
  asio::co_spawn(context.get_executor(), receive_all(state, items), asio::detached);
  context.run();
}

}  // namespace

BENCHMARK(channel_case)->Name("channel/asio")->Arg(1)->Arg(1024);
BENCHMARK_MAIN();
