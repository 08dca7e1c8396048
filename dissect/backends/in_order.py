"""Work on several things at once whose results come one by one, in the order of the things."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item], *, workers: int) -> Iterator[Result]:
    """`work(item)` of each item, at most so many in threads at a time; with one worker in this thread, when asked for.

    Items are taken in this thread, no more than are worked on. What fails first, an item or its work, ends it: the
    results before it are given, and nothing new is begun.

    >>> list(in_order(abs, [-2, 1, -3], workers=2))
    [2, 1, 3]
    """
    if workers <= 1:
        yield from map(work, items)
        return
    source, ended = iter(items), None
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        while begun or ended is None:
            while ended is None and len(begun) < workers:
                try:
                    begun.append(pool.submit(work, next(source)))
                except Exception as error:  # StopIteration is the end that is hoped for
                    ended = error
            if begun:
                yield begun.popleft().result()
    if not isinstance(ended, StopIteration):
        assert ended is not None
        raise ended
