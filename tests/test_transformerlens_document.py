"""The code of docs/transformerlens.md runs as it stands on the bundled organism, and does what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch


def test_the_page_does_by_hand_what_regap_does(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import regap as rg
    from regap.interventions.edits.shift import Shift
    from regap.organism.prompts import HeldOut, held_out_pairs

    page = (root / "docs" / "transformerlens.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    rg.write_pairs(held_out_pairs(HeldOut(6, 2, 2)), "pairs.parquet")
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)

    layer, ids, cache, model, pairs = (names[name] for name in ("layer", "ids", "cache", "model", "pairs"))
    prompts, length = ids.shape
    assert len(blocks) == 7 and prompts == len(pairs.test) == 4
    assert cache["blocks.6.attn.hook_pattern"].shape[::2] == (prompts, length)
    assert cache["blocks.6.attn.hook_z"].ndim == 4
    assert cache["blocks.6.hook_mlp_out"].shape == (prompts, length, model.width)

    site = rg.Site((layer,), "all", "every_step")
    edit = Shift(site, names["drift"].at(layer)[None], 1.0, "D")
    found = rg.generate(model, pairs.test, "typographic", edits=[edit], max_new_tokens=8)
    assert [answer.text for answer in found] == [answer.strip() for answer in names["answers"]]
    assert [answer.text for answer in names["same"]] == [answer.text for answer in found]
    plain = rg.generate(model, pairs.test, "typographic", max_new_tokens=8)
    assert [answer.text for answer in plain] != [answer.text for answer in found]

    share = names["share"]
    assert bool((share > 0).all() and (share < 1).all())
    whole = torch.einsum(  # the heads add up to attention
        "pthd,hdm->ptm", cache[f"blocks.{layer}.attn.hook_z"], model.bridge.blocks[layer].attn.W_O
    )
    assert torch.allclose(whole, cache[f"blocks.{layer}.hook_attn_out"], atol=1e-4)
    assert names["along_refusal"].shape == (prompts,)
