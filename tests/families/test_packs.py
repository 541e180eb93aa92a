"""A pack on a plain Hugging Face model of a family answers, token for token, as the same edit does under the bridge."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from parity import Subject, subject
from tiny_parts import LAYERS, WIDTH

from regap.geometry.directions import Direction
from regap.geometry.forward.hooks import hooked
from regap.geometry.models.identity import identity_of
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.regap import ReGap, read_traces
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.packs.pack import Pack, PackSource
from regap.interventions.packs.protection import protected

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# Besides the usual layout: two that must be read whole (PaliGemma, Mllama), one with sliding windows and no image.
FAMILIES = [
    "llava",
    "qwen2_5_vl",
    "qwen3_vl",
    "gemma3",
    "internvl",
    "idefics3",
    "paligemma",
    "mllama",
    "gemma2",
    "qwen2_audio",
    "qwen2_5_omni",
]
OPTIONS: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False}
SOURCE = PackSource(run="", pairs=1, pairs_sha256="", image_arm="", false_refusals=0.05, seed=0, versions={})
SHIFT = Shift(Site((1,)), torch.linspace(-1, 1, WIDTH)[None], 12.0, "planted")
EARLY = Shift(Site((0,)), torch.linspace(1, -1, WIDTH).roll(5)[None], 2.0, "planted")
LATE = Shift(Site((2,)), torch.linspace(-1, 1, WIDTH).roll(9)[None], 1.0, "planted")
GATED = ["regap", "elsewhere", "single", "single, rho", "single, no probe"]


@pytest.fixture(scope="module", params=FAMILIES)
def of(request: pytest.FixtureRequest) -> Subject:
    return subject(request.param, "float32")


@pytest.fixture(scope="module")
def refusal() -> Direction:
    drawn = torch.randn(LAYERS, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Direction(
        drawn / drawn.norm(dim=-1, keepdim=True), torch.zeros(LAYERS).double(), (0, 1, 2), "text"
    )


def gated(of: Subject, batch: Batch, refusal: Direction, kind: str) -> ReGap:
    """Opens for the upper half of these prompts."""
    shut = Gate("hard", 0.0)
    edit = {
        "regap": ReGap(SHIFT, refusal, (2,), shut, 15.0),
        "elsewhere": ReGap(EARLY, refusal, (1, 2), shut, 15.0, correction=SHIFT),
        "single": ReGap(EARLY, refusal, (1,), shut, 15.0, "z_after", None, SHIFT, "single"),
        "single, rho": ReGap(EARLY, refusal, (1,), shut, 15.0, "rho", None, SHIFT, "single"),
        "single, no probe": ReGap(EARLY.at(0.0), refusal, (1, 2), shut, 40.0, "growth", None, LATE, "single"),
    }[kind]
    z = read_traces(of.model, batch, edit.probe, refusal, edit.read_layers)
    signal = z.weighted(edit.reading).sort().values
    return replace(edit, gate=Gate("hard", float(signal[:2].mean())))


def packed(of: Subject, edit: Shift | ReGap, refusal: Direction) -> Pack:
    return Pack.of(of.family, identity_of(of.bare), edit, SOURCE)


@pytest.mark.parametrize("kind", ["fixed", *GATED])
def test_a_protected_model_answers_as_under_the_bridge(kind: str, of: Subject, refusal: Direction) -> None:
    assert identity_of(of.bare) == identity_of(of.model.hf)
    kinds = [*of.kinds, *(["several"] if of.model.sees_images else [])]
    differing = 0
    for asked in kinds:
        batch = of.batch(asked)
        edit = SHIFT if kind == "fixed" else gated(of, batch, refusal, kind)
        pack = packed(of, edit, refusal)
        under = pack.edit
        with hooked(of.model, under.hooks(of.model, batch)), torch.inference_mode():
            expected = of.model.hf.generate(**batch.inputs, **OPTIONS)
        bare = of.bare.generate(**batch.inputs, **OPTIONS)
        with protected(of.bare, pack):
            found = of.bare.generate(**batch.inputs, **OPTIONS)
        assert torch.equal(found, expected)
        assert torch.equal(of.bare.generate(**batch.inputs, **OPTIONS), bare)
        differing += not torch.equal(found, bare)
    assert differing == len(kinds)


@pytest.mark.parametrize("positions", ["image", "audio"])
def test_an_edit_at_the_tokens_of_an_image_or_a_sound_is_that_of_the_bridge(
    positions: Any, of: Subject, refusal: Direction
) -> None:
    """Prompts without such tokens are answered as without the edit."""
    edit = replace(SHIFT, site=Site((0,), positions), strength=40.0)
    for asked in of.kinds:
        batch = of.batch(asked)
        with hooked(of.model, edit.hooks(of.model, batch)), torch.inference_mode():
            expected = of.model.hf.generate(**batch.inputs, **OPTIONS)
        bare = of.bare(**batch.inputs).logits
        with protected(of.bare, packed(of, edit, refusal)):
            assert torch.equal(of.bare.generate(**batch.inputs, **OPTIONS), expected)
            logits = of.bare(**batch.inputs).logits
        assert torch.equal(logits, bare) is not bool(getattr(batch, positions).any())


@pytest.mark.parametrize("kind", GATED)
def test_prompts_in_chunks_are_those_in_one(kind: str, of: Subject, refusal: Direction) -> None:
    """Chunks of words alone: some families cannot cut raw images, and their own `generate` says so."""
    if "words" not in of.kinds or not of.model.one_token_passes:
        pytest.skip("prompts of this family are read whole")
    batch = of.batch("words")
    with protected(of.bare, packed(of, gated(of, batch, refusal, kind), refusal)):
        whole = of.bare.generate(**batch.inputs, **OPTIONS)
        assert torch.equal(of.bare.generate(**batch.inputs, **OPTIONS, prefill_chunk_size=5), whole)
