"""The caption arm: images replaced by the model's own descriptions."""

from dataclasses import replace

from regap.geometry.data.pairs import Pair, Pairs, is_image_arm
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model
from regap.interventions.generation import Completion, generate_each
from regap.interventions.wording import PLAIN

LONGEST = 128
"""Most tokens of a caption."""


def with_captions(
    model: Model | Runner,
    pairs: Pairs,
    arm: str | None = None,
) -> Pairs:
    """Return the pairs with a `caption` arm: the message of an image arm, with the model's captions for its images.

    arm: the arm of the images; by default each pair's first image arm. A pair that has a caption arm already, or no
    image arm, is not changed. Captions are greedy, and kept in the runner's store by model, prompt and image.
    """
    runner = Runner.of(model)
    chosen = {pair.pair_id: _image_arm(pair, arm) for pair in pairs}
    asking = tuple(
        replace(pair, prompts={"picture": PLAIN.description_of(pair.prompts[found])})
        for pair in pairs
        if (found := chosen[pair.pair_id]) is not None
    )
    if not asking:
        return pairs
    answers = generate_each(
        runner.named(f"captions, {runner.model.name}"),
        Pairs(asking),
        "picture",
        {"": []},
        max_new_tokens=LONGEST,
    )[""]
    captions = {answer.pair_id: answer for answer in answers}
    made = tuple(
        _captioned(pair, chosen[pair.pair_id] or "", captions[pair.pair_id])
        if pair.pair_id in captions
        else pair
        for pair in pairs
    )
    return Pairs(
        made, (*pairs.notes, f"{len(asking)} caption arms were made by the model {runner.model.name}")
    )


def _image_arm(pair: Pair, arm: str | None) -> str | None:
    if "caption" in pair.prompts:
        return None
    return next((name for name in pair.prompts if (name == arm if arm else is_image_arm(name))), None)


def _captioned(pair: Pair, arm: str, caption: Completion) -> Pair:
    """Return the pair with a caption arm: the text of the image arm, followed by the caption."""
    made = PLAIN.without_pictures(pair.prompts[arm], caption.text)
    return replace(pair, prompts={**pair.prompts, "caption": made})
