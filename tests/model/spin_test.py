#!/usr/bin/env python3
"""spin_test.py <compiler> <model.pml>: lets spin look at every execution of a model, and of its broken variants.

The model's first comment says with which definitions: `holds: <flags>  what that is` must have no failing execution,
`found: <flags>  what is wrong` must have one. Exits with 77 when spin is not installed.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

VARIANT = re.compile(r"^ \* (holds|found): ((?:-D\S+ ?)+)(?: *\n \*)? *(.*)$", re.M)


def verify(compiler, model, flags):
    """Runs one variant to its end: (an error or None, the number of states)."""
    with tempfile.TemporaryDirectory() as folder:
        def run(*command):
            return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)

        made = run("spin", "-a", *flags, str(model))
        if made.returncode != 0 or "Error" in made.stdout:
            sys.exit(f"{model.name} {' '.join(flags)}: {made.stdout}{made.stderr}")
        # Every process has to come to its end: a deadlock is an error, as is an assertion.
        built = run(compiler, "-w", "-O1", "-DSAFETY", "-o", "pan", "-x", "c", "pan.c")
        if built.returncode != 0:
            sys.exit(f"{model.name}: the verifier does not compile: {built.stderr}")
        output = run("./pan", "-m100000").stdout
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    if not errors or not states or "max search depth too small" in output:
        sys.exit(f"{model.name} {' '.join(flags)}: spin did not finish: {output}")
    what = re.search(r"pan:\d+: (.*) \(at depth", output)
    return (what.group(1) if what else "error") if errors.group(1) != "0" else None, int(states.group(1))


def main():
    compiler, model = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    if not shutil.which("spin"):
        print("skipped: spin is not installed (Debian package spin)")
        sys.exit(77)
    variants = VARIANT.findall(model.read_text())
    expected = len(re.findall(r"^ \* (?:holds|found):", model.read_text(), re.M))
    if not variants or len(variants) != expected:
        sys.exit(f"{model.name}: {expected} variants, of which {len(variants)} can be read")
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda v: verify(compiler, model, v[1].split()), variants)
        for (wanted, flags, what), (error, states) in zip(variants, results):
            ok = (error is None) == (wanted == "holds")
            failures += not ok
            verdict = f"found: {error}" if error else "holds" if wanted == "holds" else "SURVIVED"
            print(f"{what:<66} {verdict}, {states} states" + ("" if ok else f"   FAILED ({flags.strip()})"))
    print(f"{len(variants) - failures} as expected, {failures} failures")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
