"""The shapes in the signatures are checked in this very run."""

import pytest
import torch

from competition_layers.metrics import effective_density


def test_another_kind_of_numbers_is_refused():
    with pytest.raises(Exception, match="Expected type: <class 'Float"):
        effective_density(torch.ones(3, dtype=torch.long))
