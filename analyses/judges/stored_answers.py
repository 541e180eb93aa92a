"""The answers in a run folder, as judges see them, and their verdicts; no model is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from regap.analyses.judges.registry import NamedJudge
from regap.analyses.judges.verdicts import Judged, Verdict
from regap.analyses.read_back import Transcription
from regap.analyses.runs.records import Record, table_path
from regap.analyses.tables.parquet_files import read_sealed_table
from regap.errors import ConfigError, StoreError
from regap.geometry.data.pairs import Pair, Prompt
from regap.geometry.files import note_damaged, opened_json, sealed_json, write_whole
from regap.geometry.forward.runner import Advance
from regap.geometry.states.store import digest_of
from regap.interventions.generation import Completion

NO_TOKEN = -1
"""Stands for the first token of an answer whose tokens are not known."""


@dataclass(frozen=True)
class Answered:
    """One stored answer with its condition and its request."""

    condition: str
    pair: Pair = field(repr=False)
    """The request with its label, cluster and right answer; its prompts are the request alone."""
    completion: Completion = field(repr=False)

    @property
    def arm(self) -> str:
        """The arm of the prompt that was answered."""
        return self.completion.arm


@dataclass(frozen=True)
class StoredAnswers:
    """All answers of one run, in the order of its table, with the verdicts of the run's own judge."""

    model: str
    answers: tuple[Answered, ...] = field(repr=False)
    verdicts: tuple[Judged, ...] = field(repr=False)
    """One for each answer."""
    readings: tuple[Transcription, ...] = field(default=(), repr=False)
    """What the model read in the images, if the run read them back."""

    @property
    def judge(self) -> str:
        """The judge that the run used."""
        return self.verdicts[0].judge


def stored_answers(folder: Path) -> StoredAnswers:
    """Return the answers in a run folder; raises ConfigError, naming what is missing, if the run is not finished."""
    needed = (folder / "prompts.parquet", table_path(folder, "completions"), table_path(folder, "verdicts"))
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        raise ConfigError(
            f"run folder {folder} has no {' and no '.join(missing)}; name a folder that `regap run` has finished"
        )
    pairs = _pairs(folder)
    completions = Record.load(folder, "completions").table
    verdicts = Record.load(folder, "verdicts").table
    own = verdicts.loc[verdicts["judge"] == verdicts["judge"].iloc[0]]
    key = ["model", "condition", "arm", "pair_id"]
    both = completions.merge(own[[*key, "judge", "verdict", "reason"]], on=key, how="left")
    if both["verdict"].isna().any() or not set(both["pair_id"]) <= set(pairs):
        raise ConfigError(
            f"run folder {folder} holds completions without a verdict or a prompt, so it was cut off; give its "
            "`regap run` command again"
        )
    models = sorted(set(both["model"]))
    if len(models) != 1:
        raise ConfigError(
            f"run folder {folder} holds answers of {', '.join(models)}; it has to be one model's"
        )
    rows = cast("list[dict[str, Any]]", both.to_dict("records"))
    answers = tuple(_answered(row, pairs[row["pair_id"]]) for row in rows)
    return StoredAnswers(models[0], answers, _verdicts(answers, rows), _readings(folder, pairs))


def stored_verdicts(folder: Path, stored: StoredAnswers) -> tuple[tuple[Judged, ...], ...]:
    """Return the verdicts of every judge in a run folder, each judge's in the order of the answers.

    A judge that lacks a verdict on any answer is left out.
    """
    table = Record.load(folder, "verdicts").table
    found = []
    for judge in dict.fromkeys(table["judge"]):
        rows = {
            (row["condition"], row["arm"], row["pair_id"]): row
            for row in cast("list[dict[str, Any]]", table.loc[table["judge"] == judge].to_dict("records"))
        }
        places = [(one.condition, one.arm, one.pair.pair_id) for one in stored.answers]
        if all(place in rows for place in places):
            found.append(_verdicts(stored.answers, [rows[place] for place in places]))
    return tuple(found)


def _answered(row: dict[str, Any], pair: Pair) -> Answered:
    said = Completion(
        pair.pair_id, row["arm"], row["text"], row["tokens"], row["finished"], row["first_token"], pair
    )
    return Answered(row["condition"], pair, said)


def _verdicts(answers: Sequence[Answered], rows: Sequence[dict[str, Any]]) -> tuple[Judged, ...]:
    return tuple(
        Judged(one.pair, one.completion, row["judge"], row["verdict"], row["reason"])
        for one, row in zip(answers, rows, strict=True)
    )


def _readings(folder: Path, pairs: Mapping[str, Pair]) -> tuple[Transcription, ...]:
    if not table_path(folder, "read_back").is_file():
        return ()
    rows = cast("list[dict[str, Any]]", Record.load(folder, "read_back").table.to_dict("records"))
    return tuple(
        Transcription(pairs[row["pair_id"]], row["arm"], row["text"], row["overlap"], row["state"])
        for row in rows
        if row["pair_id"] in pairs
    )


def _pairs(folder: Path) -> dict[str, Pair]:
    """Return the pairs of the run by pair_id, with their right answers if the folder keeps them."""
    table = read_sealed_table(folder / "prompts.parquet").drop_duplicates("pair_id")
    found = {}
    for row in cast("list[dict[str, Any]]", table.to_dict("records")):
        answer, request = row.get("answer"), row["request"]
        found[row["pair_id"]] = Pair(
            row["pair_id"],
            row["label"],
            row["category"],
            request,
            row["split"],
            {"text": Prompt(request.replace("<image>", "the image"))},
            answer if isinstance(answer, str) else None,
            row.get("cluster") or "",
        )
    return found


def judge_stored(
    named: NamedJudge,
    answers: Sequence[Answered],
    store: Path | None = None,
    advance: Advance | None = None,
) -> tuple[Judged, ...]:
    """Return the verdict of each answer, in their order.

    With a `store` folder, verdicts are kept there in portions. A portion is read again only for the same judge, by
    its identity, and the same requests and answers. A damaged portion is judged again.
    """
    found: list[Judged] = []
    for start in range(0, len(answers), named.portion):
        portion = answers[start : start + named.portion]
        path = store / f"{_digest(named, portion)}.json" if store else None
        found += _read(named, portion, path) or _judge(named, portion, path)
        if advance:
            advance(len(portion))
    return tuple(found)


def _judge(named: NamedJudge, portion: Sequence[Answered], path: Path | None) -> list[Judged]:
    judged = [named.judge(one.pair, one.completion) for one in portion]
    if path:
        rows = [{"verdict": one.verdict, "reason": one.reason} for one in judged]
        write_whole(path, sealed_json({"verdicts": rows}, path.stem, indent=None))
    return judged


def _read(named: NamedJudge, portion: Sequence[Answered], path: Path | None) -> list[Judged] | None:
    if path is None:
        return None
    try:
        rows = [(row["verdict"], row["reason"]) for row in opened_json(path, path.stem)["verdicts"]]
    except (StoreError, TypeError, KeyError):
        note_damaged(path)
        return None
    if len(rows) != len(portion) or any(verdict not in get_args(Verdict) for verdict, _ in rows):
        return None
    return [
        Judged(one.pair, one.completion, named.name, verdict, reason)
        for one, (verdict, reason) in zip(portion, rows, strict=True)
    ]


def _digest(named: NamedJudge, portion: Sequence[Answered]) -> str:
    shown = [
        [one.pair.request, one.pair.label, one.pair.answer, one.completion.text, one.completion.finished]
        for one in portion
    ]
    return digest_of([named.name, named.identity, shown])
