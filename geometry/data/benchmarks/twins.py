"""Keep twins together: they share a cluster, and the cluster decides the split."""

from collections.abc import Iterable
from dataclasses import replace

from regap.geometry.data.pairs import Pair, Pairs, normal, split_of


def twins_together(pairs: Pairs) -> Pairs:
    """Return the pairs with one cluster and one split for each group of twins.

    Twins are pairs of one cluster, or with the same request up to case and punctuation; twins of twins are twins too.
    The split is a hash of the first harmful text request in the group, so it does not depend on the benchmark.
    """
    groups = _Groups()
    for pair in pairs:
        groups.join(pair.pair_id, _links(pair))
    members: dict[str, list[Pair]] = {}
    for pair in pairs:
        members.setdefault(groups.root(f"pair {pair.pair_id}"), []).append(pair)
    cluster = {pair.pair_id: _cluster(group) for group in members.values() for pair in group}
    placed = tuple(
        replace(pair, cluster=cluster[pair.pair_id], split=split_of(cluster[pair.pair_id])) for pair in pairs
    )
    return Pairs(placed, pairs.notes)


def _links(pair: Pair) -> list[str]:
    by_words = [f"cluster {normal(pair.request)}"] if "text" in pair.prompts and normal(pair.request) else []
    return [f"cluster {pair.cluster}", *by_words]


def _cluster(group: Iterable[Pair]) -> str:
    members = list(group)
    for chosen in (
        [pair for pair in members if pair.label == "harmful" and "text" in pair.prompts],
        [pair for pair in members if "text" in pair.prompts],
    ):
        found = sorted(filter(None, (normal(pair.request) for pair in chosen)))
        if found:
            return found[0]
    return min(pair.cluster for pair in members)


class _Groups:
    """Names joined into groups, each known by its root."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def join(self, pair_id: str, links: Iterable[str]) -> None:
        for link in links:
            self._parents[self.root(link)] = self.root(f"pair {pair_id}")

    def root(self, name: str) -> str:
        path = []
        while self._parents.setdefault(name, name) != name:
            path.append(name)
            name = self._parents[name]
        for passed in path:
            self._parents[passed] = name
        return name
