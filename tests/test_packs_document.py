"""The examples of docs/packs.md run as they stand, on a pack of the bundled organism, and do what it says."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch


def test_the_examples_correct_the_plain_organism(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForImageTextToText

    from regap.geometry.models.identity import identity_of
    from regap.geometry.models.loading import load
    from regap.geometry.prompts.batch import collate
    from regap.interventions.edits.shift import Shift
    from regap.interventions.edits.site import Site
    from regap.interventions.packs.pack import Pack, PackSource, write_pack
    from regap.organism.family import organism_folder
    from regap.organism.prompts import HeldOut, held_out_pairs

    with_pack, with_edit = re.findall(
        r"```python\n(.*?)```", (root / "docs" / "packs.md").read_text("utf-8"), re.DOTALL
    )
    model: Any = AutoModelForImageTextToText.from_pretrained(organism_folder(), dtype="float32").eval()
    identity = identity_of(model)
    direction = torch.nn.functional.normalize(torch.ones(1, identity.width))
    source = PackSource(
        run="", pairs=1, pairs_sha256="", image_arm="", false_refusals=0.05, seed=0, versions={}
    )
    pack = Pack.of("organism", identity, Shift(Site((8,)), direction, 1000.0, "D"), source)
    write_pack(pack, tmp_path / "packs" / "mine")
    monkeypatch.chdir(tmp_path)

    prompts = [pair.prompts["text"] for pair in held_out_pairs(HeldOut(1, 2, 2)).test]
    inputs = dict(collate(load("organism"), prompts, range(len(prompts))).inputs)
    bare = model.generate(**inputs, max_new_tokens=32)
    names: dict[str, Any] = {"model": model, "inputs": inputs}
    exec(with_pack, names)
    protected = names["answers"]
    assert protected.tolist() != bare.tolist() and names["prompt"].strength == 1000.0
    exec(with_edit, names)
    assert torch.equal(names["answers"], protected)
    assert torch.equal(model.generate(**inputs, max_new_tokens=32), bare)
