#!/usr/bin/env python3
"""layers.py <repository>: checks that the folders of include/rota are layers (docs/ARCHITECTURE.md).

Reports every include against the table below, include cycles, third-party headers outside ext/, equal file names,
headers that the umbrella misses, <coroutine> reached from reactor/ and kernel headers reached from coro/.
"""
import re
import sys
from pathlib import Path

# Folder -> folders it may include, besides itself. An entry with a slash is that one header.
L0 = {"base", "detail"}
L2 = L0 | {"coro", "loop", "pool", "sync"}
L4 = L2 | {"scope", "io", "net", "reactor/operation.hpp"}
MAY_INCLUDE = {
    "base": L0,
    "detail": L0,
    "reactor": L0,
    "coro": L0,
    "loop": L0 | {"coro", "reactor"},
    "pool": L0 | {"coro", "loop/deadline_scope.hpp", "loop/task_runner.hpp", "loop/timer_queue.hpp"},
    "sync": L0 | {"coro"},
    "scope": L2,
    "generator": L2 | {"scope"},
    "io": L4 - {"net"},
    "net": L4,
    "process": L4,
    "adapt": L4,
    "ext": L4 | {"process", "adapt"},
    "testing": L4 | {"process", "adapt", "scope", "reactor"},
}
# Only these know a backend folder, reactor/<backend>/, from outside.
OPENS_BACKENDS = {"reactor/open_reactor.hpp", "testing"}
NOT_IN_UMBRELLA = {"ext", "testing"}
# Headers that rota.hpp leaves to those who need them, and what would make every file dear to compile (include_cost_test.py).
COSTLY = {"adapt/spawn_threadsafe.hpp": "<future> and <thread>", "pool/lane_stop.hpp": "<stop_token>",
          "scope/parallel_sort.hpp": "<algorithm> and <functional>",
          "scope/stop_token.hpp": "<stop_token>"}

STANDARD = re.compile(r"[a-z0-9_]+$|bits/chrono\.h$")  # <vector>, <coroutine>; base/clock.hpp says why the last
SYSTEM = re.compile(
    r"(sys|linux|netinet|arpa|net|asm|sanitizer)/|"
    r"(cxxabi|dlfcn|errno|fcntl|limits|netdb|poll|pthread|sched|signal|stddef|stdint|stdio|stdlib|string|time|unistd)\.h$")
LIBURING = re.compile(r"liburing(\.h|/)")
KERNEL = re.compile(r"sys/(epoll|eventfd|signalfd|socket|timerfd|uio|un)\.h|(linux|netinet|arpa)/|liburing")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:<([^>]+)>|"([^"]+)")', re.M)


def read_headers(root):
    """Returns {header: (own headers included, other headers included)}; names are relative to include/rota."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    names = {path: path.relative_to(root).as_posix() for path in files}
    headers = {}
    for path, name in names.items():
        own, foreign = [], []
        for angled, quoted in INCLUDE.findall(path.read_text()):
            text = angled or quoted
            sibling = (path.parent / text).resolve()
            if text.startswith("rota/"):
                own.append(text.removeprefix("rota/"))
            elif quoted and sibling in names:
                own.append(names[sibling])
            else:
                foreign.append(text)
        headers[name] = (own, foreign)
    return headers


def folder_of(name):
    return name.split("/")[0] if "/" in name else ""


def matches(name, entries):
    return name in entries or folder_of(name) in entries


def wrong_direction(name, target):
    """Says why header `name` may not include header `target`, or returns None."""
    here, there = folder_of(name), folder_of(target)
    if here and not there:
        return "an umbrella is for users only"
    if not here and target in COSTLY:
        return f"it stays out of umbrellas, for the sake of {COSTLY[target]}"
    if not here:
        return f"{there}/ stays out of umbrellas" if there in NOT_IN_UMBRELLA else None
    if here == "ext" and there == "ext" and name.split("/")[1] != target.split("/")[1]:
        return "the folders of ext/ do not know each other"
    if here != there and not matches(target, MAY_INCLUDE[here]):
        return f"{here}/ may not include {there}/"
    backend = target.split("/")[1] if there == "reactor" and target.count("/") == 2 else None
    if backend and not name.startswith(f"reactor/{backend}/") and not matches(name, OPENS_BACKENDS):
        return "a backend's folder is included by reactor/open_reactor.hpp only"
    return None


def closure(name, headers):
    """All own headers that `name` reaches, itself included, each with the path that leads there."""
    paths, queue = {name: [name]}, [name]
    for current in queue:  # grows while we walk it
        for target in headers.get(current, ([], []))[0]:
            if target in headers and target not in paths:
                paths[target] = paths[current] + [target]
                queue.append(target)
    return paths


def check(repository):
    headers = read_headers(Path(repository).resolve() / "include" / "rota")
    faults = [] if headers else ["include/rota has no headers"]
    by_basename = {}
    for name, (own, foreign) in headers.items():
        folder = folder_of(name)
        if folder and folder not in MAY_INCLUDE:
            faults.append(f"{name}: the folder {folder}/ has no place in the table of {Path(__file__).name}")
            continue
        by_basename.setdefault(name.split("/")[-1], []).append(name)
        for target in own:
            if target not in headers:
                faults.append(f"{name}: includes rota/{target}, which does not exist")
            elif reason := wrong_direction(name, target):
                faults.append(f"{name}: includes rota/{target}: {reason}")
            if name in closure(target, headers):
                faults.append(f"{name}: includes rota/{target}, which leads back to it: a cycle")
        for text in foreign:
            if LIBURING.match(text):
                if not name.startswith("reactor/io_uring/"):
                    faults.append(f"{name}: includes <{text}>: liburing belongs to reactor/io_uring/")
            elif folder != "ext" and not STANDARD.match(text) and not SYSTEM.match(text):
                faults.append(f"{name}: includes <{text}>: third-party headers belong to ext/")
        for target, path in closure(name, headers).items():
            way = " -> ".join(path)
            if folder == "reactor" and "coroutine" in headers[target][1]:
                faults.append(f"{name}: reaches <coroutine>: {way}")
            for text in headers[target][1]:
                if folder == "coro" and KERNEL.match(text):
                    faults.append(f"{name}: reaches the kernel header <{text}>: {way}")
    for names in by_basename.values():
        if len(names) > 1:
            faults.append(f"equal file names: {', '.join(names)}")
    reached = closure("rota.hpp", headers) if "rota.hpp" in headers else {}
    for name in headers:
        if name not in reached and folder_of(name) not in NOT_IN_UMBRELLA and name not in COSTLY:
            faults.append(f"{name}: rota.hpp does not reach it")
    return faults


if __name__ == "__main__":
    found = check(sys.argv[1])
    print("\n".join(found) if found else "the layers hold")
    sys.exit(1 if found else 0)
