"""Give every reader of outside files many changed files: each is read, or refused in one clear line, in short time.

A file that regap has stored itself must be refused or found damaged after any change. The script prints a table of
counts, with the first inputs that failed, and ends with 1 if any did.
"""

import argparse
import tempfile
import time
from pathlib import Path

from changes import tried
from every_reader import readers


def main(count: int, only: str = "") -> int:
    """Print a table of counts and return how many inputs failed."""
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'reader':36}{'inputs':>8}{'failed':>8}{'seconds':>9}")
        for reader in readers(Path(folder)):
            if only in reader.name:
                start = time.monotonic()
                failed, told = tried(reader, count)
                total += failed
                print(
                    f"{reader.name:36}{count:8}{failed:8}{time.monotonic() - start:9.0f}",
                    *told,
                    sep="\n",
                    flush=True,
                )
    return total


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--count", type=int, default=20_000, help="changed files for each reader")
    asked.add_argument("--only", default="", help="only readers whose name holds this")
    given = asked.parse_args()
    raise SystemExit(bool(main(given.count, given.only)))
