#!/usr/bin/env python3
"""nodiscard_test.py <compiler> <include> [flag...]: whatever does nothing until it is awaited says so, in the line where it is thrown away.

Compiles every expression below as a statement of its own, and wants a warning with its reason for each.
"""
import re
import subprocess
import sys

AWAIT = "nothing happens until it is awaited: write co_await in front of it"
TASK = "a task does nothing until it is awaited or run"
ASK = "nothing happens until it is asked for an item"

DISCARDED = {
    AWAIT: """
rota::sleep_for(1s)
rota::sleep_until(rota::clock::now())
rota::yield()
rota::timeout(1s, rota::sleep_for(2s))
rota::timeout_at(rota::clock::now(), job())
rota::move_on_after(1s, job())
rota::move_on_at(rota::clock::now(), job())
rota::shield(1s, job())
rota::when_all(job(), job())
rota::when_all(jobs())
rota::when_any(job(), job())
rota::when_any(jobs())
rota::race(job(), job())
rota::select(rx.receive(), rota::sleep_for(1s))
rota::as_result(job())
rota::with_value(local, 1, job())
rota::to_thread([] { return 1; })
pool.run([] { return 1; })
rota::run_on(loop, job)
rota::run_on(pool, job)
rota::from_callback<int>([](rota::callback<int>) {})
mutex.lock()
shared.lock()
shared.lock_shared()
event.wait()
semaphore.acquire()
limiter.acquire()
barrier.wait()
latch.wait()
condition.wait(guard)
queue.put(1)
queue.get()
queue.join()
tx.send(1)
rx.receive()
rx.next()
tx.reserve()
broadcast.receive()
broadcast.next()
watch.changed()
oneshot.receive()
any_mutex.lock()
any_semaphore.acquire()
any_event.wait()
any_tx.send(1)
any_rx.receive()
stream.read_some(bytes)
stream.write_some(bytes)
stream.write_all(bytes)
stream.close()
listener.accept()
listener.close()
ticks.next()
generator.next()
""",
    TASK: """
job()
rota::with_task_group([](rota::task_group&) -> rota::task<> { co_return; })
rota::with_cancel_scope([](rota::cancel_scope&) -> rota::task<> { co_return; })
rota::gather(handle, handle)
rota::wait(handles)
rota::tcp_stream::connect({"127.0.0.1", 1})
rota::parallel_for(0, 10, [](int) {})
rota::loop_group(2, nothing)
group.start([](rota::task_status<int> s) -> rota::task<> { s.started(1); co_return; })
condition.wait(guard, [] { return true; })
once.call(job)
completions.next()
""",
    ASK: """
rota::as_completed(handles)
numbers()
numbers() | rota::map([](int n) { return n; })
""",
    "a dropped handle leaves the task running": "rota::spawn(job)",
    "it is the exit code of the program: return it from main()": "rota::run_main(nothing())",
}

BEFORE = """
#include <array>
#include <vector>
#include <rota/rota.hpp>
using namespace std::chrono_literals;
template <class T> T& some();
rota::task<int> job();
rota::task<> nothing();
rota::async_generator<int> numbers();
std::vector<rota::task<int>> jobs();
rota::task<> program() {
  static const rota::task_local<int> local;
  auto& pool = some<rota::thread_pool>();
  auto& loop = some<rota::event_loop>();
  auto& group = some<rota::task_group>();
  auto& handle = some<rota::join_handle<int>>();
  auto& handles = some<std::vector<rota::join_handle<int>>>();
  auto& completions = some<rota::completion_stream<int>>();
  auto& mutex = some<rota::mutex>();
  auto& guard = some<rota::mutex::guard>();
  auto& shared = some<rota::shared_mutex>();
  auto& event = some<rota::event>();
  auto& semaphore = some<rota::semaphore>();
  auto& limiter = some<rota::capacity_limiter>();
  auto& barrier = some<rota::barrier>();
  auto& latch = some<rota::latch>();
  auto& condition = some<rota::condition_variable>();
  auto& once = some<rota::once>();
  auto& queue = some<rota::queue<int>>();
  auto& tx = some<rota::sender<int>>();
  auto& rx = some<rota::receiver<int>>();
  auto& broadcast = some<rota::broadcast_receiver<int>>();
  auto& watch = some<rota::watch_receiver<int>>();
  auto& oneshot = some<rota::oneshot_receiver<int>>();
  auto& any_mutex = some<rota::any_thread::mutex>();
  auto& any_semaphore = some<rota::any_thread::semaphore>();
  auto& any_event = some<rota::any_thread::event>();
  auto& any_tx = some<rota::thread_sender<int>>();
  auto& any_rx = some<rota::thread_receiver<int, false>>();
  auto& stream = some<rota::tcp_stream>();
  auto& listener = some<rota::tcp_listener>();
  auto& bytes = some<std::array<std::byte, 4>>();
  auto& ticks = some<rota::interval>();
  auto& generator = some<rota::async_generator<int>>();
"""


def main():
    compiler, include, *flags = sys.argv[1:]
    if "clang" in compiler:  # GCC 12 says nothing about what an await gives; rota-lint does
        DISCARDED["a guard that is dropped unlocks at once"] = "co_await mutex.lock()"
    cases = [(line, reason) for reason, text in DISCARDED.items() for line in text.strip().splitlines()]
    source = BEFORE + "".join(f"  {expression};\n" for expression, _ in cases) + "  co_return;\n}\n"
    result = subprocess.run([compiler, "-std=c++20", "-I" + include, *flags, "-Wunused-result", "-fsyntax-only", "-x", "c++", "-"],
                            input=source, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    said = {}
    for line, text in re.findall(r"<stdin>:(\d+):\d+: warning: (.*)", result.stderr):
        said[int(line)] = said.get(int(line), "") + text
    first = BEFORE.count("\n") + 1
    faults = [f"{expression};  says: {said.get(first + i, 'nothing')}"
              for i, (expression, reason) in enumerate(cases) if reason not in said.get(first + i, "")]
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(cases)} expressions that are thrown away, {len(cases)} warnings")


main()
