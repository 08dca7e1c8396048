"""Which images are recorded together: shards whose ends follow from the images around them, not from their places.

So an image that is added, removed or changed changes the shard it stands in, seldom the next one, and no other.
"""

from collections.abc import Sequence
from zlib import crc32

SMALLEST, LARGEST = 512, 1536  # images: what a killed run loses at most, and what recording holds in memory
_ONE_IN = 512  # images is the last of its shard, where that has SMALLEST images already


def shards_of(hashes: Sequence[str]) -> list[range]:
    """The images of each shard, from the hashes of all images' content in their order.

    Content-defined chunking (Muthitacharoen, Chen & Mazieres 2001, sec. 3.1): a shard ends at an image whose own hash
    says so, but has at least SMALLEST and at most LARGEST images.
    """
    shards, start = [], 0
    for stop, content in enumerate(hashes, start=1):
        size = stop - start
        last = size >= SMALLEST and crc32(content.encode()) % _ONE_IN == 0
        if last or size == LARGEST or stop == len(hashes):
            shards.append(range(start, stop))
            start = stop
    return shards
