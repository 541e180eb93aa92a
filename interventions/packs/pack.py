"""Correction packs: a folder with an edit, the identity of its model, and its measured outcomes."""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regap.errors import PackError, first_line
from regap.geometry.files import PARTIAL, is_whole, sealed_json, write_whole
from regap.geometry.models.identity import ModelIdentity
from regap.interventions.edits.alignment import Alignment
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.stored import TENSORS, VALUES, content_of, decoded, digest, encoded

FORMAT = "regap correction pack 3"
CARD, README = "card.json", "README.md"
LARGEST_CARD = 2**20
"""Most bytes of card.json."""
Condition = Literal["baseline", "corrected"]
Fixed = Shift | Alignment
"""Corrections that are equal for all prompts."""
SHOWN = ("attack_success", "refusal", "over_refusal", "utility")
SIGNALS = {
    "rho": "the mean change of z under the probe",
    "z_before": "the mean of z",
    "z_after": "the mean of z",
    "growth": "z at the last layer read minus z at the first",
}
"""Signals in words; fitted signals are weighted sums of z."""


class Facts(BaseModel):
    """A part of card.json; it is frozen, and unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Outcome(Facts):
    """A share on test pairs, with its 95 % interval."""

    condition: Condition
    arm: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: int = Field(ge=1)


class PackSource(Facts):
    """The run that the pack was made from."""

    run: str = Field(description="fingerprint of the run's model: weights, template, dtype, attention")
    pairs: int = Field(ge=1)
    pairs_sha256: str
    image_arm: str = Field(description="the arm that the correction was chosen on")
    false_refusals: float = Field(description="share of harmless calibration images allowed to be refused")
    seed: int
    versions: dict[str, str] = Field(description="versions of the packages that the run used")


class PackCard(Facts):
    """Everything in a pack but its edit."""

    format: Literal["regap correction pack 3"]
    name: str = Field(min_length=1, description="name of the model")
    headline: str = Field(description="effect of the edit on attack success and over-refusal, in one line")
    model: ModelIdentity
    source: PackSource
    outcomes: tuple[Outcome, ...]
    edit_sha256: str = Field(description="digest of edit.json, which contains the digest of edit.safetensors")


@dataclass(frozen=True, eq=False)
class Pack:
    """An edit with its card."""

    card: PackCard
    edit: Fixed | ReGap = field(repr=False)

    def __post_init__(self) -> None:
        model, name = self.card.model, self.card.name
        width = removed_of(self.edit).width
        if width != model.width:
            raise PackError(
                f"pack {name} has vectors {width} wide for a model {model.width} wide; make it again"
            )
        last = max(layers_of(self.edit))
        if last >= model.blocks or min(layers_of(self.edit)) < 0:
            raise PackError(
                f"pack {name} names layer {last}, and its model has {model.blocks} blocks; make it again"
            )
        if digest(encoded(self.edit)[0]) != self.card.edit_sha256:
            raise PackError(f"pack {name} has another edit than its card describes; make it again")

    @classmethod
    def of(
        cls,
        name: str,
        model: ModelIdentity,
        edit: Fixed | ReGap,
        source: PackSource,
        outcomes: tuple[Outcome, ...] = (),
    ) -> "Pack":
        """Return the pack of an edit, with its card filled in; raises PackError for an edit that no pack holds."""
        if not isinstance(edit, Fixed | ReGap):
            raise PackError(f"a pack cannot hold {type(edit).__name__}; it holds Shift, Alignment and ReGap")
        card = PackCard(
            format=FORMAT,
            name=name,
            headline=headline(outcomes),
            model=model,
            source=source,
            outcomes=outcomes,
            edit_sha256=digest(encoded(edit)[0]),
        )
        return cls(card, edit)


def removed_of(edit: Fixed | ReGap) -> Fixed:
    """Return the correction that the edit makes at full strength."""
    return edit.removed if isinstance(edit, ReGap) else edit


def corrections_of(edit: Fixed | ReGap) -> tuple[Fixed, ...]:
    """Return every correction of the edit, the probe first."""
    return (edit.probe, edit.removed) if isinstance(edit, ReGap) else (edit,)


def layers_of(edit: Fixed | ReGap) -> set[int]:
    """Return every layer that is edited or read."""
    read = edit.read_layers if isinstance(edit, ReGap) else ()
    return {*read, *(layer for each in corrections_of(edit) for layer in each.site.layers)}


def headline(outcomes: tuple[Outcome, ...]) -> str:
    """Return attack success and over-refusal of each arm, without and with the edit, in one line."""
    told = [
        f"{measure.replace('_', ' ')} on {arm}: {_share(before)} without, {_share(after)} with"
        for measure in ("attack_success", "over_refusal")
        for arm, before, after in _compared(outcomes, measure)
    ]
    return "; ".join(told) or "no outcome was measured"


def worsened(outcomes: tuple[Outcome, ...]) -> tuple[tuple[str, float, float], ...]:
    """Return each arm in which the edit raises attack success, and attack success without and with the edit."""
    return tuple(
        (arm, before.value, after.value)
        for arm, before, after in _compared(outcomes, "attack_success")
        if before.value is not None and after.value is not None and after.value > before.value
    )


def write_pack(pack: Pack, folder: str | Path) -> Path:
    """Write edit.json, edit.safetensors, card.json and README.md; return the folder. Equal packs give equal bytes.

    Raises PackError for a folder that holds other files.
    """
    folder = Path(folder)
    check_folder(folder)
    pack.edit.save(folder)
    write_whole(folder / CARD, sealed_json(pack.card.model_dump(mode="json")))
    write_whole(folder / README, readme(pack).encode())
    for left in folder.glob(f".*{PARTIAL}"):
        left.unlink(missing_ok=True)
    return folder


def check_folder(folder: Path) -> None:
    """Raise PackError if the folder holds anything but a pack, since a pack may not be written there."""
    known = {CARD, VALUES, TENSORS, README}
    found = {path.name for path in folder.glob("*") if not path.name.endswith(PARTIAL)}
    if folder.exists() and (not folder.is_dir() or found - known):
        raise PackError(f"out is {folder}, which holds other files than a pack; name a new folder")


def read_pack(folder: str | Path) -> Pack:
    """Return the pack in a folder; raises PackError if a file is missing, incomplete, changed or not valid."""
    folder = Path(folder)
    card, values, tensors = (content_of(folder / name) for name in (CARD, VALUES, TENSORS))
    try:
        return _pack(card, values, tensors)
    except PackError as error:
        raise PackError(f"pack {folder}: {error}") from None


def _pack(card: bytes, values: bytes, tensors: bytes) -> Pack:
    described, edit = _card(card), decoded(values, tensors)
    if digest(values) != described.edit_sha256:
        raise PackError(f"{VALUES} was not written together with {CARD}; fetch or make it again")
    return Pack(described, edit)


def readme(pack: Pack) -> str:
    """Return the pack's README.md: its model, its edit, its outcomes and its use."""
    loader = PackageLoader("regap.interventions.packs", ".")
    page = Environment(
        loader=loader, undefined=StrictUndefined, finalize=escaped, autoescape=False, trim_blocks=True
    ).get_template("README.md.j2")
    edit = pack.edit
    regap = edit if isinstance(edit, ReGap) else None
    before, after = (any(row) for row in regap.reading.tolist()) if regap else (False, False)
    probed = regap is not None and after and regap.probe.strength != 0
    return page.render(
        card=pack.card,
        edit=edit,
        where=_where,
        removed=removed_of(edit),
        strength=edit.strongest if isinstance(edit, ReGap) else edit.strength,
        regap=regap,
        signal=SIGNALS.get(regap.signal, "a fitted, weighted sum of z") if regap else "",
        before=before,
        unprobed=before or not probed,
        probed=probed,
        rows=list(_rows(pack.card.outcomes)),
    )


def escaped(text: object) -> str:
    """Return the text on one line, escaped for Markdown and HTML."""
    flat = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", html.escape(flat))


def _compared(outcomes: tuple[Outcome, ...], measure: str) -> Iterator[tuple[str, Outcome, Outcome]]:
    found = {(one.arm, one.condition): one for one in outcomes if one.measure == measure}
    for arm in dict.fromkeys(arm for arm, _ in found):
        if (arm, "baseline") in found and (arm, "corrected") in found:
            yield arm, found[arm, "baseline"], found[arm, "corrected"]


def _rows(outcomes: tuple[Outcome, ...]) -> Iterator[tuple[str, str, str, str, int]]:
    """Yield outcomes on test pairs, without and with the edit."""
    found = {(one.arm, one.measure, one.condition): one for one in outcomes if one.measure in SHOWN}
    for arm, measure in dict.fromkeys((arm, measure) for arm, measure, _ in found):
        both = [found.get((arm, measure, condition)) for condition in ("baseline", "corrected")]
        yield arm, measure, _shown(both[0]), _shown(both[1]), next(one.n for one in both if one)


def _where(correction: Fixed) -> str:
    site = correction.site
    return f"layers {', '.join(map(str, site.layers))} ({site.positions}, {site.phase}, norm {site.norm})"


def _share(one: Outcome) -> str:
    return "not judged" if one.value is None else f"{one.value:.3g}"


def _shown(one: Outcome | None) -> str:
    if one is None or one.value is None:
        return "not measured"
    interval = "" if one.low is None or one.high is None else f" [{one.low:.3g}, {one.high:.3g}]"
    return f"{one.value:.3g}{interval}"


def _card(content: bytes) -> PackCard:
    if len(content) > LARGEST_CARD:
        raise PackError(
            f"{CARD} is {len(content)} bytes long, and at most {LARGEST_CARD} are read; fetch or make the pack again"
        )
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PackError(f"{CARD}: invalid JSON ({first_line(error)}); fetch or make the pack again") from None
    if not isinstance(told, dict) or not is_whole(content):
        raise PackError(
            f"{CARD} is damaged: its digest does not match its content; fetch or make the pack again"
        )
    del told["digest"]
    try:
        return PackCard.model_validate_json(json.dumps(told))
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("format",) and isinstance(first["input"], str):
            raise PackError(
                f"{CARD}: format is {first['input'][:40]!r}, and this version of regap reads {FORMAT!r}; make the pack "
                "again with `regap pack`"
            ) from None
        where = ".".join(str(part) for part in first["loc"])
        raise PackError(
            f"{CARD}: {where + ': ' if where else ''}{first['msg']}; fetch or make the pack again"
        ) from None
