// expect: rota::task can be awaited only in a coroutine that returns rota::task
#include <coroutine>

#include <rota/coro/task.hpp>

struct foreign {
  struct promise_type {
    foreign get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};

rota::task<int> number();

foreign wait() { (void)co_await number(); }
