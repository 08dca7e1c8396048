"""Order and augmentation are functions of (seed, epoch, image)."""

import random

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from training.sampling import NOT_COUNTED, EpochSampler, SeededDataset

PICTURES = [(Image.new("RGB", (4, 4), (i, i, i)), i) for i in range(7)]


def shaken(image):
    """A transform that draws from every global generator."""
    return torch.tensor([image.getpixel((0, 0))[0], random.random(), np.random.rand(), torch.rand(()).item()])


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def test_an_epoch_repeats_and_the_next_one_differs():
    one, other = (EpochSampler(50, seed=3, shuffle=True) for _ in range(2))
    assert epoch_of(one, 2) == epoch_of(other, 2)
    assert epoch_of(one, 2) != epoch_of(one, 3)
    assert sorted(draw.index for draw in epoch_of(one, 2)) == list(range(50))


def test_ranks_share_out_what_one_process_would_see():
    alone = epoch_of(EpochSampler(10, seed=0, shuffle=True), 1)
    ranks = [epoch_of(EpochSampler(10, seed=0, shuffle=True, rank=rank, ranks=2), 1) for rank in range(2)]
    assert [draw for pair in zip(*ranks, strict=True) for draw in pair] == alone


def test_images_that_fill_up_an_evaluation_do_not_count():
    ranks = [list(EpochSampler(7, seed=0, shuffle=False, rank=rank, ranks=3)) for rank in range(3)]
    assert {len(rank) for rank in ranks} == {3}
    counted = sorted(draw.index for rank in ranks for draw in rank if draw.counts)
    assert counted == list(range(7))
    filler = next(draw for rank in ranks for draw in rank if not draw.counts)
    assert SeededDataset(PICTURES, shaken)[filler][1] == NOT_COUNTED


def test_global_generators_are_neither_read_nor_moved():
    dataset, draws = SeededDataset(PICTURES, shaken), list(EpochSampler(7, seed=0, shuffle=True))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    first = dataset[draws[0]][0]
    after = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == after
    assert torch.equal(dataset[draws[0]][0], first)


def test_any_number_of_workers_gives_the_same_batches():
    def batches(workers):
        sampler = EpochSampler(7, seed=5, shuffle=True)
        return torch.cat(
            [x for x, _ in DataLoader(SeededDataset(PICTURES, shaken), sampler=sampler, num_workers=workers)]
        )

    assert torch.equal(batches(0), batches(2))
