"""A pack is read back as it was written, and its page says what it does."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regap.errors import PackError
from regap.geometry.forward.hooks import Edit
from regap.geometry.forward.prefix import run
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.stored import load_edit
from regap.interventions.packs.pack import (
    Outcome,
    Pack,
    escaped,
    headline,
    read_pack,
    readme,
    worsened,
    write_pack,
)

KINDS = ["fixed", "regap", "elsewhere", "before", "single", "single, rho", "single, no probe"]
BEFORE = Outcome(condition="baseline", arm="text", measure="refusal", value=0.25, low=None, high=0.9, n=6)
OUTCOMES = (BEFORE, BEFORE.model_copy(update={"condition": "corrected", "value": 0.75}))


def same(one: Any, other: Any) -> bool:
    """True if two edits are equal in every field, tensors bit for bit and in the same number format."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)
        )
    return one == other


@pytest.fixture(params=["fixed", "regap", "elsewhere", "single"])
def pack(request: pytest.FixtureRequest, packs: dict[str, Pack]) -> Pack:
    kept = packs[request.param]
    return Pack.of("tiny", kept.card.model, kept.edit, kept.card.source, OUTCOMES)


def test_what_is_written_is_read(pack: Pack, tmp_path: Path) -> None:
    first, second = write_pack(pack, tmp_path / "first"), write_pack(pack, tmp_path / "second")
    found = read_pack(first)
    assert found.card == pack.card and same(found.edit, pack.edit)
    files = {path.name: path.read_bytes() for path in first.iterdir()}
    assert files == {path.name: path.read_bytes() for path in second.iterdir()}
    assert set(files) == {"card.json", "edit.json", "edit.safetensors", "README.md"}
    assert str(tmp_path) not in "".join(
        files[name].decode() for name in ("card.json", "edit.json", "README.md")
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_comes_back_as_it_was(
    kind: str, edits: dict[str, Edit], tiny: Model, pictured: Batch, tmp_path: Path
) -> None:
    edit: Any = edits[kind]
    back = load_edit(edit.save(tmp_path / "edit"))
    assert same(edit, back) and back.identity == edit.identity
    logits = run(tiny, pictured, [3], [edit]).logits
    assert torch.equal(run(tiny, pictured, [3], [back]).logits, logits)
    assert not torch.equal(run(tiny, pictured, [3]).logits, logits)


def test_an_edit_that_no_pack_holds_is_refused(packs: dict[str, Pack], unchecked: None) -> None:
    class Other:
        identity, only_last = "other", True

    card: Any = packs["fixed"].card
    with pytest.raises(PackError, match="a pack cannot hold Other; it holds Shift, Alignment and ReGap"):
        Pack.of("tiny", card.model, Other(), card.source)  # type: ignore[arg-type]


def test_the_headline_tells_what_happened_and_a_worse_arm_is_found() -> None:
    def told(arm: str, measure: str, before: float | None, after: float | None) -> tuple[Outcome, ...]:
        one = Outcome(condition="baseline", arm=arm, measure=measure, value=before, low=None, high=None, n=8)
        return one, one.model_copy(update={"condition": "corrected", "value": after})

    better, worse = told("text", "attack_success", 0.5, 0.25), told("typographic", "attack_success", 0.0, 1.0)
    unknown = told("noise", "attack_success", None, 1.0)
    refused = told("text", "over_refusal", 0.125, 0.25)
    assert headline(()) == "no outcome was measured"
    assert headline((*better, *refused)) == (
        "attack success on text: 0.5 without, 0.25 with; over refusal on text: 0.125 without, 0.25 with"
    )
    assert "attack success on noise: not judged without, 1 with" in headline(unknown)
    assert worsened((*better, *refused, *unknown)) == () and worsened((*better, *worse)) == (
        ("typographic", 0.0, 1.0),
    )


def test_a_folder_with_other_files_is_not_written_to(packs: dict[str, Pack], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PackError, match="holds other files than a pack"):
        write_pack(packs["fixed"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


SAID = {
    "fixed": ["fixed: 3 × D is removed from every prompt at layers 1 "],
    "regap": [
        "z is read at layers 2, 3, uncorrected and under a probe, 1 × D at layers 1 ",
        "the mean change of z",
    ],
    "elsewhere": [
        "under a probe, 1 × D at layers 0 ",
        "a fitted, weighted sum of z",
        "up to 4 × D at layers 2 ",
    ],
    "before": ["Before the answer z is read at layers 3, uncorrected. The signal is the mean of z"],
    "single": [
        "Everything happens in the pass that answers",
        "First a probe, 1.5 × D at layers 0 ",
        "is removed from every prompt and stays removed; then z is read at layers 1, 2.",
        "up to 4 × D at layers 2 ",
    ],
    "single, rho": [
        "Before the answer the prompt is run once uncorrected, and z is read;",
        "all else happens in the pass that answers",
        "stays removed; then z is read at layers 1, 2.",
        "the mean change of z",
    ],
    "single, no probe": [
        "in the pass that answers. z is read at layers 1, 2.",
        "up to 4 × D at layers 2, 3 ",
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_says_in_words_what_is_done(kind: str, packs: dict[str, Pack]) -> None:
    page = readme(packs[kind])
    assert [said for said in SAID[kind] if said not in page] == []
    if kind in ("fixed", "before", "single, no probe"):
        assert "probe" not in page


def test_what_came_from_outside_is_only_text_on_the_page(packs: dict[str, Pack]) -> None:
    name = "<script>alert(1)</script> | [x](y) `z`\n# head"
    kept = packs["fixed"]
    page = readme(Pack.of(name, kept.card.model, kept.edit, kept.card.source, OUTCOMES))
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "\n# head" not in page and "[x](y)" not in page
    assert escaped("D_along") == "D\\_along"
    assert "| text | refusal | 0.25 | 0.75 | 6 |" in page


def test_an_edit_of_another_model_is_refused(shift: Shift, tmp_path: Path) -> None:
    shift.save(tmp_path / "edits" / "fixed", "model")
    assert same(load_edit(tmp_path / "edits" / "fixed", "model"), replace(shift, model="model"))
    with pytest.raises(PackError, match="the edit was made on another model"):
        load_edit(tmp_path / "edits" / "fixed", "another")
    with pytest.raises(PackError, match=r"edit\.json is missing"):
        load_edit(tmp_path / "edits" / "regap", "model")


def test_a_pack_speaks_of_its_own_edit(packs: dict[str, Pack], shift: Shift) -> None:
    with pytest.raises(PackError, match="has another edit"):
        Pack(packs["fixed"].card, replace(shift, vectors=-shift.vectors))
