"""`python -m tests.torture [--full] [--seed N] [NAME ...]`: torture everything, or what was named; prints the figures.

Each module here offers what it does: `RUNS` (names and functions), or a function `run`, known by the module's name.
"""

import argparse
import importlib
import pkgutil
import random
import sys
import time

import tests.torture
from tests.torture.verdict import Breach, Run


def registry() -> dict[str, Run]:
    """Everything that there is to run, by name."""
    found: dict[str, Run] = {}
    for module in sorted(pkgutil.iter_modules(tests.torture.__path__), key=lambda module: module.name):
        if module.name == "__main__" or module.name.startswith("test_"):
            continue
        loaded = importlib.import_module(f"tests.torture.{module.name}")
        if hasattr(loaded, "RUNS"):
            found |= loaded.RUNS
        elif hasattr(loaded, "run"):
            found[module.name] = loaded.run
    return found


def main() -> int:
    """Run it; 1 where a promise was broken."""
    runs = registry()
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="Kill at random, judge by the log.")
    parser.add_argument("name", nargs="*", metavar="name", help=f"{', '.join(runs)}; all when none is named")
    parser.add_argument("--full", action="store_true", help="the long form, about 40 minutes for all")
    parser.add_argument("--seed", type=int, help="what is drawn at random; printed where it is left out")
    asked = parser.parse_args()
    if unknown := [name for name in asked.name if name not in runs]:
        parser.error(f"unknown name {unknown[0]!r}; known: {', '.join(runs)}")
    seed = asked.seed if asked.seed is not None else random.SystemRandom().getrandbits(32)
    broken = False
    for name in asked.name or list(runs):
        print(f"== {name} --seed {seed}{' --full' if asked.full else ''}", flush=True)
        began = time.monotonic()
        try:
            figures = runs[name](seed, asked.full)
        except Breach as breach:
            broken = True
            print(f"BROKEN: {breach}", *getattr(breach, "__notes__", []), sep="\n", flush=True)
            continue
        for what, figure in figures.items():
            print(f"{what:>32}  {figure}", flush=True)
        print(f"{'all of it in seconds':>32}  {time.monotonic() - began:.1f}", flush=True)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
