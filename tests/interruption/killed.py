"""Kill commands at many instants, give them again, and compare every file with those of an undisturbed command.

It prints a table and ends with 1 if any file differs. Commands are run in forked processes, so that instants fall into
work and not into imports.
"""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PAIRS = (6, 6, 6)
"""Pairs for each label in fitting, tuning and testing."""
UNCOMPARED = (".lock",)
"""Holds the number of the process."""
BRIEF = ("--max-new-tokens", "6", "--batch-size", "4")


def commands(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return each command by name; `run` comes first, since the others are asked of its folder."""
    run = str(folder / "run")
    return {
        "run": ("run", "--model", "organism", "--pairs", str(folder / "pairs.parquet"), "--out", run, *BRIEF),
        "judge": ("judge", run),
        "calibrate": ("calibrate", run),
        "ablate": ("ablate", run, "--layers", "6,8", "--component", "mlp", "--component", "attention"),
        "pack": ("pack", run, "--out", str(folder / "pack"), "--even-if-worse"),
    }


def given(command: tuple[str, ...], log: Path) -> int:
    """Start a command in a fork and return its process number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        from regap.commands import command_line

        sys.argv = ["regap", *command]
        command_line.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os._exit(code)


def finished(command: tuple[str, ...], log: Path) -> int:
    """Run a command to its end and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(given(command, log), 0)[1])


def killed(command: tuple[str, ...], after: float, log: Path) -> bool:
    """Kill a command after these seconds; False if it had ended before."""
    child = given(command, log)
    ends = time.monotonic() + after
    while time.monotonic() < ends:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in UNCOMPARED
    }


def tried(name: str, work: Path, before: Path, instants: int, log: Path) -> tuple[int, int, list[str]]:
    """Return how often a command was killed, how often all files were equal, and what differed."""
    command = commands(work)[name]

    def restore() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(before, work)

    restore()
    start = time.monotonic()
    if finished(command, log):
        raise SystemExit(f"{name} fails when it is not disturbed; see {log}")
    took, expected = time.monotonic() - start, contents(work)
    stopped, equal, differing = 0, 0, []
    for instant in range(instants):
        restore()
        after = took * (instant + 0.5) / instants
        stopped += killed(command, after, log)
        code = finished(command, log)
        found = contents(work)
        wrong = [path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path)]
        equal += not wrong and not code
        if wrong or code:
            differing.append(f"{name} after {after:.2f} s: exit {code}, {', '.join(sorted(wrong)[:4])}")
    return stopped, equal, differing


def main(folder: Path, instants: int, names: Sequence[str], tell: Callable[[str], None] = print) -> int:
    """Try these commands and return the number of instants after which a file differed."""
    from regap.commands import command_line  # noqa: F401 - imported before the fork
    from regap.figures.gallery import write_figures  # noqa: F401
    from regap.figures.report import write_report  # noqa: F401
    from regap.geometry.data.pair_files import write_pairs
    from regap.organism.prompts import HeldOut, held_out_pairs

    shutil.rmtree(folder, ignore_errors=True)
    work, log = folder / "work", folder / "log.txt"
    work.mkdir(parents=True)
    write_pairs(held_out_pairs(HeldOut(*PAIRS, arms=("text", "typographic"))), work / "pairs.parquet")
    before = folder / "before"
    shutil.copytree(work, before)
    tell(f"{'command':12}{'killed':>8}{'equal':>8}  of {instants}")
    failed = 0
    for name in commands(work):
        if name in names or not names:
            stopped, equal, differing = tried(name, work, before, instants, log)
            failed += instants - equal
            tell(f"{name:12}{stopped:8}{equal:8}")
            for line in differing:
                tell(f"  {line}")
        if name == "run":
            shutil.rmtree(work)
            shutil.copytree(before, work)
            finished(commands(work)["run"], log)
            shutil.rmtree(before)
            shutil.copytree(work, before)
    return failed


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path, help="a new folder for the runs")
    asked.add_argument("--instants", type=int, default=40)
    asked.add_argument("--only", nargs="*", default=(), help="commands to try; all by default")
    given_now = asked.parse_args()
    raise SystemExit(bool(main(given_now.folder, given_now.instants, given_now.only)))
