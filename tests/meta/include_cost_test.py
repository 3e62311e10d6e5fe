#!/usr/bin/env python3
"""include_cost_test.py <compiler> <nm> <include> [flag...]: what `#include <rota/rota.hpp>` may cost everybody.

It pulls in no standard header but these, and no code comes out of it until something is used. `./dev bench include` says what
that is worth: at most half of <boost/asio.hpp>'s time.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Directly or through another one, with libstdc++ 12. <iterator>, for one, brings streams and locales: 8 % of all.
# base/clock.hpp takes the part of <chrono> that is cheap; base/callable.hpp and base/owned.hpp stand for <functional> and <memory>.
KEPT = set("""
array atomic bit compare concepts coroutine exception initializer_list iosfwd limits new numbers optional ratio source_location span
stdexcept string string_view system_error tuple type_traits typeinfo utility variant vector version
cctype cerrno climits clocale cstdarg cstddef cstdint cstdio cstdlib cstring ctime cwchar
""".split())


def standard_headers(tree):
    """(name, chain of rota's headers that leads to it) of each standard header in what -H prints."""
    chain = []
    for dots, path in re.findall(r"^(\.+) (\S+)$", tree, re.M):
        chain[len(dots) - 1:] = [path]
        if found := re.search(r"/c\+\+/12/([a-z_]+)$", path):
            yield found[1], " -> ".join(re.sub(r".*/(rota/|c\+\+/12/)", r"\1", step) for step in chain)


def main(compiler, nm, include, *flags):
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "user.cpp"), Path(folder, "user.o")
        source.write_text("#include <rota/rota.hpp>\n")
        command = [compiler, "-std=c++20", "-O0", f"-I{include}", *flags, "-H", "-c", str(source), "-o", str(made)]
        tree = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        found = dict(reversed(list(standard_headers(tree))))
        if "coroutine" not in found:
            print("skipped: this is not libstdc++ 12, whose headers the list is about")
        faults += [f"rota.hpp now brings <{name}>, which everybody pays for: {way}. Do without, leave what needs it out of rota.hpp, "
                   "or show with ./dev bench include that it is cheap, and keep it in the list of this test"
                   for name, way in found.items() if name not in KEPT]
        symbols = subprocess.run([nm, "-C", str(made)], capture_output=True, text=True, check=True).stdout
        code = [line.split(maxsplit=2)[2] for line in symbols.splitlines() if re.match(r"[0-9a-f]+ [TtWVuDdBb] ", line)]
        if code:
            faults.append("rota.hpp alone makes code, which each file of a program would compile again:\n    " + "\n    ".join(code[:20]) +
                          "\n  A virtual function that is declared in its class and defined as `inline` below must be declared as `inline` as "
                          "well, or GCC makes the class's virtual table in each file, and whatever that leads to. So does a coroutine "
                          "that is no template")
    print("\n".join(faults) if faults else f"{len(found)} standard headers, no code")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
