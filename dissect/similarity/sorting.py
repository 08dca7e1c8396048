"""Many short columns sorted together."""

import torch
from jaxtyping import Int
from torch import Tensor


def sort_columns(keys: Int[Tensor, "rows columns"]) -> Int[Tensor, "rows columns"]:
    """Every column in ascending order, by Batcher's bitonic network; the rows are a power of two.

    Each of its log2(rows) (log2(rows) + 1) / 2 rounds is a minimum and a maximum of whole blocks of rows: no branches,
    so a column costs a fraction of what sorting it alone does. The content of `keys` is lost.

    >>> sort_columns(torch.tensor([[3, 0], [1, 2], [2, 5], [0, 4]])).T.tolist()
    [[0, 1, 2, 3], [0, 2, 4, 5]]
    """
    rows = len(keys)
    other = torch.empty_like(keys)
    size = 2
    while size <= rows:  # halves of `size` rows are sorted: the first against the second in reverse, then ever nearer
        gap = size // 2
        while gap:
            old, new = (tensor.view(rows // (2 * gap), 2, gap, -1) for tensor in (keys, other))
            second = old[:, 1].flip(1) if 2 * gap == size else old[:, 1]
            torch.minimum(old[:, 0], second, out=new[:, 0])
            torch.maximum(old[:, 0], second, out=new[:, 1])
            keys, other = other, keys
            gap //= 2
        size *= 2
    return keys
