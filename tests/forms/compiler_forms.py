#!/usr/bin/env python3
"""Compiles the forms of this directory with one compiler and runs each in a process of its own.

  compiler_forms.py --compiler CXX --id GNU|Clang --version X.Y.Z [--jobs N] [--verbose] -- FLAGS...

On GCC 12.0 to 12.2 exactly the forms of known_gcc12.txt must fail, in the way it says; on clang none may fail.
Whatever differs is printed by name. For other versions of GCC there is no list: what fails is printed, exit code 77.
"""

import argparse
import concurrent.futures
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FORM = re.compile(r"^FORM\((\w+)\) \{(?:[^\n]*\}$|.*?^\}$)", re.MULTILINE | re.DOTALL)
MISCOMPILED, REFUSED = "miscompiled", "does-not-compile"


def known_failures(path):
    known = {}
    for line in path.read_text().splitlines():
        line = line.partition("#")[0].split()
        if line:
            name, kind = line
            known[name] = kind
    return known


def without(text, names):
    """The source without the forms `names`; line numbers stay."""
    return FORM.sub(lambda form: "\n" * form[0].count("\n") if form[1] in names else form[0], text)


class Compiler:
    def __init__(self, command, flags, directory):
        self.command = [command, *flags, "-w", "-g0", f"-I{HERE}"]
        self.directory = pathlib.Path(directory)

    def program(self, source, text):
        """Compiles and links; returns the program and what the compiler said, one of them empty."""
        path = self.directory / source.name
        path.write_text(text)
        program = self.directory / source.stem
        result = subprocess.run([*self.command, str(path), "-o", str(program)], capture_output=True, text=True)
        return (None, result.stderr) if result.returncode else (program, "")

    def refuses(self, source, text, name):
        """Is this form, alone in its source, refused?"""
        others = {form[1] for form in FORM.finditer(text)} - {name}
        path = self.directory / f"{source.stem}.{name}.cpp"
        path.write_text(without(text, others))
        result = subprocess.run([*self.command, "-S", str(path), "-o", "/dev/null"], capture_output=True, text=True)
        return result.returncode != 0


def blamed(text, source, complaint):
    """The forms in which the compiler saw errors."""
    lines = {int(n) for n in re.findall(re.escape(source.name) + r":(\d+)", complaint)}
    return {form[1] for form in FORM.finditer(text)
            if any(text.count("\n", 0, form.start()) < n <= text.count("\n", 0, form.end()) + 1 for n in lines)}


def build(compiler, source, expected_refused):
    """Returns the program, the forms that do not compile, and an error if nothing else helps."""
    text = source.read_text()
    refused = {f[1] for f in FORM.finditer(text)} & expected_refused
    for _ in range(8):
        program, complaint = compiler.program(source, without(text, refused))
        if program:
            return program, refused, ""
        more = blamed(text, source, complaint) - refused
        if not more:
            break
        refused |= more
    return None, refused, complaint


def run(program, name):
    try:
        result = subprocess.run([str(program), name], capture_output=True, text=True, timeout=20, errors="replace")
    except subprocess.TimeoutExpired:
        return "does not end"
    if result.returncode == 0:
        return ""
    return (result.stdout + result.stderr).strip().replace("\n", " | ")[:150] or f"exit code {result.returncode}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="print each failure, also the known ones")
    parser.add_argument("flags", nargs="*")
    args = parser.parse_args()

    version = tuple(int(n) for n in args.version.split(".")[:2])
    has_list = args.id != "GNU" or (12, 0) <= version < (12, 3)
    known = known_failures(HERE / "known_gcc12.txt") if args.id == "GNU" and has_list else {}
    expected_refused = {name for name, kind in known.items() if kind == REFUSED}

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the miscompiled ones crash; nobody wants their memory
    sources = sorted(HERE.glob("*.cpp"))
    found, names = {}, []
    with tempfile.TemporaryDirectory(prefix="compiler_forms.") as directory, \
            concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        compiler = Compiler(args.compiler, args.flags, directory)
        builds = [pool.submit(build, compiler, source, expected_refused) for source in sources]
        alone = {form[1]: pool.submit(compiler.refuses, source, text, form[1])
                 for source in sources for text in [source.read_text()]
                 for form in FORM.finditer(text) if form[1] in expected_refused}
        runs = []
        for source, result in zip(sources, builds):
            program, refused, complaint = result.result()
            if not program:
                print(f"{source.name} does not compile:\n{complaint}")
                return 1
            listed = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.split()
            runs += [(name, pool.submit(run, program, name)) for name in listed]
            names += listed + sorted(refused)
            found.update({name: (REFUSED, "") for name in refused - expected_refused})
        for name, result in alone.items():
            found[name] = (REFUSED, "") if result.result() else ("accepted by the compiler", "(not run)")
        for name, result in runs:
            if result.result():
                found[name] = (MISCOMPILED, result.result())

    if len(names) != len(set(names)):
        print("two forms have the same name:", sorted(n for n in set(names) if names.count(n) > 1))
        return 1
    kinds = [kind for kind, _ in found.values()]
    print(f"{len(names)} forms on {args.id} {args.version}: {len(names) - len(found)} are right, "
          f"{kinds.count(MISCOMPILED)} miscompiled, {kinds.count(REFUSED)} do not compile")
    if args.verbose or not has_list:
        for name, (kind, what) in sorted(found.items()):
            print(f"  {name} {kind} {what}")
    if not has_list:
        print("there is no list of known failures for this compiler")
        return 77
    wrong = 0
    for name in sorted(known.keys() | found.keys()):
        expected, (seen, what) = known.get(name, "right"), found.get(name, ("right", ""))
        if name not in names:
            expected, seen = f"in known_gcc12.txt ({expected})", "no form at all"
        if expected != seen:
            print(f"CHANGED: {name} was {expected}, is {seen} {what}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
