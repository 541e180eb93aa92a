"""What is written of a pack beside its tensors: the model, where it came from, what it does, what it did."""

from typing import Literal

from pydantic import Field

from regap.geometry.models.identity import ModelIdentity
from regap.interventions.packs.settings import Facts, Settings

Condition = Literal["baseline", "corrected"]


class Outcome(Facts):
    """A share that was measured on test pairs, with its 95 % interval."""

    condition: Condition
    arm: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: int = Field(ge=1)


class PackSource(Facts):
    """What the pack was made from."""

    run: str = Field(
        description="fingerprint of the run's model: weights, template, number format, attention"
    )
    pairs: int = Field(ge=1)
    pairs_sha256: str
    image_arm: str = Field(description="the arm that the correction was chosen on")
    false_refusals: float = Field(description="share of harmless calibration images allowed to be refused")
    seed: int
    versions: dict[str, str] = Field(description="of the packages that the run used")


class PackCard(Facts):
    """Everything of a pack that is no tensor."""

    format: Literal["regap correction pack 2"]
    name: str = Field(min_length=1, description="what the model was called")
    model: ModelIdentity
    source: PackSource
    outcomes: tuple[Outcome, ...]
    correction: Settings
    tensors_sha256: str = Field(description="of pack.safetensors")
