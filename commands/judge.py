"""`regap judge` and `regap calibrate-judges`: judge answers again, compare judges with one another and with people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from regap.commands.options import (
    CHANGES,
    RELOCATING,
    Run,
    estimate_in,
    print_note,
    progress,
    run_of,
    screen,
    table_of,
    takes,
)

if TYPE_CHECKING:
    from regap.analyses.judges.judge_panel import JudgePanel
    from regap.analyses.judges.registry import NamedJudge
    from regap.analyses.runs.records import Record

SHOWN = 5
"""Printed answers on which judges differ; the table has all of them."""
LONGEST = 70
"""Most characters of an answer that are printed, so that harmful answers are not spread."""


@takes(*RELOCATING, "seed")
def judge(
    run_folder: Run,
    judge: Annotated[
        list[str] | None,
        typer.Option(help="Judge by name; repeat for more. All judges of stored answers by default."),
    ] = None,
    first_token: Annotated[
        bool,
        typer.Option(
            "--first-token",
            help="Also load the model, for the log-odds that its first token opens a refusal.",
        ),
    ] = False,
    model_judge: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge model and its checkpoint, as NAME=FOLDER; repeat for more. Names: harmbench, llama_guard_3, "
            "llama_guard_4, md_judge, strongreject_finetuned, wildguard; for chat models strongreject_rubric, outcome."
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="OpenAI-compatible address, such as https://HOST/v1; requests and answers are sent there."
        ),
    ] = None,
    endpoint_model: Annotated[str | None, typer.Option(help="Name of the model behind the endpoint.")] = None,
    endpoint_prompt: Annotated[
        str, typer.Option(help="Prompt for the endpoint: outcome or strongreject_rubric.")
    ] = "outcome",
    endpoint_key: Annotated[
        str | None,
        typer.Option(help="Environment variable with the endpoint's key; without it no key is sent."),
    ] = None,
    endpoint_rate: Annotated[
        float | None, typer.Option(help="Most requests per minute to the endpoint.")
    ] = None,
    **flags: Any,
) -> None:
    """Judge the stored answers of a run again: verdicts, agreement between judges, and comparisons."""
    from regap.analyses.judges.judge_panel import panel, save_panel, with_verdicts
    from regap.analyses.judges.registry import judges_named
    from regap.analyses.judges.stored_answers import stored_answers
    from regap.analyses.runs.records import Record
    from regap.analyses.utility.tables import stored_utility, with_known
    from regap.geometry.sole_writer import sole_writer

    if not (endpoint or endpoint_model) and (endpoint_key or endpoint_rate):
        raise ValueError("--endpoint-key and --endpoint-rate need --endpoint; add it, or leave them out")
    device, seed = flags["device"], flags.pop("seed")
    if device and not (model_judge or first_token):
        raise ValueError("--device needs --model-judge or --first-token; add one, or leave it out")
    if not first_token and (unused := [name for name, value in flags.items() if value and name != "device"]):
        raise ValueError(
            f"--{unused[0].replace('_', '-')} needs --first-token; add it, or leave the flag out"
        )
    named = judges_named(judge or [])
    stored = stored_answers(run_folder)
    if model_judge:
        from regap.analyses.judges.model_judge import model_judge as judge_of

        named = (*named, *(judge_of(one, device or "cpu") for one in model_judge))
    if endpoint or endpoint_model:
        from regap.analyses.judges.endpoint_judge import endpoint_judge

        named = (
            *named,
            endpoint_judge(endpoint or "", endpoint_model, endpoint_prompt, endpoint_key, endpoint_rate),
        )
    further: list[Record] = []
    with progress() as track, sole_writer(run_folder):
        found = panel(stored, named, run_folder, track)
        if first_token:
            from regap.analyses.judges.first_token_pass import first_token_pass

            tokens = first_token_pass(run_of(run_folder, flags, track), stored)
            further.append(tokens.record(stored))
            found = with_verdicts(found, tokens.verdicts(stored))
        further += with_known(stored_utility(stored, seed or 0), run_folder)
        saved = save_panel(found, run_folder, seed or 0, further)
        records = {record.name: record for record in saved}
    _print_defects(found, named)
    _print_unjudged(found)
    if "agreement" in records:
        screen.print(_agreement(records["agreement"]))
    _print_disagreements(found, records.get("disagreements"))
    if "comparisons" in records:
        screen.print(_comparisons(records["comparisons"], stored.judge))
    screen.print(f"tables: {', '.join(records)} in {escape(str(run_folder / 'asked'))}", soft_wrap=True)


@takes("seed")
def calibrate_judges(
    labels: Annotated[
        Path, typer.Argument(help="CSV file of completions labelled by people, in XSTest's format.")
    ],
    judge: Annotated[
        list[str] | None, typer.Option(help="Judge by name; repeat for more. All by default.")
    ] = None,
    **flags: Any,
) -> None:
    """Compare judges with people: precision, recall and kappa of refusals, on completions labelled by people."""
    from regap.analyses.judges.against_people import calibration, read_labelled
    from regap.analyses.judges.registry import judges_named

    named, people = judges_named(judge or []), read_labelled(labels)
    table = Table(
        "judge", "precision", "recall", "Cohen's kappa", "not judged", title=f"refusals, n = {len(people)}"
    )
    for one in named:
        judged = [one.judge(each.pair, each.completion) for each in people]
        if all(each.verdict == "not_judged" for each in judged):
            table.add_row(one.name, "not defined", "not defined", "not defined", str(len(people)))
            continue
        found = calibration(people, judged, flags["seed"] or 0)
        shares = (
            escape(str(share or "not defined")) for share in (found.precision, found.recall, found.kappa)
        )
        table.add_row(one.name, *shares, str(found.unjudged))
    screen.print(table)


def _print_unjudged(found: "JudgePanel") -> None:
    for judged in found.verdicts:
        missing = sum(one.verdict == "not_judged" for one in judged)
        if missing:
            print_note(f"{judged[0].judge} did not judge {missing} of {len(judged)} answers")


def _print_defects(found: "JudgePanel", named: "tuple[NamedJudge, ...]") -> None:
    from regap.analyses.judges.registry import JUDGES

    everything = {**JUDGES, **{one.name: one for one in named}}
    for name in found.judges:
        known = everything.get(name)
        if known and known.defects:
            print_note(f"{name}: {known.defects}")


def _agreement(record: "Record") -> Table:
    table = Table(
        "judge", "judge", "Cohen's kappa", "same verdict", "answers", title="agreement, all answers"
    )
    rows = record.where(condition="all", arm="all", label="all").to_dict("records")
    for kappa, share in zip(rows[::2], rows[1::2], strict=True):
        cells = (kappa["first"], kappa["second"], estimate_in(kappa), estimate_in(share), kappa["n"])
        table.add_row(*(escape(str(cell)) for cell in cells))
    return table


def _print_disagreements(found: "JudgePanel", record: "Record | None") -> None:
    if record is None:
        screen.print("no two judges differ on any answer" if len(found.judges) > 1 else "only one judge")
        return
    answers = {
        (one.condition, one.arm, one.pair.pair_id): one.completion.text for one in found.stored.answers
    }
    rows: list[dict[Any, Any]] = record.table.to_dict("records")
    screen.print(f"two judges differ on an answer {len(rows)} times; the first {min(SHOWN, len(rows))}:")
    for row in rows[:SHOWN]:
        text = " ".join(answers[row["condition"], row["arm"], row["pair_id"]].split())
        cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
        screen.print(
            f"  {escape(row['pair_id'])}, {escape(row['arm'])}, {escape(row['condition'])}: "
            f"{row['first_verdict']} ({escape(row['first'])}), {row['second_verdict']} ({escape(row['second'])}): "
            f"{escape(cut)}",
            soft_wrap=True,
        )


def _comparisons(record: "Record", judge: str) -> Table:
    title = f"against no correction, on the same prompts, by {escape(judge)}; the table has all judges"
    return table_of(record.where(judge=judge).to_dict("records"), CHANGES, title=title)
