"""One process at a time writes in a run folder, and what a killed one left does not stand in the way."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from regap.analyses.runs.folder import check_out
from regap.errors import ConfigError
from regap.geometry.sole_writer import LOCK, sole_writer

HOLDING = """
import sys, time
from pathlib import Path
from regap.geometry.sole_writer import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("holds", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_by_number_until_the_first_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "holds\n"
        told = rf"out folder .* is being written by another process \(process {other.pid}\); wait until"
        with pytest.raises(ConfigError, match=told), sole_writer(tmp_path):
            pass
        other.kill()
        other.wait()
    with sole_writer(tmp_path):
        pass


def test_a_second_thread_is_refused_and_the_same_one_is_not(tmp_path: Path) -> None:
    refused: list[ConfigError] = []

    def other() -> None:
        try:
            with sole_writer(tmp_path):
                pass
        except ConfigError as error:
            refused.append(error)

    with sole_writer(tmp_path), sole_writer(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    other()
    assert len(refused) == 1


def test_files_that_were_being_written_are_removed_and_the_folder_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    left = [tmp_path / ".config.toml.12.partial", tmp_path / "answers" / ".a.json.12.partial"]
    with sole_writer(tmp_path):
        pass
    (tmp_path / "config.toml").write_text("of a run that was stopped before its provenance")
    for path in left:
        path.write_text("half")
    check_out(tmp_path)
    with sole_writer(tmp_path):
        assert not any(path.exists() for path in left)
    assert {path.name for path in tmp_path.iterdir()} == {LOCK, "answers", "config.toml"}


def test_a_folder_of_other_files_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="holds files that are not a run"):
        check_out(tmp_path)
