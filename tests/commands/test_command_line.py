"""What a person sees who types a command, a right one or a wrong one."""

import errno
import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from regap.analyses.runs.folder import write_json
from regap.geometry import files
from regap.geometry.data.pair_files import write_pairs
from regap.organism.family import organism_folder
from regap.organism.prompts import HeldOut, held_out_pairs


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory):
    """Five pairs of each label and split of the organism's world, as a parquet file."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    write_pairs(held_out_pairs(HeldOut(5, 5, 5, arms=("text", "typographic", "blank"))), path)
    return path


def _csv(tmp_path, **columns):
    rows = {
        "pair_id": ["a"],
        "arm": ["text"],
        "label": ["harmful"],
        "request": ["r"],
        "text": ["t"],
    } | columns
    path = tmp_path / "pairs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_help_imports_nothing_heavy():
    script = (
        "import sys; sys.argv = ['regap', '--help']\n"
        "from regap.commands.command_line import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'pandas', 'plotly', 'transformer_lens'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_unknown_flag_is_wrong_use(regap):
    assert regap("run", "--nonsense")[0] == 2


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"arm": ["typographic"]}, "row 1: arm typographic has no picture"),
        ({"arm": ["caption"]}, "has no text arm; add a row with arm=text"),
        ({"colour": ["red"]}, "unknown column colour"),
        ({}, "no harmless pair"),
        ({"image": ["../secret.png"], "text": ["<image>"]}, "is outside the folder of the pairs file"),
        ({"image": ["missing.png"], "text": ["<image>"]}, "No such file"),
        ({"label": ["evil"]}, "write one of harmful, harmless"),
    ],
)
def test_a_bad_pairs_file_gets_one_line(regap, tmp_path, columns, says):
    code, error, _ = regap("run", "--pairs", _csv(tmp_path, **columns), "--out", tmp_path / "out")
    assert code == 2
    assert says in error and error.startswith("error:") and "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("command", "flags", "says"),
    [
        ("run", ("--arm", "texr"), "arm is 'texr'; the pairs have the arms"),
        ("capture", ("--arm", "texr"), "arm is 'texr'; the pairs have the arms"),
        ("compare", ("--arm", "texr"), "arm is 'texr'; the pairs have the arms"),
        ("compare", ("--arm", "text"), "no image arm, only text"),
    ],
)
def test_an_arm_that_no_pair_has_leaves_no_folder(regap, tmp_path, pairs_file, command, flags, says):
    code, error, _ = regap(command, "--pairs", pairs_file, *flags, "--out", tmp_path / "out")
    assert code == 2 and says in error
    assert not (tmp_path / "out").exists()


def test_a_missing_pairs_file_is_named(regap, tmp_path):
    code, error, _ = regap("run", "--pairs", tmp_path / "none.csv", "--out", tmp_path / "out")
    assert (code, "none.csv: No such file" in error) == (2, True)


def test_an_empty_pairs_file_is_refused(regap, tmp_path):
    (tmp_path / "pairs.csv").write_text("pair_id,arm,label,request,text\n")
    code, error, _ = regap("run", "--pairs", tmp_path / "pairs.csv", "--out", tmp_path / "out")
    assert (code, "has no rows" in error) == (2, True)


@pytest.mark.parametrize("content", [b"no picture", None])
def test_an_unreadable_or_truncated_image_is_refused(regap, tmp_path, content, pairs_file):
    whole = pd.read_parquet(pairs_file).query("arm == 'typographic'").image.iloc[0]
    (tmp_path / "one.png").write_bytes(content or whole[: len(whole) // 2])
    rows = {
        "pair_id": ["a", "a"],
        "arm": ["text", "typographic"],
        "label": ["harmful"] * 2,
        "request": ["r"] * 2,
    }
    path = _csv(tmp_path, **rows, text=["t", "<image>"], image=["", "one.png"])
    code, error, _ = regap("run", "--pairs", path, "--out", tmp_path / "out")
    assert (code, "cannot be decoded" in error, "row 2" in error) == (2, True, True)


def test_a_folder_that_is_no_checkpoint_is_refused(regap, tmp_path, pairs_file):
    (tmp_path / "empty").mkdir()
    code, error, _ = regap(
        "run", "--model", tmp_path / "empty", "--pairs", pairs_file, "--out", tmp_path / "out"
    )
    assert (code, "no config.json, so it is not a checkpoint" in error) == (2, True)


def test_a_model_without_a_chat_template_is_refused(regap, tmp_path, pairs_file):
    folder = tmp_path / "model"
    shutil.copytree(organism_folder(), folder)
    (folder / "chat_template.jinja").unlink()
    code, error, _ = regap("run", "--model", folder, "--pairs", pairs_file, "--out", tmp_path / "out")
    assert (code, "has no chat template; add chat_template.jinja" in error) == (2, True)


def test_bad_settings_are_named(regap, tmp_path, monkeypatch):
    (tmp_path / "run.toml").write_text("strength = 2\n")
    code, error, _ = regap("run", "--config", tmp_path / "run.toml", "--out", tmp_path / "out")
    assert (code, "setting strength" in error, "strengths" in error) == (2, True, True)
    code, error, _ = regap("run", "--false-refusals", "2", "--out", tmp_path / "out")
    assert (code, "false_refusals" in error) == (2, True)


def test_an_out_folder_of_another_model_is_refused_and_kept(regap, tmp_path, pairs_file):
    out = tmp_path / "out"
    out.mkdir()
    write_json(out / "provenance.json", {"model": "another", "fingerprint": "another"})
    code, error, _ = regap("run", "--pairs", pairs_file, "--out", out)
    assert (code, "holds a run with another model (another)" in error) == (2, True)
    assert json.loads((out / "provenance.json").read_text())["model"] == "another"


def test_an_out_folder_with_other_files_is_refused(regap, tmp_path, pairs_file):
    (tmp_path / "thesis.txt").write_text("mine")
    code, error, _ = regap("run", "--pairs", pairs_file, "--out", tmp_path)
    assert (code, "holds files that are not a run" in error) == (2, True)


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(regap, tmp_path, pairs_file, monkeypatch):
    out = tmp_path / "out"
    written, whole = [], files.write_whole

    def fills_up(descriptor):
        written.append(descriptor)
        if len(written) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(files.os, "fsync", fills_up)
        code, error, _ = regap("capture", "--pairs", pairs_file, "--out", out)
    assert (code, "no space left" in error, "run the same command again" in error) == (1, True, True)
    assert not list(out.rglob("*.partial")) and whole is files.write_whole
    assert regap("capture", "--pairs", pairs_file, "--out", out)[0] == 0


def test_an_interrupted_run_ends_in_the_same_bytes(regap, tmp_path, pairs_file, monkeypatch, brief):
    from regap.interventions import generation

    once, twice = tmp_path / "once", tmp_path / "twice"
    assert regap("run", "--pairs", pairs_file, "--out", once, "--max-new-tokens", 4)[0] == 0
    calls, whole = [], generation._continue

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) > 20:
            raise KeyboardInterrupt
        return whole(*arguments)

    with monkeypatch.context() as stopped:
        stopped.setattr(generation, "_continue", interrupted)
        code, said, _ = regap("run", "--pairs", pairs_file, "--out", twice, "--max-new-tokens", 4)
    assert (code, "run the same command again" in said) == (130, True)
    assert regap("run", "--pairs", pairs_file, "--out", twice, "--max-new-tokens", 4)[0] == 0
    tables = sorted(path.relative_to(once) for path in once.glob("tables/*.parquet"))
    assert len(tables) >= 11
    for name in [*tables, "summary.json", "directions.safetensors"]:
        assert (once / name).read_bytes() == (twice / name).read_bytes(), name
    assert (once / "report.html").stat().st_size < 15_000_000


def test_a_plan_is_made_of_counts_and_of_a_pairs_file(regap, pairs_file):
    code, error, shown = regap("plan", "organism", "--pairs", pairs_file)
    assert (code, error) == (0, "") and "1,750,176" in shown and "36" in shown
    code, error, shown = regap("plan", "organism", "--prompts", "10", "--tokens", "5", "--tflops", "100")
    assert code == 0 and "none" in shown and "100 TFLOP/s" in shown
    code, error, _ = regap("plan", "organism", "--image-size", "big")
    assert (code, "write it like 336x336" in error) == (2, True)


@pytest.mark.parametrize("command", ["report", "doctor", "benchmarks", "plan", "explore"])
def test_a_path_that_the_system_refuses_is_named_with_a_remedy(regap, command: str) -> None:
    code, told, _ = regap(command, "x" * 300)
    assert code == 1 and "File name too long; check the path" in told and "Errno" not in told
    assert len(told) < 300
