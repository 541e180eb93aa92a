"""Every table of a run folder, by name; how each looks is said where its analyses are."""

from collections.abc import Mapping

import pandas as pd

from regap.analyses.tables import columns
from regap.analyses.tables.columns import Schema
from regap.analyses.tables.interventions import INTERVENTIONS
from regap.analyses.tables.judging import JUDGING
from regap.analyses.tables.run import RUN

SCHEMAS: Mapping[str, Schema] = {**RUN, **JUDGING, **INTERVENTIONS}
COMMANDS = {
    "judge": "regap judge RUN",
    "compare": "regap compare",
    "read_back": "regap run --read-back",
    "calibrate": "regap calibrate RUN",
    "utility": "regap utility RUN",
    "ablate": "regap ablate RUN",
    "sweep": "regap sweep RUN",
}
"""By the analysis that makes a table; `regap run` makes the others."""


def command_for(table: str) -> str:
    """Return the command that makes a table."""
    return COMMANDS.get(SCHEMAS[table].analysis if table in SCHEMAS else table, "regap run")


def conform(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table in its schema's column order and types; a ValueError says what does not fit, and where."""
    return columns.conform(name, SCHEMAS[name], table)
