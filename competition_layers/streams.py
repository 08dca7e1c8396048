"""Where a layer's noise comes from: a stream of keys of its own, in eager and in compiled networks alike."""

import os
from bisect import bisect_right
from collections import deque
from itertools import count
from multiprocessing import current_process
from typing import Any, cast
from weakref import WeakValueDictionary
from zlib import crc32

import torch
from torch import Tensor

from .competition import Estimator
from .groups import Groups
from .noise import Key, draw_noise, drawn_shape, key_of
from .private_torch import backward_in_progress, is_exporting, is_under_vmap, next_node_number

_REMEMBERED = 1024  # passes that activation checkpointing may ask for again
_NUMBERS = count()


class NoiseStream:
    """The keys of a layer's passes: each a function of (seed, number of the pass).

    Until it is seeded, a stream's seed is its own: it depends on torch's initial seed (which is read, never drawn
    from), on how many streams the process made before it, and on the process and its rank. So no two layers and no two
    processes share their noise, whoever built them. A copy (deepcopy, pickle) of a seeded stream goes on as that one
    would; a copy of one that was never seeded is a new stream.
    """

    def __init__(self):
        self.number = torch.tensor(next(_NUMBERS), device="cpu")  # a tensor: a number would be a constant of graphs
        self.fixed_seed: int | None = None  # every pass and every image (axis 0) meets one noise, see `fixed_noise`
        self._seed: int | None = None
        self._process: tuple[int, int] | None = None  # whose the seed is; None: it was given
        self._passes = 0
        self._latest: deque[tuple[int, int, int]] = deque(maxlen=_REMEMBERED)  # when a pass began, its seed and number
        self._asked = (-1, -1)
        _STREAMS[int(self.number)] = self

    def restore(self, seed: int, passes: int = 0) -> None:
        """Restart at `seed`, or go on where `state` was taken."""
        self._seed, self._passes, self._process = seed, passes, None

    def state(self) -> tuple[int, int]:
        """The seed, and how many passes have drawn."""
        process = _process()
        if self._seed is None or self._process not in (None, process):
            self._process = process
            self._seed = int(key_of(torch.initial_seed(), int(self.number), *process))
        return self._seed, self._passes

    def latest(self) -> Key:
        """The key of the latest pass, once more."""
        return key_of(*self.state())

    def next(self, h: Tensor, name: str) -> Key:
        """The key of a new pass over `h`.

        Activation checkpointing runs a pass again inside the backward pass, and meets its key again. Under `vmap`
        torch's stream numbers the passes, as its `randomness` asks.

        Raises:
            RuntimeError: in the layer's `name`: which pass runs again cannot be known.
        """
        if is_under_vmap(h):
            return torch.randint(2**62, (), device=h.device) ^ self.state()[0]
        running = backward_in_progress()
        if running is not None:
            return key_of(*self._again(*running, name))
        self._passes += 1
        began = next_node_number()
        if self._latest and began < self._latest[-1][0]:
            self._latest.clear()  # remembered from another thread, which counts otherwise
        self._latest.append((began, *self.state()))
        return self.latest()

    def _again(self, task: int, node: int, kind: str, name: str) -> tuple[int, int]:
        """Seed and number of the pass that is run again for the `node` of that `kind`, whose gradient is computed.

        torch numbers the nodes of its graphs as it makes them. A checkpointed block is asked for by one of its own, so
        the pass began before it; a reentrant or a compiled block by the node that stands for it, made just before the
        pass.
        """
        asked = (task, node)
        i = bisect_right(self._latest, node, key=lambda entry: entry[0])
        i -= kind not in ("CheckpointFunctionBackward", "CompiledFunctionBackward")
        known = range(len(self._latest) == _REMEMBERED, len(self._latest))
        if i not in known or asked == self._asked:
            got = "a second call: checkpoint each call by itself" if i in known else "an older one"
            raise RuntimeError(
                f"Expected layer {name or 'StochasticLWTA'!r} to run once in a checkpointed block, in one of its last "
                f"{_REMEMBERED} passes, but got {got}"
            )
        self._asked = asked
        return self._latest[i][1:]

    def __getstate__(self) -> dict[str, Any]:
        given = self._seed is not None and self._process is None
        return {"state": (self._seed, self._passes) if given else None, "fixed_seed": self.fixed_seed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self)
        self.fixed_seed = state["fixed_seed"]
        if state["state"] is not None:
            self.restore(*state["state"])


_STREAMS: WeakValueDictionary[int, NoiseStream] = WeakValueDictionary()


def draw(stream: NoiseStream, h: Tensor, groups: Groups, estimator: Estimator, name: str = "") -> Key | Tensor | None:
    """The noise of a new pass over `h`, as `functional.lwta` takes it; in a compiled graph always as numbers.

    Raises:
        ValueError: in an exported or traced graph, which would hold one noise for ever.
    """
    if is_exporting() or torch.jit.is_tracing():
        raise ValueError(
            f"Expected layer {name or 'StochasticLWTA'!r} to draw nothing in a network to export but it samples its "
            "winners; export inside `with inference_rule(model, 'argmax'):`, in evaluation mode"
        )
    if torch.compiler.is_compiling():  # an operation that compilers leave alone: it draws when it is run
        return _drawn_when_run(h.detach(), stream.number, groups.competitors, groups.channel_dim, estimator, name)
    return drawn(stream, h, groups, estimator) if stream.fixed_seed is not None else stream.next(h, name)


def drawn(stream: NoiseStream, h: Tensor, groups: Groups, estimator: Estimator) -> Key | Tensor | None:
    """The noise of the latest pass, whose input was `h`, once more."""
    if stream.fixed_seed is None:
        return stream.latest()
    noise = draw_noise(h[:1], groups, key_of(stream.fixed_seed), estimator=estimator)
    return None if noise is None else noise.expand(len(h), *noise.shape[1:])


# its tensor on the CPU, the stream's number, keeps it out of CUDA graphs too, which would repeat their noise
_TAGS = [getattr(torch.Tag, tag) for tag in ("cudagraph_unsafe", "nondeterministic_seeded") if hasattr(torch.Tag, tag)]


@torch.library.custom_op("lwta::noise", mutates_args=(), tags=_TAGS)
def _drawn_when_run(h: Tensor, stream: Tensor, competitors: int, channel_dim: int, estimator: str, name: str) -> Tensor:
    groups, known = Groups(competitors, channel_dim), cast(Estimator, estimator)  # an operation's arguments are plain
    noise = draw_noise(h, groups, draw(_STREAMS[int(stream)], h, groups, known, name), estimator=known)
    assert noise is not None, "a competition that draws has noise"
    return noise.contiguous()


@_drawn_when_run.register_fake
def _shape_of_noise(h, stream, competitors, channel_dim, estimator, name):
    return h.new_empty(drawn_shape(h, Groups(competitors, channel_dim), estimator), dtype=torch.float32)


def _process() -> tuple[int, int]:
    """This process's rank, and its name as a number: what tells it from the processes of the same program."""
    known = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank = torch.distributed.get_rank() if known else int(os.environ.get("RANK", 0))
    return rank, crc32(current_process().name.encode())
