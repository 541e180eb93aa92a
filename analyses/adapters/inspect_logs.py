"""Write a run's answers and verdicts as inspect_ai logs, one for each condition and arm, for `inspect view`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from regap.analyses.adapters import needed
from regap.analyses.judges.stored_answers import StoredAnswers, stored_answers, stored_verdicts
from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import outcomes
from regap.analyses.runs.records import table_path
from regap.geometry.states.store import digest_of

EXTRA = "inspect"


def write_inspect_logs(run: Path, out: Path | None = None, seed: int = 0) -> tuple[Path, ...]:
    """Write one log for each condition and arm of a run (default: to RUN/inspect), and return their paths.

    A sample is one answered request. A scorer is one judge; its score is the verdict, its metrics are the outcomes
    with intervals. Answers that were not judged are unscored. The logs hold requests and answers in full.
    """
    log = needed("inspect_ai.log", EXTRA)
    stored = stored_answers(run)
    judges = stored_verdicts(run, stored)
    folder = out or run / "inspect"
    folder.mkdir(parents=True, exist_ok=True)
    made = datetime.fromtimestamp(table_path(run, "completions").stat().st_mtime, UTC).isoformat(
        timespec="seconds"
    )
    written = []
    for condition, arm in dict.fromkeys((one.condition, one.arm) for one in stored.answers):
        places = [
            place for place, one in enumerate(stored.answers) if (one.condition, one.arm) == (condition, arm)
        ]
        judged = [[verdicts[place] for place in places] for verdicts in judges]
        path = folder / f"{arm}_{condition}.eval"
        log.write_eval_log(_log(stored, condition, arm, judged, made, seed), str(path))
        written.append(path)
    return tuple(written)


def _log(
    stored: StoredAnswers,
    condition: str,
    arm: str,
    judged: Sequence[Sequence[Judged]],
    made: str,
    seed: int,
) -> Any:
    log = needed("inspect_ai.log", EXTRA)
    samples = [
        _sample(stored.model, [verdicts[place] for verdicts in judged]) for place in range(len(judged[0]))
    ]
    task = f"regap {arm}, {condition}"
    name = digest_of([stored.model, condition, arm, made])[:22]
    spec = log.EvalSpec(
        created=made,
        eval_id=name,
        run_id=digest_of([stored.model, made])[:22],
        task_id=name,
        task=task,
        dataset=log.EvalDataset(name=arm, samples=len(samples), sample_ids=[one.id for one in samples]),
        model=f"regap/{stored.model}",
        config=log.EvalConfig(),
        metadata={"condition": condition, "arm": arm},
    )
    results = log.EvalResults(
        total_samples=len(samples),
        completed_samples=len(samples),
        scores=[_scores(verdicts, seed) for verdicts in judged],
    )
    stats = log.EvalStats(started_at=made, completed_at=made)
    return log.EvalLog(status="success", eval=spec, results=results, stats=stats, samples=samples)


def _sample(model: str, verdicts: Sequence[Judged]) -> Any:
    log, talk = needed("inspect_ai.log", EXTRA), needed("inspect_ai.model", EXTRA)
    pair, said = verdicts[0].pair, verdicts[0].completion
    output = talk.ModelOutput.from_content(
        f"regap/{model}", said.text, stop_reason="stop" if said.finished else "max_tokens"
    )
    return log.EvalSample(
        id=pair.pair_id,
        epoch=1,
        input=pair.request,
        target=pair.answer or "",
        messages=[
            talk.ChatMessageUser(content=pair.request),
            talk.ChatMessageAssistant(content=said.text, source="generate"),
        ],
        output=output,
        scores={one.judge: _score(one) for one in verdicts},
        metadata={"label": pair.label, "category": pair.category, "arm": said.arm},
    )


def _score(one: Judged) -> Any:
    kind = needed("inspect_ai.scorer", EXTRA).Score
    if one.verdict == "not_judged":
        return kind.unscored(answer=one.completion.text, explanation=one.reason)
    return kind(value=one.verdict, answer=one.completion.text, explanation=one.reason)


def _scores(verdicts: Sequence[Judged], seed: int) -> Any:
    log = needed("inspect_ai.log", EXTRA)
    found = outcomes(verdicts, seed)
    judged = sum(one.verdict != "not_judged" for one in verdicts)
    metrics = {
        name: log.EvalMetric(
            name=name, value=one.value, metadata={"low": one.low, "high": one.high, "n": one.n}
        )
        for name, one in found.items()
    }
    return log.EvalScore(
        name=verdicts[0].judge,
        scorer=verdicts[0].judge,
        scored_samples=judged,
        unscored_samples=len(verdicts) - judged,
        metrics=metrics,
    )
