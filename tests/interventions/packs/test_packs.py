"""A pack is read back as it was written, and its page says what it does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from regap.errors import PackError
from regap.geometry.directions import Direction
from regap.geometry.forward.hooks import Edit
from regap.geometry.forward.prefix import run
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift
from regap.interventions.packs.pack import Outcome, Pack, escaped, read_pack, readme, write_pack

KINDS = ["fixed", "regap", "elsewhere", "before", "single", "single, no probe"]
BEFORE = Outcome(condition="baseline", arm="text", measure="refusal", value=0.25, low=None, high=0.9, n=6)
OUTCOMES = (BEFORE, BEFORE.model_copy(update={"condition": "corrected", "value": 0.75}))


@pytest.fixture(params=["fixed", "regap", "elsewhere", "single"])
def pack(request: pytest.FixtureRequest, packs: dict[str, Pack]) -> Pack:
    kept = packs[request.param]
    return Pack.of("tiny", kept.card.model, kept.correction, kept.card.source, OUTCOMES)


def test_what_is_written_is_read(pack: Pack, tmp_path: Path) -> None:
    first, second = write_pack(pack, tmp_path / "first"), write_pack(pack, tmp_path / "second")
    found = read_pack(first)
    assert found.card == pack.card
    assert found.correction.tensors.keys() == pack.correction.tensors.keys()
    for name, tensor in found.correction.tensors.items():
        assert torch.equal(tensor, pack.correction.tensors[name])
    files = {path.name: path.read_bytes() for path in first.iterdir()}
    assert files == {path.name: path.read_bytes() for path in second.iterdir()}
    assert set(files) == {"card.json", "pack.safetensors", "README.md"}
    assert str(tmp_path) not in files["card.json"].decode() + files["README.md"].decode()


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_comes_back_as_it_was(
    kind: str, edits: dict[str, Edit], refusal: Direction, tiny: Model, pictured: Batch
) -> None:
    edit, back = edits[kind], edit_of(edits[kind])
    logits = run(tiny, pictured, [3], [edit]).logits
    torch.testing.assert_close(run(tiny, pictured, [3], [back]).logits, logits, rtol=1e-4, atol=1e-4)
    assert not torch.equal(run(tiny, pictured, [3]).logits, logits)
    if isinstance(edit, ReGap):
        assert isinstance(back, ReGap)
        for name in ("gate", "strongest", "read_layers", "signal", "passes"):
            assert getattr(back, name) == getattr(edit, name)
        assert torch.equal(back.reading, edit.reading)
        assert back.probe.strength == edit.probe.strength
        for one, other in ((back.probe, edit.probe), (back.removed, edit.removed)):
            assert (one.site, one.name) == (other.site, other.name)
            assert torch.equal(one.vectors, other.vectors.float())


def test_an_edit_that_no_pack_holds_is_refused(refusal: Direction) -> None:
    class Other:
        identity, only_last = "other", True

        def hooks(self, model: Any, batch: Any) -> list[Any]:
            raise AssertionError(f"{model} and {batch} are not looked at")

    with pytest.raises(PackError, match="a pack cannot hold Other; it holds Shift, ReGap"):
        correction_of(Other(), refusal)


def test_a_folder_with_other_files_is_not_written_to(packs: dict[str, Pack], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PackError, match="holds something else than a pack"):
        write_pack(packs["fixed"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


SAID = {
    "fixed": ["fixed, the same for every prompt: 3 × D at layers 1 "],
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
        "first a probe, 1.5 × D at layers 0 ",
        "is taken off every prompt, and stays off; then z is read at layers 1, 2.",
        "up to 4 × D at layers 2 ",
    ],
    "single, no probe": ["none comes before it: z is read at layers 1, 2.", "up to 4 × D at layers 2, 3 "],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_says_in_words_what_is_done(kind: str, packs: dict[str, Pack]) -> None:
    page = readme(packs[kind].card)
    assert [said for said in SAID[kind] if said not in page] == []
    if kind in ("fixed", "before", "single, no probe"):
        assert "probe" not in page.replace("none comes before it", "")


def test_what_came_from_outside_is_only_text_on_the_page(packs: dict[str, Pack]) -> None:
    name = "<script>alert(1)</script> | [x](y) `z`\n# head"
    page = readme(packs["fixed"].card.model_copy(update={"name": name, "outcomes": OUTCOMES}))
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "\n# head" not in page and "[x](y)" not in page
    assert escaped("D_along") == "D\\_along"
    assert "| text | refusal | 0.25 | 0.75 | 6 |" in page


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_keeps_whatever_was_chosen(
    kind: str, edits: dict[str, Edit], refusal: Direction, tmp_path: Path
) -> None:
    correction = edits[kind]
    store_correction(correction, tmp_path, "regap", "model")
    found = stored_correction(tmp_path, "regap", "model")
    assert found.settings == correction.settings and found.tensors.keys() == correction.tensors.keys()
    assert all(torch.equal(found.tensors[name], correction.tensors[name]) for name in found.tensors)


def test_a_run_keeps_its_corrections(shift: Shift, refusal: Direction, tmp_path: Path) -> None:
    correction = shift
    store_correction(correction, tmp_path, "fixed", "model")
    found = stored_correction(tmp_path, "fixed", "model")
    assert found.settings == correction.settings and torch.equal(found.vectors, correction.vectors)
    with pytest.raises(PackError, match="keeps no correction 'regap'"):
        stored_correction(tmp_path, "regap", "model")
    with pytest.raises(PackError, match="is of another model"):
        stored_correction(tmp_path, "fixed", "another")
    path = tmp_path / "corrections" / "fixed.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(PackError, match="is damaged"):
        stored_correction(tmp_path, "fixed", "model")


def test_a_pack_speaks_of_its_own_tensors(packs: dict[str, Pack], shift: Shift, refusal: Direction) -> None:
    other = correction_of(replace(shift, vectors=-shift.vectors), refusal)
    with pytest.raises(PackError, match="has other tensors"):
        Pack(packs["fixed"].card, other)
