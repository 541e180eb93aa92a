"""Flags win over REGAP_ variables, these over the file, this over the defaults; a misspelt key is never dropped."""

from pathlib import Path
from typing import Any

import pytest

from regap.analyses.runs.config import EXECUTION, PLACES, RunConfig, as_toml, read_config
from regap.analyses.runs.written_settings import mapping_of
from regap.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text('seed = 1\nbatch_size = 11\nresamples = 111\narms = ["text", "typographic"]\n')
    return path


def test_each_source_wins_over_those_before_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGAP_BATCH_SIZE", "22")
    monkeypatch.setenv("REGAP_RESAMPLES", "222")
    found = read_config(file, resamples=333)
    assert (found.resamples, found.batch_size, found.seed, found.max_new_tokens) == (333, 22, 1, 64)
    assert found.arms == ("text", "typographic")


def test_flags_that_are_not_set_leave_the_others_alone(file: Path) -> None:
    assert read_config(file, seed=None, arms=(), device=None) == read_config(file)
    assert read_config(file, seed=0).seed == 0


def test_lists_in_variables_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGAP_STRENGTHS", "[2, 1.0, 2]")
    assert read_config().strengths == (1.0, 2.0)
    monkeypatch.setenv("REGAP_STRENGTHS", "1.0;2.0")
    with pytest.raises(ConfigError, match=r"a REGAP_\* variable cannot be read: .*; write lists as JSON"):
        read_config()


def test_an_unknown_key_is_an_error_that_names_the_known(file: Path) -> None:
    file.write_text("sede = 1\n")
    with pytest.raises(ConfigError, match="setting sede is 1: use one of model, family, pairs, columns, "):
        read_config(file)
    with pytest.raises(ConfigError, match="setting sede is 1: use one of"):
        read_config(sede=1)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("REGAP_SEDE", "did you mean REGAP_SEED"),
        ("regap_modle", "did you mean REGAP_MODEL"),
        ("REGAP_X", "use one of "),
    ],
)
def test_a_misspelt_variable_is_an_error(name: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=f"variable {name} is not a setting: {remedy}"):
        read_config()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", 3),
        ("batch_size", 0),
        ("false_refusals", 0.0),
        ("false_refusals", 1.0),
        ("signal", "z"),
        ("gate", "soft"),
        ("seed", -1),
        ("resamples", 99),
        ("seed", 2**32),
        ("strengths", (0.0, 1.0)),
        ("strengths", (1.0, float("inf"))),
        ("strengths", (1.0, float("nan"))),
        ("max_new_tokens", 2**70),
        ("layers", "0-9999999999999"),
        ("layers", (-1,)),
        ("out", "runs/a\0b"),
        ("system", "half \ud83d"),
        ("strengths", (0.5, 2.0)),
        ("batch_size", "many"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        flags: dict[str, Any] = {name: value}
        read_config(**flags)
    message = str(caught.value)
    assert message.startswith(f"setting {name} is ") and "\n" not in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.toml: No such file or directory; check the path"):
        read_config(tmp_path / "absent.toml")
    for data, why in {
        b"seed = = 1": r" is not valid TOML \(.*\); correct that line",
        b"a = " + b"[" * 10_000: r" is not valid TOML \(nested too deeply\)",
        b"seed = 1\nmodel = '\xff'": r": line 2 is not in UTF-8 \(byte 0xff\); .* save it as UTF-8",
    }.items():
        (tmp_path / "bad.toml").write_bytes(data)
        with pytest.raises(ConfigError, match=rf"bad.toml{why}"):
            read_config(tmp_path / "bad.toml")


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_config().seed = 1


@pytest.mark.parametrize("out", ["runs/a", 'quoted " and \\ back', "läufe/日本語/😀", "tab\tnewline\n"])
def test_what_is_written_is_read_back(out: str, tmp_path: Path) -> None:
    config = read_config(out=out, limit=5, family=("organism:none",), strengths=(1.0, 7.5))
    (tmp_path / "config.toml").write_text(as_toml(config), "utf-8")
    assert read_config(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": 3},
        {"device": "meta"},
        {"download": True},
        {"out": "runs/elsewhere"},
        {"pairs": "a.csv"},
    ],
)
def test_how_and_where_a_run_is_executed_is_not_part_of_its_question(changed: dict[str, Any]) -> None:
    assert read_config(**changed).question() == read_config().question()


@pytest.mark.parametrize(
    "changed", [{"seed": 1}, {"dtype": "bfloat16"}, {"limit": 9}, {"strengths": (1.0,)}, {"revision": "main"}]
)
def test_what_decides_numbers_is_part_of_the_question(changed: dict[str, Any]) -> None:
    assert read_config(**changed).question() != read_config().question()


def test_execution_and_places_are_settings() -> None:
    assert set(RunConfig.model_fields) > EXECUTION | PLACES
    assert not EXECUTION & PLACES


def test_numbers_are_written_in_text_or_as_lists(file: Path) -> None:
    assert read_config(layers="3-5,8").layers == (3, 4, 5, 8)
    assert read_config(strengths="2,1,0.5").strengths == (0.5, 1.0, 2.0)
    file.write_text("layers = [1, 2]\n")
    assert read_config(file).layers == (1, 2)
    with pytest.raises(ConfigError, match=r"setting layers is '3-': .*such as 3-7,10"):
        read_config(layers="3-")


def test_a_mapping_names_both_sides() -> None:
    assert mapping_of(read_config(labels=("unsafe=harmful", "0=harmless")).labels) == {
        "unsafe": "harmful",
        "0": "harmless",
    }
    with pytest.raises(ConfigError, match=r"setting columns is .*: .*write each as FILE=REGAP"):
        read_config(columns=("prompt",))


def test_a_value_made_in_python_reads_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGAP_SEED", "7")
    assert RunConfig.model_validate({}).seed == 0 and read_config().seed == 7


def test_answers_are_decoded_as_asked() -> None:
    from regap.analyses.runs.measured import sampling_of
    from regap.interventions.decoding import Sampling

    asked = {"greedy": None, "checkpoint": Sampling(seed=3, checkpoint=True), "0.7": Sampling(0.7, seed=3)}
    for decoding, expected in asked.items():
        config = read_config(decoding=decoding, seed=3)
        assert sampling_of(config) == expected
        assert config.question()["decoding"] == decoding
    for odd in ("0", "-1", "hot", "inf", "nan"):
        with pytest.raises(ConfigError, match="write greedy, checkpoint, or a temperature above 0"):
            read_config(decoding=odd)
