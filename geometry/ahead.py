"""Work that is prepared in the background, a little ahead of where it is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def ahead(function: Callable[[Item], Prepared], items: Iterable[Item], depth: int = 2) -> Iterator[Prepared]:
    """Yield function(item) for each item, in order, up to `depth` of them prepared while one is used.

    One thread prepares, since tokenizers are not made for several. An error comes where its item would have come.
    """
    left = iter(items)
    coming: deque[Future[Prepared]] = deque()
    with ThreadPoolExecutor(1, "regap-ahead") as pool:
        try:
            while True:
                while len(coming) < depth and (item := next(left, None)) is not None:
                    coming.append(pool.submit(function, item))
                if not coming:
                    return
                yield coming.popleft().result()
        finally:
            for each in coming:
                each.cancel()
