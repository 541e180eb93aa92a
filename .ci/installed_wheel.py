"""Prove an installed wheel: every module imports, no folder is importable under its bare name, and the states that the
organism's family is built from, and the parts of the English subject, have their digests.

Run it with the python that has the wheel, from outside the repository, naming the folders.
"""

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path


def modules_of(folder: str) -> list[str]:
    """All modules of `regap.<folder>`, its own included."""
    package = importlib.import_module(f"regap.{folder}")
    inside = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [package.__name__, *(module.name for module in inside if not module.name.endswith(".__main__"))]


def main(folders: list[str]) -> None:
    """Import everything; stop with what is wrong."""
    if not folders:
        sys.exit("installed_wheel.py needs the folders to import, for example: geometry figures")
    names = [name for folder in folders for name in modules_of(folder)]
    for name in names:
        file = importlib.import_module(name).__file__
        if file is None or not Path(file).is_relative_to(sys.prefix):
            sys.exit(f"{name} was imported from {file}, not from the wheel under {sys.prefix}")
    if bare := [folder for folder in folders if importlib.util.find_spec(folder)]:
        sys.exit(f"these folders are importable without regap in front: {', '.join(bare)}")
    bases = importlib.import_module("regap.organism.building").bundled_bases()
    for training in (0, 1):
        bases.check(training)
    if importlib.util.find_spec("regap_english"):
        parts = importlib.import_module("regap.organism.english.assembly").shipped_parts()
        for member in parts.members():
            parts.check(member)
    print(f"{len(names)} modules imported from the wheel; none of {', '.join(folders)} has a bare name")


main(sys.argv[1:])
