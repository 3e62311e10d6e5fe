#!/usr/bin/env python3
"""waking_test.py <repository>: what no test can see, because it works all the same.

In sync/ only the two wait lists wake a task, so no primitive can have a list of waiters of its own. And no header has a
standalone fence, which ThreadSanitizer does not understand.
"""
import re
import sys
from pathlib import Path

MAY_WAKE = {"sync/wait_list.hpp", "sync/remote_wait_list.hpp"}
WAKES = re.compile(r"\bmake_ready\s*\(|->\s*post\s*\(|\.resume\s*\(")
FENCE = re.compile(r"\batomic_(thread|signal)_fence\b|__atomic_thread_fence|__sync_synchronize")


def faults_in(name, text):
    code = re.sub(r"//.*", "", text)
    faults = []
    if name.startswith("sync/") and name not in MAY_WAKE and WAKES.search(code):
        faults.append(f"{name}: wakes a task by itself: who waits stands in a wait_list or a remote_wait_list")
    if FENCE.search(code):
        faults.append(f"{name}: a standalone fence: order by seq_cst accesses, as work_stealing_deque.hpp does")
    return faults


def check(root):
    headers = sorted(root.rglob("*.hpp"))
    found = [] if headers else ["there are no headers"]
    for path in headers:
        found += faults_in(path.relative_to(root).as_posix(), path.read_text())
    return found


# It finds what it is for.
assert faults_in("sync/gate.hpp", "make_ready(first->frame);")
assert faults_in("sync/gate.hpp", "wait.task->exec->post(wait);")
assert faults_in("pool/deque.hpp", "std::atomic_thread_fence(std::memory_order_seq_cst);")
assert not faults_in("sync/gate.hpp", "// make_ready(first->frame);")
assert not faults_in("loop/gate.hpp", "make_ready(first->frame);")

all_faults = check(Path(sys.argv[1]).resolve() / "include" / "rota")
print("\n".join(all_faults) if all_faults else "only the wait lists wake, and there is no fence")
sys.exit(1 if all_faults else 0)
