"""Where shards end: every image in one, none too large, and a change far away changes nothing."""

import pytest

from dissect.recording.shards import LARGEST, SMALLEST, shards_of

HASHES = [f"{i:032x}" for i in range(20_000)]


def contents(hashes):
    return [tuple(hashes[image] for image in shard) for shard in shards_of(hashes)]


def test_every_image_is_in_one_shard_and_only_the_last_may_be_small():
    shards = shards_of(HASHES)
    assert [image for shard in shards for image in shard] == list(range(len(HASHES)))
    assert all(SMALLEST <= len(shard) <= LARGEST for shard in shards[:-1]) and len(shards[-1]) <= LARGEST
    assert len({len(shard) for shard in shards}) > 5


@pytest.mark.parametrize("at", [0, 7_000, 19_999])
@pytest.mark.parametrize("change", [["new"], ["new", None], []])
def test_an_image_added_changed_or_removed_changes_few_shards(at, change):
    changed = [*HASHES[:at], *(HASHES[at] if entry is None else entry for entry in change), *HASHES[at + 1 :]]
    before, after = contents(HASHES), contents(changed)
    assert len(set(after) - set(before)) <= 4 and len(before) > 15


def test_pictures_all_alike_and_none_at_all():
    assert {len(shard) for shard in shards_of(["same"] * 3 * LARGEST)} <= {SMALLEST, LARGEST}
    assert shards_of([]) == []
