"""Probe images: pictures with a fingerprint, decoded once for several networks."""

from dataclasses import replace

import torch
from made_pictures import paint
from safetensors.torch import save_file

from dissect import open_probe
from dissect.probe.passes import batches, shared_batches


def test_the_fingerprint_follows_names_and_contents(tmp_path):
    folder = paint(tmp_path / "a", each=2)
    before = open_probe(folder).fingerprint
    assert open_probe(paint(tmp_path / "b", each=2)).fingerprint == before
    (folder / "blue" / "0.png").rename(folder / "blue" / "9.png")
    assert open_probe(folder).fingerprint != before
    assert open_probe(paint(tmp_path / "b", each=2, seed=1)).fingerprint != before


def test_a_probe_is_opened_as_pictures_are(tmp_path):
    folder = paint(tmp_path / "test", each=2)
    (folder / "loose.png").write_bytes((folder / "blue" / "0.png").read_bytes())
    (folder / "bad.png").touch()
    probe = open_probe(tmp_path, split="test", labelled=True, limit=3)
    assert probe.labels == ("blue", "blue", "red") and all(probe.hashes) and probe.positions == (1, 2, 4)
    assert dict(probe.skipped) == {"loose.png": "beside the classes, in none", "bad.png": "beside the classes, in none"}


def test_pictures_are_decoded_once_for_several_networks(tmp_path):
    probe, read = open_probe(paint(tmp_path, each=3)), []
    load = probe.listing.load
    once = replace(probe, listing=replace(probe.listing, load=lambda i: read.append(i) or load(i)))
    corner = lambda image: torch.tensor(image.getpixel((0, 0)))  # noqa: E731
    size = lambda image: torch.tensor(image.size)  # noqa: E731
    seen = list(shared_batches(once, [corner, size], [range(3), range(3, 6)]))
    assert sorted(read) == list(range(6)) and [run for run, _ in seen] == [range(3), range(3, 6)]
    assert torch.equal(torch.cat([x for _, (x, _) in seen]), torch.cat(list(batches(probe, corner, batch_size=2))))
    assert all(sizes.shape == (len(run), 2) for run, (_, sizes) in seen)


def test_batches_keep_the_order(tmp_path):
    images = torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1).expand(7, 2, 2, 3).contiguous()
    save_file({"images": images}, tmp_path / "p.safetensors")
    probe = open_probe(tmp_path / "p.safetensors")
    seen = list(batches(probe, lambda image: torch.tensor(image.getpixel((0, 0))), batch_size=3))
    assert [len(batch) for batch in seen] == [3, 3, 1]
    assert torch.cat(seen)[:, 0].tolist() == list(range(7))
