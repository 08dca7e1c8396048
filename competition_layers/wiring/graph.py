"""The graph of one pass through a network: its tensors, what made each of them, and who read it."""

from __future__ import annotations

from dataclasses import dataclass, field

OUTPUT = "output"  # the function of the last node: whoever called the network reads what it answers


@dataclass(eq=False)
class Value:
    """A tensor as it stood between two calls: a function that works in place gives a new value."""

    shape: tuple[int, ...]
    axis: int | None = None  # of its channels, counted from 0; None where it cannot be told
    of_input: bool = False  # whether it depends on the network's input
    maker: Node | None = field(default=None, repr=False)
    readers: list[Node] = field(default_factory=list, repr=False)

    @property
    def channel_dim(self) -> int | None:
        """The axis as a layer states it: -1 for the last."""
        return -1 if self.axis == len(self.shape) - 1 else self.axis


@dataclass(eq=False)
class Node:
    """A call of a function, or of a module (then `function` is empty)."""

    module: str  # dotted name of the module that is called, or whose forward calls the function; "" for the network
    function: str
    reads: tuple[Value, ...]
    gives: tuple[Value, ...] = ()
    carries: tuple[Value, ...] = ()  # those read whose channels are the channels of what is given, the first by shape

    def inside(self, module: str) -> bool:
        """Whether the call is one of `module` or of what stands in it."""
        return f"{self.module}.".startswith(f"{module}.") or not module


@dataclass(frozen=True)
class Graph:
    """Functions in the order in which they ran, and each module's calls by its dotted name.

    The edges are the values of the functions; a module's call names those that came in and went out.
    """

    nodes: list[Node]
    calls: dict[str, list[Node]]

    @property
    def output(self) -> Node:
        """Its `reads` are the network's answer."""
        return self.nodes[-1]
