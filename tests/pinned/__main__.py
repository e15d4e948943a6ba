"""Compare what is computed now with what was accepted, or accept it."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

from tests.pinned.pins import PINS
from tests.pinned.store import Pin, accept, differences, one_line


def main() -> int:
    """Return 1 if something differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.pinned", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(PINS)}")
    parser.add_argument("--accept", action="store_true", help="store what is computed now")
    parser.add_argument("--fast", action="store_true", help="leave out the slow ones")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(PINS)):
        parser.error(f"no pin {unknown[0]!r}; expected one of: {', '.join(PINS)}")
    chosen = [PINS[name] for name in options.names or PINS]
    verdicts = [_verdict(pin, options.accept) for pin in chosen if not (options.fast and pin.slow)]
    return int(not all(verdicts))


def _verdict(pin: Pin, accepting: bool) -> bool:
    absent = [name for name in pin.needs if importlib.util.find_spec(name) is None]
    if absent:
        print(f"{pin.name}: left out, {absent[0]} is not installed", flush=True)
        return True
    with tempfile.TemporaryDirectory() as folder:
        found = pin.compute(Path(folder))
    phrases = differences(pin, found)
    if accepting and phrases:
        accept(pin, found)
        print(f"{one_line(pin, phrases)}: accepted", flush=True)
        return True
    print(one_line(pin, phrases), flush=True)
    return not phrases


if __name__ == "__main__":
    sys.exit(main())
