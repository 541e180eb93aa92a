"""A pack that is cut off, changed or at odds with itself is one line that says what is wrong with it."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from regap.errors import PackError
from regap.interventions.packs.pack import Pack, read_pack, write_pack


@pytest.fixture
def folder(packs: dict[str, Pack], tmp_path: Path) -> Path:
    return write_pack(packs["regap"], tmp_path / "pack")


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
