"""The schema of every table of a run folder, by name."""

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
"""The command that makes the tables of an analysis; `regap run` makes all others."""


def command_for(table: str) -> str:
    """Return the command that makes a table."""
    return COMMANDS.get(SCHEMAS[table].analysis if table in SCHEMAS else table, "regap run")


def conform(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its schema's column order and types; raises ValueError if it does not fit."""
    return columns.conform(name, SCHEMAS[name], table)
