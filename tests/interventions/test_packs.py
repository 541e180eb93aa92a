"""A pack is read back as it was written, or one line says what is wrong with it."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from regap.geometry.directions import Direction
from regap.geometry.forward import Edit, run
from regap.geometry.models import Model
from regap.geometry.prompts import Batch
from regap.interventions.correction_settings import PackError
from regap.interventions.fixed import Shift
from regap.interventions.pack_card import Outcome
from regap.interventions.pack_readme import escaped, readme
from regap.interventions.packing import correction_of, edit_of
from regap.interventions.packs import Pack, read_pack, write_pack
from regap.interventions.regap import ReGap
from regap.interventions.stored_corrections import store_correction, stored_correction

KINDS = ["fixed", "regap", "elsewhere", "before", "single", "single, no probe"]
BEFORE = Outcome(condition="baseline", arm="text", measure="refusal", value=0.25, low=None, high=0.9, n=6)
OUTCOMES = (BEFORE, BEFORE.model_copy(update={"condition": "corrected", "value": 0.75}))


@pytest.fixture(params=["fixed", "regap", "elsewhere", "single"])
def pack(request: pytest.FixtureRequest, packs: dict[str, Pack]) -> Pack:
    kept = packs[request.param]
    return Pack.of("tiny", kept.card.model, kept.correction, kept.card.source, OUTCOMES)


@pytest.fixture
def folder(packs: dict[str, Pack], tmp_path: Path) -> Path:
    return write_pack(packs["regap"], tmp_path / "pack")


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
    edit, back = edits[kind], edit_of(correction_of(edits[kind], refusal))
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


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text())
        change(card)
        (folder / "card.json").write_text(json.dumps(card))

    return edit


def cut(name: str, share: float) -> Callable[[Path], None]:
    def shorten(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return shorten


def one_bit(folder: Path) -> None:
    content = bytearray((folder / "pack.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "pack.safetensors").write_bytes(content)


def put(path: str, value: object) -> Callable[[Path], None]:
    """Write another value at a path of keys of the card."""
    *parents, last = path.split(".")

    def change(card: dict[str, Any]) -> None:
        for name in parents:
            card = card[name]
        card[last] = value

    return edited(change)


DAMAGE: list[tuple[str, Callable[[Path], object]]] = [
    ("card.json is missing", lambda folder: (folder / "card.json").unlink()),
    ("pack.safetensors is missing", lambda folder: (folder / "pack.safetensors").unlink()),
    ("card.json: Invalid JSON", cut("card.json", 0.5)),
    ("card.json: Invalid JSON", cut("card.json", 0.0)),
    ("pack.safetensors is cut off", cut("pack.safetensors", 0.9)),
    ("pack.safetensors is cut off, or not the one", one_bit),
    ("card.json: extra: Extra inputs", put("extra", 1)),
    ("card.json: correction.site.extra: Extra", put("correction.site.extra", 1)),
    (
        "card.json: correction.strength: Field required",
        edited(lambda card: card["correction"].pop("strength")),
    ),
    ("card.json: correction.strength: Input should be a valid number", put("correction.strength", "3")),
    ("card.json: correction.strength: Input should be a finite", put("correction.strength", float("nan"))),
    ("correction.gate.threshold: Input should be a finite", put("correction.gate.threshold", float("inf"))),
    (
        "card.json: format is 'regap correction pack 1', and this version",
        put("format", "regap correction pack 1"),
    ),
    ("card.json: format: Input should be", put("format", 2)),
    ("names layer 3, and its model has 2 blocks", put("model.blocks", 2)),
    ("a fixed correction has no gate", put("correction.kind", "fixed")),
    ("a regap correction needs a gate", put("correction.gate", None)),
    (r"read layers \[2\] must come after the probed layer 2", put("correction.gate.probe.site.layers", [2])),
    (r"layers \[1, 1\] of probe must be", put("correction.gate.probe.site.layers", [1, 1])),
    (r"probe has shape \[1, 32\], and there are 2 layers", put("correction.gate.probe.site.layers", [0, 1])),
    (r"read layers \[2, 2\] must each be named once", put("correction.gate.read_layers", [2, 2])),
    ("weights are not those of signal 'z_after'", put("correction.gate.signal", "z_after")),
    ("correction.gate.passes: Input should be 'probe' or 'single'", put("correction.gate.passes", "both")),
    (
        "correction.gate.probe.strength: Input should be a finite",
        put("correction.gate.probe.strength", float("nan")),
    ),
    ("correction.gate.probe: Input should be an object", put("correction.gate.probe", 1.0)),
    (r"read layers \[3\] have no refusal direction", put("correction.refusal_layers", [1, 2])),
    ("signal 'x' is not known; known are rho", put("correction.gate.signal", "x")),
    ("weights of signal .rho. must be two rows of", put("correction.gate.weights", [[1.0], [1.0, 2.0, 3.0]])),
    ("gate width is 0.0", put("correction.gate.width", 0.0)),
    ("vectors 32 wide for a model 64 wide", put("model.width", 64)),
    (r"vectors has shape \[1, 32\], and there are 2 layers", put("correction.site.layers", [0, 1])),
    ("must be at least one layer, each named once", put("correction.site.layers", [])),
    (
        r"layers \[-1\] of vectors must be at least one layer, each named once, none negative",
        put("correction.site.layers", [-1]),
    ),
]


def uncorrected(card: dict[str, Any]) -> None:
    """Have the gate of a single pass compare with what it does not see."""
    card["correction"]["gate"] |= {"signal": "fitted", "weights": [[1.0, 0.0], [0.0, 1.0]]}


SINGLE: list[tuple[str, Callable[[Path], object]]] = [
    (r"the correction at \[1\] comes before read layer 2", put("correction.site.layers", [1])),
    (r"read layers \[1\] must come after the probed layer 1", put("correction.gate.probe.site.layers", [1])),
    ("signal 'fitted' has weights of the uncorrected state", edited(uncorrected)),
]


@pytest.mark.parametrize(("message", "damage"), SINGLE)
def test_a_single_pass_is_read_in_order(
    message: str, damage: Callable[[Path], object], packs: dict[str, Pack], tmp_path: Path, unchecked: None
) -> None:
    test_a_damaged_pack_is_one_clear_line(
        message, damage, write_pack(packs["single"], tmp_path / "pack"), None
    )


@pytest.mark.parametrize(("message", "damage"), DAMAGE)
def test_a_damaged_pack_is_one_clear_line(
    message: str, damage: Callable[[Path], object], folder: Path, unchecked: None
) -> None:
    read_pack(folder)
    damage(folder)
    with pytest.raises(ValueError, match=message) as refused:
        read_pack(folder)
    assert "\n" not in str(refused.value)


def test_no_safetensors_file_is_refused_even_under_its_own_digest(folder: Path) -> None:
    (folder / "pack.safetensors").write_bytes(b"neither pickle nor anything else")
    put("tensors_sha256", sha256((folder / "pack.safetensors").read_bytes()).hexdigest())(folder)
    with pytest.raises(PackError, match="is no safetensors file"):
        read_pack(folder)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (
            "tensors are more, probe, refusal, vectors, and must be probe, refusal, vectors",
            {"more": torch.zeros(1)},
        ),
        ("vectors holds NaN or infinite", {"vectors": torch.full((1, 32), torch.nan)}),
        ("refusal holds NaN or infinite", {"refusal": torch.full((2, 32), torch.inf)}),
        ("probe holds NaN or infinite", {"probe": torch.full((1, 32), torch.nan)}),
        ("vectors has shape \\[32\\]", {"vectors": torch.zeros(32)}),
        ("probe has shape \\[2, 32\\], and there are 1 layers", {"probe": torch.zeros(2, 32)}),
        ("vectors are 8 wide and refusal directions 32", {"vectors": torch.zeros(1, 8)}),
        ("vectors are 32 wide and vectors of the probe 8", {"probe": torch.zeros(1, 8)}),
    ],
)
def test_tensors_that_a_matching_card_tells_of_are_checked_too(
    message: str, change: dict[str, torch.Tensor], folder: Path, unchecked: None
) -> None:
    """Whoever writes a pack by hand can write its digest as well."""
    path = folder / "pack.safetensors"
    save_file({**load_file(path), **change}, path)
    put("tensors_sha256", sha256(path.read_bytes()).hexdigest())(folder)
    with pytest.raises(PackError, match=message):
        read_pack(folder)


@pytest.mark.parametrize(
    ("kind", "names"), [("fixed", "refusal, vectors"), ("single", "probe, refusal, vectors")]
)
def test_tensors_are_those_that_the_kind_takes(
    kind: str, names: str, packs: dict[str, Pack], tmp_path: Path
) -> None:
    folder = write_pack(packs[kind], tmp_path / "pack")
    path = folder / "pack.safetensors"
    probe = {"probe": torch.zeros(1, 32)} if kind == "fixed" else {}
    save_file({name: value for name, value in load_file(path).items() if name != "probe"} | probe, path)
    put("tensors_sha256", sha256(path.read_bytes()).hexdigest())(folder)
    with pytest.raises(PackError, match=f"and must be {names}; make them again"):
        read_pack(folder)


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
    correction = correction_of(edits[kind], refusal)
    store_correction(correction, tmp_path, "regap", "model")
    found = stored_correction(tmp_path, "regap", "model")
    assert found.settings == correction.settings and found.tensors.keys() == correction.tensors.keys()
    assert all(torch.equal(found.tensors[name], correction.tensors[name]) for name in found.tensors)


def test_a_run_keeps_its_corrections(shift: Shift, refusal: Direction, tmp_path: Path) -> None:
    correction = correction_of(shift, refusal)
    store_correction(correction, tmp_path, "fixed", "model")
    found = stored_correction(tmp_path, "fixed", "model")
    assert found.settings == correction.settings and torch.equal(found.vectors, correction.vectors)
    with pytest.raises(PackError, match="keeps no correction 'regap'"):
        stored_correction(tmp_path, "regap", "model")
    with pytest.raises(PackError, match="is of another model"):
        stored_correction(tmp_path, "fixed", "another")
    cut("corrections/fixed.safetensors", 0.5)(tmp_path)
    with pytest.raises(PackError, match="is damaged"):
        stored_correction(tmp_path, "fixed", "model")


def test_a_pack_speaks_of_its_own_tensors(packs: dict[str, Pack], shift: Shift, refusal: Direction) -> None:
    other = correction_of(replace(shift, vectors=-shift.vectors), refusal)
    with pytest.raises(PackError, match="has other tensors"):
        Pack(packs["fixed"].card, other)
