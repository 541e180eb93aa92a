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
from regap.geometry.files import OPEN_SEAL, sealed
from regap.interventions.edits.stored import load_edit
from regap.interventions.packs.pack import Pack, read_pack, write_pack


@pytest.fixture
def folder(packs: dict[str, Pack], tmp_path: Path) -> Path:
    return write_pack(packs["regap"], tmp_path / "pack")


def edited(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change a JSON file as someone by hand would, who also writes the right digests."""

    def edit(folder: Path) -> None:
        told = json.loads((folder / name).read_text())
        change(told)
        content = json.dumps({**told, "digest": OPEN_SEAL.decode()}).encode()
        (folder / name).write_bytes(sealed(content))
        if name == "edit.json":
            digest = sha256((folder / name).read_bytes()).hexdigest()
            edited("card.json", lambda card: card.update(edit_sha256=digest))(folder)

    return edit


def cut(name: str, share: float) -> Callable[[Path], None]:
    def shorten(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return shorten


def flipped(path: Path) -> None:
    """Change one digit, so that the file stays JSON."""
    content = path.read_text()
    at = content.rindex("0.")
    path.write_text(content[:at] + "1." + content[at + 2 :])


def one_bit(folder: Path) -> None:
    content = bytearray((folder / "edit.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "edit.safetensors").write_bytes(content)


def put(path: str, value: object, name: str = "edit.json") -> Callable[[Path], None]:
    """Write another value at a path of keys, from `values` on in an edit."""
    *parents, last = (["values"] if name == "edit.json" else []) + path.split(".")

    def change(told: dict[str, Any]) -> None:
        for each in parents:
            told = told[each]
        told[last] = value

    return edited(name, change)


def card(path: str, value: object) -> Callable[[Path], None]:
    return put(path, value, "card.json")


def top(key: str, value: object) -> Callable[[Path], None]:
    return edited("edit.json", lambda told: told.update({key: value}))


DAMAGE: list[tuple[str, Callable[[Path], object]]] = [
    ("card.json is missing", lambda folder: (folder / "card.json").unlink()),
    ("card.json is damaged: its digest", lambda folder: flipped(folder / "card.json")),
    ("edit.json is damaged: its digest", lambda folder: flipped(folder / "edit.json")),
    ("edit.json is missing", lambda folder: (folder / "edit.json").unlink()),
    ("edit.safetensors is missing", lambda folder: (folder / "edit.safetensors").unlink()),
    ("card.json: invalid JSON", cut("card.json", 0.5)),
    ("card.json: invalid JSON", cut("card.json", 0.0)),
    ("edit.json: invalid JSON", cut("edit.json", 0.5)),
    ("edit.json: invalid JSON", cut("edit.json", 0.0)),
    ("edit.safetensors is incomplete", cut("edit.safetensors", 0.9)),
    ("edit.safetensors is incomplete, or was not written together", one_bit),
    ("card.json: extra: Extra inputs", card("extra", 1)),
    ("card.json: headline: Input should be a valid string", card("headline", 1)),
    (
        "card.json: format is 'regap correction pack 1', and this version",
        card("format", "regap correction pack 1"),
    ),
    ("card.json: format: Input should be", card("format", 2)),
    ("edit.json was not written together with card.json", card("edit_sha256", "0" * 64)),
    ("edit.json: format is 'regap edit 0', and this version", top("format", "regap edit 0")),
    ("edit.json: extra is not known", top("extra", 1)),
    ("edit.json: kind is 'other', not one of shift, regap", top("kind", "other")),
    ("edit.json: extra is not known", put("extra", 1)),
    ("edit.json: probe.site.extra is not known", put("probe.site.extra", 1)),
    ("edit.json: strongest is missing", edited("edit.json", lambda told: told["values"].pop("strongest"))),
    ("edit.json: strongest must be a finite number, and is '3'", put("strongest", "3")),
    ("edit.json: strongest must be a finite number, and is 'True'", put("strongest", True)),
    ("edit.json: invalid JSON .NaN is not a finite number", put("strongest", float("nan"))),
    ("edit.json: invalid JSON .Infinity is not a finite number", put("gate.threshold", float("inf"))),
    ("names layer 3, and its model has 2 blocks", card("model.blocks", 2)),
    (r"read layers \[2, 3\] must all come after the corrected layer 2", put("probe.site.layers", [2])),
    (r"probe.site: layers \[1, 1\] must be", put("probe.site.layers", [1, 1])),
    (r"probe: 1 vectors do not fit site layers 0,1", put("probe.site.layers", [0, 1])),
    (r"read layers \[2, 2\] must each be named once", put("read_layers", [2, 2])),
    ("signal fitted needs weights of shape", put("signal", "fitted")),
    ("passes must be one of probe, single, and is 'both'", put("passes", "both")),
    ("probe must be an object, and is '1.0'", put("probe", 1.0)),
    (
        r"have a refusal direction; there are directions of \[0, 1, 2, 9\]",
        put("refusal.layers", [0, 1, 2, 9]),
    ),
    ("4 refusal directions do not fit layers", put("refusal.layers", [2, 3])),
    ("signal must be one of rho", put("signal", "x")),
    ("weights must be the name of the tensor weights", put("weights", [[1.0], [1.0]])),
    ("edit.safetensors has no tensor weights", put("weights", "weights")),
    ("gate width is 0.0", put("gate.width", 0.0)),
    ("gate.kind must be one of hard, sigmoid, line", put("gate.kind", "soft")),
    ("vectors 32 wide for a model 64 wide", card("model.width", 64)),
    ("must be at least one layer, each named once", put("probe.site.layers", [])),
    (
        r"layers \[-1\] must be at least one layer, each named once, none negative",
        put("probe.site.layers", [-1]),
    ),
    (r"probe.site.layers\[0\] must be a whole number", put("probe.site.layers", [1.0])),
    ("probe.site: position 'first' is not known; choose one of last", put("probe.site.positions", "first")),
]


SINGLE: list[tuple[str, Callable[[Path], object]]] = [
    (r"the correction at \[1\] comes before read layer 2", put("correction.site.layers", [1])),
    (r"read layers \[1, 2\] must all come after the corrected layer 1", put("probe.site.layers", [1])),
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
    with pytest.raises(PackError, match=message) as refused:
        read_pack(folder)
    assert "\n" not in str(refused.value)


def retold(folder: Path) -> None:
    """Write the digest of the tensors as they are now, and that of edit.json, as whoever makes a pack by hand can."""
    digest = sha256((folder / "edit.safetensors").read_bytes()).hexdigest()
    top("tensors_sha256", digest)(folder)


def test_no_safetensors_file_is_refused_even_under_its_own_digest(folder: Path) -> None:
    (folder / "edit.safetensors").write_bytes(b"neither pickle nor anything else")
    retold(folder)
    with pytest.raises(PackError, match="is not a safetensors file"):
        read_pack(folder)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("has more, which the edit does not use", {"more": torch.zeros(1)}),
        ("probe.vectors holds NaN or infinity", {"probe.vectors": torch.full((1, 32), torch.nan)}),
        ("refusal.vectors holds NaN or infinity", {"refusal.vectors": torch.full((4, 32), torch.inf)}),
        (r"probe.vectors has shape \[32\]", {"probe.vectors": torch.zeros(32)}),
        (r"dtype torch.int64; it must be real", {"probe.vectors": torch.zeros(1, 32).long()}),
        ("2 vectors do not fit site layers 1 ", {"probe.vectors": torch.zeros(2, 32)}),
        ("the probe's vectors are 8 wide", {"probe.vectors": torch.zeros(1, 8)}),
        ("a Direction has length 1", {"refusal.vectors": torch.zeros(4, 32)}),
    ],
)
def test_tensors_that_a_matching_card_tells_of_are_checked_too(
    message: str, change: dict[str, torch.Tensor], folder: Path, unchecked: None
) -> None:
    """Whoever writes a pack by hand can write its digest as well."""
    path = folder / "edit.safetensors"
    save_file({**load_file(path), **change}, path)
    retold(folder)
    with pytest.raises(PackError, match=message):
        read_pack(folder)
    with pytest.raises(PackError, match=message):
        load_edit(folder)


def test_a_tensor_that_is_missing_is_named(folder: Path) -> None:
    path = folder / "edit.safetensors"
    save_file({name: each for name, each in load_file(path).items() if name != "refusal.thresholds"}, path)
    retold(folder)
    with pytest.raises(PackError, match=r"has no tensor refusal\.thresholds"):
        read_pack(folder)
