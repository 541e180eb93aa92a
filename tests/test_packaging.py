"""What a user installs: every file of every folder, under regap and under no other name."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from regap import __version__

ENGLISH = Path("organism/english/weights")
"""The weights of the English subject have a wheel of their own."""
FOLDERS = {"geometry", "interventions", "analyses", "figures", "commands", "organism"}

LOOK_UP = """
import sys
from importlib.util import find_spec

site, *names = sys.argv[1:]
sys.path.insert(0, site)
print(*(name for name in names if (spec := find_spec(name)) and str(spec.origin).startswith(site)))
"""


@pytest.fixture(scope="module")
def wheel(root: Path, project_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a clean copy, so that nothing is left here and nothing stale gets in."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for path in project_files:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, copy / path)
    for folder in FOLDERS:
        (copy / "regap" / folder).symlink_to(Path("..", folder))
    python(copy, "-c", f"import setuptools.build_meta as build; build.build_wheel({str(out)!r})")
    [built] = out.glob("*.whl")
    return built


def python(folder: Path, *arguments: str) -> str:
    """What this python prints when started in `folder`; a failure shows what it said."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def importable_from(site: Path, names: list[str]) -> list[str]:
    """The `names` that a python of its own, which sees `site` before all else, can find there."""
    return python(site.parent, "-I", "-c", LOOK_UP, str(site), *names).split()


def test_every_folder_is_linked_into_the_package(root: Path) -> None:
    links = {path.name: path.resolve() for path in (root / "regap").iterdir() if path.is_symlink()}
    assert links == {folder: (root / folder).resolve() for folder in FOLDERS}


def test_every_folder_with_python_files_has_an_init(project_files: list[Path]) -> None:
    """One without would be left out of the wheel."""
    sources = {path for path in project_files if path.suffix == ".py" and path.parts[0] in FOLDERS}
    assert {path.parent for path in sources} == {
        path.parent for path in sources if path.name == "__init__.py"
    }


def test_tests_have_no_init(project_files: list[Path]) -> None:
    """One would register tests/geometry as a top-level `geometry`."""
    assert not [path for path in project_files if path.parts[0] == "tests" and path.name == "__init__.py"]


def test_no_folder_is_imported_under_its_bare_name() -> None:
    assert not FOLDERS & set(sys.modules)


def test_the_wheel_has_every_file_of_every_folder(wheel: Path, project_files: list[Path]) -> None:
    """Sources, the organism's weights and card: all of it is meant for the user."""
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    rooms = {
        f"regap/{path.as_posix()}"
        for path in project_files
        if path.parts[0] in FOLDERS and path.parent != ENGLISH
    }
    door = {path.as_posix() for path in project_files if path.parts[0] == "regap"}
    assert packed == rooms | door
    assert "regap/py.typed" in packed


def test_the_wheel_of_the_english_weights_has_them_all(
    root: Path, project_files: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    weights = [path.name for path in project_files if path.parent == ENGLISH and path.suffix != ".toml"]
    for name in [*weights, "pyproject.toml"]:
        shutil.copyfile(root / ENGLISH / name, copy / name)
    python(copy, "-c", f"import setuptools.build_meta as build; build.build_wheel({str(tmp_path)!r})")
    [built] = tmp_path.glob(f"regap_english-{__version__}-*.whl")
    packed = {name for name in ZipFile(built).namelist() if ".dist-info/" not in name}
    assert packed == {f"regap_english/{name}" for name in weights}


def test_only_regap_is_importable_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--target", str(site)]
    python(tmp_path, "-m", "pip", "install", *install, str(wheel))
    full = [f"regap.{folder}" for folder in sorted(FOLDERS)]
    assert importable_from(site, [*sorted(FOLDERS), *full]) == full


def test_a_bare_folder_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "site" / "geometry").mkdir(parents=True)
    (tmp_path / "site" / "geometry" / "__init__.py").touch()
    assert importable_from(tmp_path / "site", ["geometry", "figures"]) == ["geometry"]
