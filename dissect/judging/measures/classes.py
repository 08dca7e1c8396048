"""Of classes: is the label like the unit's own class, and does switching the unit off hurt what it speaks of?"""

from jaxtyping import Float
from torch import Tensor

from .correlation import correlation
from .seen import Seen


def text_similarity(seen: Seen) -> Float[Tensor, "units"]:
    """Cosine of each label's embedding with that of the unit's own class. `values`: 1 for that class, 0 for others."""
    return (seen.values * seen.concept).sum(0)


def ablation(seen: Seen) -> Float[Tensor, "units"]:
    """Pearson's r over the classes: what a class's logit loses without the unit, and how alike label and class are."""
    return correlation(seen)
