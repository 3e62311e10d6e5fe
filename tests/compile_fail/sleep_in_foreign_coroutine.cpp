// expect: this can be awaited only in a coroutine that returns rota::task
#include <chrono>
#include <coroutine>

#include <rota/loop/sleep.hpp>

struct foreign {
  struct promise_type {
    foreign get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};

foreign wait() { co_await rota::sleep_for(std::chrono::seconds(1)); }
