"""Checks of a chat template: what it does besides writing the messages."""

from collections.abc import Iterator

from regap.analyses.self_test.hook_names import Check
from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import Prompt
from regap.geometry.models.model import Model
from regap.geometry.models.template_options import DAY, THINKING, options_of, text_of
from regap.geometry.prompts.chat import render

OPENING, CLOSING = (
    ("<think>", "<|begin_of_thought|>", "[THINK]"),
    ("</think>", "<|end_of_thought|>", "[/THINK]"),
)
"""Marks around what models think before they answer."""
ASKED = "what is written here"


def check_template(model: Model) -> Iterator[Check]:
    """Yield whether the template lets a model think first, writes a date, or refuses or drops a system message.

    None of these is wrong, so all pass.
    """
    text = text_of(model.processor)
    yield from _thinking(model, text)
    if "strftime_now" in text or "date_string" in text:
        day = model.template.get("date", DAY)
        told = (
            f"the template writes a date, the same every day: {day}; load(..., template={{'date': ...}}) sets it "
            "(--template date=...)"
        )
        yield Check("template: date", True, told, noted=True)
    try:
        render(model, Prompt(ASKED, system="answer in few words"))
        yield Check("template: system message", True, "written")
    except (ModelError, PairError) as error:
        yield Check("template: system message", True, f"not taken: {error}", noted=True)


def _thinking(model: Model, text: str) -> Iterator[Check]:
    name = "template: thinking before the answer"
    try:
        end = render(model, Prompt(ASKED)).rpartition(ASKED)[2]
    except (ModelError, PairError) as error:
        yield Check("template: a prompt of words", False, str(error))
        return
    opened = max(end.rfind(mark) for mark in OPENING)
    closed = max(end.rfind(mark) for mark in CLOSING)
    options = [option for option in THINKING if option in options_of(text)]
    remedy = ""
    if options:
        remedy = (
            f"; load(..., template={{{options[0]!r}: False}}) may turn it off (--template {options[0]}=false)"
        )
    if opened > closed:
        yield Check(
            name, True, f"the template opens a block of thought, so answers begin with it{remedy}", True
        )
    elif closed >= 0:
        yield Check(name, True, "the template closes a block of thought, so answers begin after it")
    elif options and model.template.get(options[0]) is not False:
        yield Check(
            name, True, f"the template lets the model think first ({', '.join(options)}){remedy}", True
        )
    else:
        yield Check(name, True, "the template says nothing of it")
