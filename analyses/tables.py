"""Every table of a run folder, by name; how each looks is said where its analyses are."""

from collections.abc import Mapping

import pandas as pd

from regap.analyses.schemas import columns
from regap.analyses.schemas.columns import Schema
from regap.analyses.schemas.interventions import INTERVENTIONS
from regap.analyses.schemas.judging import JUDGING
from regap.analyses.schemas.run import RUN

SCHEMAS: Mapping[str, Schema] = {**RUN, **JUDGING, **INTERVENTIONS}


def conform(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table in its schema's column order and types; a ValueError says what does not fit, and where."""
    return columns.conform(name, SCHEMAS[name], table)
