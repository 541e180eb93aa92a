"""Every self-test passes on families of unlike layouts, a language model in a folder among them."""

import sys
from pathlib import Path

import pytest
from parity import subject
from refusing import save
from tiny_models import FAMILIES
from tiny_parts import awake

from regap.analyses.self_test.checks import in_one_line, self_tests
from regap.geometry.models.loading import load

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ALL = "blocks and all"


@pytest.mark.parametrize(
    ("family", "hooks"),
    [
        ("gemma3", ALL),
        ("qwen3_vl_moe", ALL),
        ("llama4", ALL),
        ("gpt_oss", ALL),
        ("gemma4", ALL),
        ("falcon_h1", ALL),
        ("mamba2", ALL),
        ("bloom", ALL),
        ("qwen2_5_omni", "blocks; not all"),
        ("qwen3_omni", "blocks; not all"),
        ("qwen2_audio", ALL),
        ("voxtral", "blocks; not all"),
        ("mllama", "blocks; not all"),
    ],
)
def test_every_self_test_passes(family: str, hooks: str) -> None:
    checks = list(self_tests(subject(family, "float32").model))
    assert [check for check in checks if not check.passed] == []
    assert checks[0].name == "hooks" and checks[0].detail.startswith(hooks)


@pytest.mark.parametrize("hooks", ["blocks", "all"])
def test_a_language_model_in_a_folder_passes_every_self_test(hooks: str, tmp_path: Path) -> None:
    made = FAMILIES["llama"]()
    awake(made.model)
    checks = list(self_tests(load(save(made, tmp_path), hooks=hooks)))  # type: ignore[arg-type]
    assert [check for check in checks if not check.passed] == []
    assert not any(check.name.startswith("image") for check in checks)
    assert any(check.name.endswith("returns attention patterns") for check in checks)


def test_sounds_are_tried_and_what_holds_for_a_batch_of_them_is_said() -> None:
    checks = {check.name: check for check in self_tests(subject("qwen3_omni", "float32").model)}
    assert checks["sound: an edit at last equals a raw hook"].passed
    alone = checks["sound: a padded batch equals single prompts"]
    assert alone.noted and "each is run alone" in alone.detail
    assert checks["text and sound prompts share a batch"].passed


def test_without_soundfile_sounds_are_not_tried_and_the_model_is_still_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    checks = list(self_tests(subject("qwen2_audio", "float32").model))
    (untried,) = [check for check in checks if check.name.startswith("sound")]
    assert untried.noted and "pip install 'regap[audio]'" in untried.detail
    assert in_one_line(checks).startswith("trust it")
