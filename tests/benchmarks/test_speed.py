"""Corrected generation and one-token passes against plain Hugging Face, interleaved in one run, medians."""

import sys

import torch
from shapes import with_same_weights

from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.directions import Direction
from regap.geometry.forward.prefix import prefill, run_last_token
from regap.geometry.models.identity import identity_of
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.generation import generate
from regap.interventions.packs.pack import Pack, PackSource
from regap.interventions.packs.protection import protect

NEW_TOKENS = 64 if "--benchmark-enable" in sys.argv else 4
"""Fewer where nothing is timed."""


@torch.inference_mode()
def _bare_forward(subject):
    return subject.bare(**subject.batch.inputs, use_cache=False, logits_to_keep=1)


@torch.inference_mode()
def _bare_generate(subject):
    return subject.bare.generate(
        **subject.batch.inputs, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False
    )


def test_corrected_generation(subject, compared, monkeypatch):
    """The whole of `generate`, chat template and image processing included; both write exactly 64 tokens."""
    _compare_generation(subject, compared, monkeypatch, Site((3,)))


def test_generation_corrected_at_image_tokens(subject, compared, monkeypatch):
    """The same with the vector removed at the tokens of the image, which no generated token is."""
    _compare_generation(subject, compared, monkeypatch, Site((1,), "image"))


def _compare_generation(subject, compared, monkeypatch, site):
    shift = Shift(site, torch.full((1, subject.model.width), 0.01), 1.0, "D")
    pairs = Pairs(
        tuple(
            Pair(str(i), "harmless", "all", "a", "test", {"text": Prompt("please"), "typographic": prompt})
            for i, prompt in enumerate(subject.prompts)
        )
    )
    monkeypatch.setattr(subject.model.hf.generation_config, "min_new_tokens", NEW_TOKENS)
    answers = generate(subject.model, pairs, "typographic", [shift], max_new_tokens=NEW_TOKENS)
    assert [answer.tokens for answer in answers] == [NEW_TOKENS] * len(pairs)
    compared(
        lambda: generate(subject.model, pairs, "typographic", [shift], max_new_tokens=NEW_TOKENS),
        lambda: _bare_generate(subject),
    )


def test_generation_under_a_gated_pack(subject, compared):
    """The plain model, protected, against itself as it is; the gate probes every prompt. Both write 64 tokens."""
    plain = with_same_weights(subject.bare)
    probe = Shift(Site((3,)), torch.full((1, subject.model.width), 0.01), 1.0, "D")
    layers = tuple(range(4, subject.model.layers))
    vectors = torch.eye(subject.model.layers, subject.model.width, dtype=torch.float64)
    refusal = Direction(vectors, vectors[:, 0], tuple(range(subject.model.layers)), "text")
    edit = ReGap(probe, refusal, layers, Gate("sigmoid", 0.0), 1.0)
    source = PackSource(
        run="", pairs=1, pairs_sha256="", image_arm="", false_refusals=0.05, seed=0, versions={}
    )
    protect(plain, Pack.of("timed", identity_of(plain), edit, source))
    length = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}

    @torch.inference_mode()
    def protected_generate():
        return plain.generate(**subject.batch.inputs, **length)

    assert protected_generate().shape == _bare_generate(subject).shape
    compared(protected_generate, lambda: _bare_generate(subject))


def test_one_token_pass_against_a_full_pass(subject, compared):
    layers = range(subject.model.layers)
    prefix = prefill(
        subject.model, Batch(subject.batch.inputs, subject.batch.rows, subject.batch.image_token)
    )
    compared(lambda: run_last_token(subject.model, prefix, layers), lambda: _bare_forward(subject))
