"""How many test requests a run has: from its folder, from pairs, or as given."""

from regap.analyses.power.world import Sizes
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.measured import chosen_arms, image_arm_of, require_image_arm
from regap.analyses.runs.pairs import asked_of
from regap.analyses.runs.run import Run
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pairs

DOSES = 100
"""Harmful requests at each dose where no run says otherwise."""


def sizes_of(
    run: Run | None, config: RunConfig, harmful: int | None, harmless: int | None, doses: int | None
) -> Sizes:
    """Return the sizes of a run, else of the pairs of these settings, else those given; requests, not prompts.

    Raises ConfigError if nothing tells them, or two things do.
    """
    if (harmful is None) != (harmless is None):
        raise ConfigError("give --test-harmful and --test-harmless together")
    given = harmful is not None and harmless is not None
    named = run is None and bool(config.pairs or config.benchmark)
    if sum((run is not None, named, given)) != 1:
        raise ConfigError(
            "give one of three: a run folder, --pairs (or --benchmark), or --test-harmful and --test-harmless"
        )
    if harmful is not None and harmless is not None:
        return Sizes(harmful, harmless, min(doses or DOSES, harmful))
    return _counted(run.pairs if run else asked_of(config).pairs, config, doses or config.dose_pairs)


def _counted(pairs: Pairs, config: RunConfig, doses: int) -> Sizes:
    """Return the number of test requests with the corrected arm."""
    arms = chosen_arms(pairs, config)
    arm = require_image_arm(image_arm_of(arms, config), arms)
    test = [pair for pair in pairs.test if arm in pair.prompts]
    counts = {
        label: len({pair.cluster for pair in test if pair.label == label})
        for label in ("harmful", "harmless")
    }
    return Sizes(counts["harmful"], counts["harmless"], min(doses, counts["harmful"]))
