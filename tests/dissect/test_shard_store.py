"""Shards: whole or not there, the same whoever wrote them; a killed, a full, a crowded folder spoils nothing."""

import errno
import os
import shutil
import signal
import time
import weakref
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import normalize

from competition_layers import Competition, StochasticLWTA
from dissect import ConceptSet, DescribeOptions, Dissection, describe, open_probe, record_activations, record_share
from dissect.fingerprints import model_fingerprint
from dissect.folder import tensors
from dissect.folder.claim import locked
from dissect.folder.layout import Layout
from dissect.folder.shard_store import ShardStore
from dissect.probe.probe_images import ProbeImages
from dissect.recording import shards
from dissect.recording.top_images import KEPT

CONCEPTS = ConceptSet(("boat", "palm", "sun"))


class ColourEncoder:
    """Shares the pass: images by their mean colour."""

    identity = "colour"

    def __init__(self):
        self.batches = []

    def preprocess(self, image):
        return torch.tensor(image.resize((1, 1)).getpixel((0, 0))).float()

    def encode_batch(self, x):
        self.batches.append(len(x))
        return normalize(x + 1, dim=1)

    def encode_images(self, probe):
        return self.encode_batch(torch.stack([self.preprocess(probe[i]) for i in range(len(probe))]))

    def encode_texts(self, concepts):
        return torch.eye(3)

    def known(self, concepts):
        return concepts, 0


def network(rule="argmax"):
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, stride=2),
        StochasticLWTA(4, channel_dim=1, competition=Competition(inference=rule)),
        nn.Flatten(),
    ]
    return nn.Sequential(*layers, nn.Linear(72, 6)).eval()


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SMALLEST", 4)
    monkeypatch.setattr(shards, "LARGEST", 4)


@pytest.fixture
def given(probe, to_tensor, small_shards):
    """What every call takes; ten images are three shards."""
    return DescribeOptions(layers=["1", "3"], transform=to_tensor, batch_size=3)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def named(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(folder).items() if not name.startswith(".lock")}


def test_the_network_and_the_encoder_share_one_pass(probe, given, tmp_path, monkeypatch):
    encoder, read = ColourEncoder(), []
    read_one, small = ProbeImages.__getitem__, ProbeImages.small
    monkeypatch.setattr(ProbeImages, "__getitem__", lambda self, i: read.append((i,)) or read_one(self, i))
    monkeypatch.setattr(ProbeImages, "small", lambda self, i, n: read.append((i, n)) or small(self, i, n))
    dissection = describe(network(), probe, CONCEPTS, encoder, tmp_path / "out", given)
    assert encoder.batches == [3, 1, 3, 1, 2]  # batches do not cross shards
    assert sorted(entry for entry in read if len(entry) == 1) == [(i,) for i in range(10)]  # thumbnails ask for less
    expected = ColourEncoder().encode_images(probe)
    torch.testing.assert_close(dissection.image_embeddings(), expected)


@pytest.mark.parametrize("rule", ["argmax", "sample"])
def test_shares_give_the_files_of_one_process(probe, given, tmp_path, rule):
    model = network(rule)
    describe(model, probe, CONCEPTS, ColourEncoder(), tmp_path / "one", given)
    for i in (1, 0):
        record_share(model, probe, ColourEncoder(), tmp_path / "two", (i, 2), given)
    joining = ColourEncoder()
    describe(model, probe, CONCEPTS, joining, tmp_path / "two", given)
    assert joining.batches == []
    assert named(tmp_path / "one") == named(tmp_path / "two")


def test_a_record_on_disk_is_the_record_in_memory(probe, given, tmp_path):
    dissection = describe(network(), probe, CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    in_memory = record_activations(network(), probe, given.layers, transform=given.transform, batch_size=3)
    for layer, record in in_memory.items():
        read = dissection.record(layer)
        assert torch.equal(read.top_images.indices, record.top_images.indices)
        assert torch.equal(read.top_images.maps, record.top_images.maps)
        for name, values in record.tensors().items():
            torch.testing.assert_close(read.tensors()[name], values, rtol=2e-3, atol=1e-6)


@pytest.fixture
def pictures(tmp_path):
    """Thirty pictures in a folder, no two alike."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(30):
        Image.new("RGB", (8, 8), (i * 8, 0, 255 - i * 8)).save(folder / f"{i:02d}.png")
    return folder


def whiten(pictures):
    Image.new("RGB", (8, 8), "white").save(pictures / "05.png")


def add_in_front(pictures):
    Image.new("RGB", (8, 8), "white").save(pictures / "00-before-01.png")


def remove(pictures):
    (pictures / "05.png").unlink()


def rename(pictures):
    (pictures / "05.png").rename(pictures / "05-b.png")


@pytest.mark.parametrize(
    "rule, change, most",
    [*(("argmax", *each) for each in ((whiten, 12), (remove, 12), (rename, 0))), ("sample", add_in_front, 12)],
)
def test_an_image_that_comes_goes_or_changes_costs_its_shard_and_ends_with_the_files_of_a_fresh_run(
    pictures, given, tmp_path, monkeypatch, rule, change, most
):
    monkeypatch.setattr(shards, "SMALLEST", 2)
    monkeypatch.setattr(shards, "LARGEST", 6)
    monkeypatch.setattr(shards, "_ONE_IN", 2)
    describe(network(rule), open_probe(pictures), CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    change(pictures)
    again = ColourEncoder()
    describe(network(rule), open_probe(pictures), CONCEPTS, again, tmp_path / "out", given)
    assert (0 < sum(again.batches) <= most) if most else not again.batches  # of 30
    describe(network(rule), open_probe(pictures), CONCEPTS, ColourEncoder(), tmp_path / "anew", given)
    assert named(tmp_path / "out") == named(tmp_path / "anew")


def test_two_shards_of_the_same_pictures_are_two_files(given, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(8):  # two shards of four, alike
        Image.new("RGB", (8, 8), (i % 4 * 60, 0, 0)).save(folder / f"{i}.png")
    one = describe(network(), open_probe(folder), CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    values = one.record("1").summaries["mean"]
    assert torch.equal(values[:4], values[4:]) and len(list((tmp_path / "out" / "activations" / "1").iterdir())) == 2


def test_fewer_images_leave_no_shard_behind(probe, given, tmp_path):
    describe(network(), probe, CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    fewer = open_probe(probe.source, limit=5)
    dissection = describe(network(), fewer, CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    assert len(dissection.record("1").win_rate) == len(dissection.image_embeddings()) == 5


def test_top_images_come_with_the_place_where_the_unit_spoke(probe, given, tmp_path):
    model = network()
    dissection = describe(model, probe, CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    with torch.no_grad():
        y = model[:2](torch.stack([given.transform(probe[i]) for i in range(10)]))
    values = y.flatten(2).mean(2)  # what was kept in passing; the record holds them to fp16
    for unit in range(8):
        maps = dissection.maps("1", unit)
        won = (y[:, unit] != 0).flatten(1).any(1)
        best = [i for i in values[:, unit].argsort(descending=True).tolist() if won[i]][:KEPT]
        assert list(maps) == [probe.names[i] for i in best]
        for i, found in zip(best, maps.values(), strict=True):
            torch.testing.assert_close(found, y[i, unit], rtol=1e-3, atol=1e-4)


class Slow(ColourEncoder):
    def encode_batch(self, x):
        time.sleep(0.02)
        return super().encode_batch(x)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the child of a fork starts at once, and is killed
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_files(probe, given, tmp_path):
    def work(out):
        describe(network(), probe, CONCEPTS, Slow(), tmp_path / out, given)

    work("whole")  # with everything imported
    began = time.monotonic()
    work("again")
    duration = time.monotonic() - began
    random, killed, seen = torch.Generator().manual_seed(0), 0, set()
    for _ in range(8):
        process = get_context("fork").Process(target=work, args=("killed",))
        process.start()
        process.join(float(torch.rand((), generator=random)) * duration)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        seen.add(len(named(tmp_path / "killed")))
        if process.exitcode == 0:  # it came to its end: anew
            assert named(tmp_path / "whole") == named(tmp_path / "killed")
            shutil.rmtree(tmp_path / "killed")
        process.close()
    work("killed")
    assert killed > 2 and len(seen) > 1  # at more than one stage
    assert named(tmp_path / "whole") == named(tmp_path / "killed")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_shares_killed_at_any_moment_go_on_side_by_side_and_end_with_the_files_of_one(probe, given, tmp_path):
    def share(i):
        record_share(network(), probe, Slow(), tmp_path / "shared", (i, 2), given)

    def both(seconds):
        processes = [get_context("fork").Process(target=share, args=(i,)) for i in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(seconds)
        for process in processes:
            process.kill()
            process.join()
        return [process.exitcode for process in processes]

    describe(network(), probe, CONCEPTS, ColourEncoder(), tmp_path / "one", given)
    began = time.monotonic()
    assert both(60) == [0, 0]
    duration = time.monotonic() - began
    shutil.rmtree(tmp_path / "shared")
    random, killed = torch.Generator().manual_seed(0), 0
    for _ in range(5):
        ends = both(float(torch.rand((), generator=random)) * duration / 3)
        killed += ends.count(-signal.SIGKILL)
        if ends == [0, 0]:  # both came to their end: anew
            shutil.rmtree(tmp_path / "shared")
    assert killed and both(60) == [0, 0]
    joining = ColourEncoder()
    describe(network(), probe, CONCEPTS, joining, tmp_path / "shared", given)
    assert joining.batches == [] and named(tmp_path / "one") == named(tmp_path / "shared")


def test_a_full_disk_is_one_clear_error_and_leaves_what_was_whole(probe, given, tmp_path, monkeypatch):
    save, written = tensors.save, []

    def fills_up(flat, **options):
        if len(written) == 6:
            raise OSError(errno.ENOSPC, "No space left")
        written.append(flat)
        return save(flat, **options)

    monkeypatch.setattr(tensors, "save", fills_up)
    with pytest.raises(OSError, match=r"Expected to write .* full: make room, and run the same command again"):
        describe(network(), probe, CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    kept = named(tmp_path / "out")
    assert len(kept) == 7 and "unfinished.json" in kept and not any(name.endswith(".tmp") for name in kept)
    with pytest.raises(FileNotFoundError, match="Expected a finished dissection"):
        Dissection.open(tmp_path / "out")
    monkeypatch.setattr(tensors, "save", save)
    encoder = ColourEncoder()
    describe(network(), probe, CONCEPTS, encoder, tmp_path / "out", given)
    assert encoder.batches == [3, 1, 2]  # the first shard was whole
    describe(network(), probe, CONCEPTS, ColourEncoder(), tmp_path / "anew", given)
    assert named(tmp_path / "out") == named(tmp_path / "anew")


def test_a_second_command_on_the_folder_is_refused_by_the_name_of_the_first(probe, given, tmp_path):
    (tmp_path / "out").mkdir()
    with locked(Layout(tmp_path / "out")):
        with pytest.raises(FileExistsError, match=rf"alone on the folder .* but process {os.getpid()} on .* at work"):
            describe(network(), probe, CONCEPTS, ColourEncoder(), tmp_path / "out", given)
        with (
            pytest.raises(FileExistsError, match="Expected to be alone"),
            locked(Layout(tmp_path / "out"), share=(0, 2)),
        ):
            pass
    describe(network(), probe, CONCEPTS, ColourEncoder(), tmp_path / "out", given)


def test_shares_work_side_by_side_but_not_one_of_them_twice(tmp_path):
    with locked(Layout(tmp_path), share=(0, 2)), locked(Layout(tmp_path), share=(1, 2)):
        with pytest.raises(FileExistsError, match="Expected to be alone"), locked(Layout(tmp_path), share=(1, 2)):
            pass
        with pytest.raises(FileExistsError, match="Expected to be alone"), locked(Layout(tmp_path)):
            pass


def test_what_killed_writers_left_is_removed_and_nothing_of_anybody_else(probe, given, tmp_path):
    out = tmp_path / "out"
    model = network()
    describe(model, probe, CONCEPTS, ColourEncoder(), out, given)
    ours = [
        out / ".manifest.json.17.tmp",
        out / "activations" / "1" / f".000000000-{'0' * 32}.safetensors.17.tmp",
        out / "tops" / ".1.safetensors.17.tmp",
    ]
    others = [
        *(out / name for name in (".bashrc.old", ".notes.tmp", ".tmpabcdef", ".photo.jpg.tmp", ".x.txt.17.tmp")),
        *(out / "exemplars" / name for name in ("mine.txt", "1/mine.jpg", ".notes.tmp")),
        *(out / "activations" / "1" / name for name in ("mine.safetensors", ".tmpabcdef")),
        out / "deep" / "er" / ".manifest.json.17.tmp",
    ]
    for path in (*ours, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    describe(model, probe, replace(CONCEPTS, names=("boat", "palm", "fish")), ColourEncoder(), out, given)
    assert not any(path.exists() for path in ours) and all(path.read_text() == "half" for path in others)
    assert Dissection.open(out).record("1").won is not None  # the stranger among the shards is not read


def test_a_folder_of_other_files_is_refused_before_anything_is_written(probe, given, tmp_path):
    out = tmp_path / "home"
    (out / "exemplars").mkdir(parents=True)
    (out / "exemplars" / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"Expected a new or empty folder, or a dissection's, but .*home' holds"):
        describe(network(), probe, CONCEPTS, ColourEncoder(), out, given)
    assert [p.name for p in sorted(out.rglob("*"))] == ["exemplars", "mine.txt"]
    with pytest.raises(NotADirectoryError, match=r"Expected a folder but .*mine.txt' is a file; give another --out"):
        describe(network(), probe, CONCEPTS, ColourEncoder(), out / "exemplars" / "mine.txt", given)


def test_another_networks_dissection_is_refused_but_for_overwrite(probe, given, tmp_path):
    out, other = tmp_path / "out", network("sample")
    describe(network(), probe, CONCEPTS, ColourEncoder(), out, given)
    before = content(out)
    with pytest.raises(FileExistsError, match=r"but .*out' holds that of another \(Sequential\), .*--overwrite"):
        describe(other, probe, CONCEPTS, ColourEncoder(), out, given)
    with pytest.raises(FileExistsError, match="holds that of another"):
        record_share(other, probe, ColourEncoder(), out, (0, 2), given)
    assert content(out) == before
    dissection = describe(other, probe, CONCEPTS, ColourEncoder(), out, replace(given, overwrite=True))
    assert dissection.manifest["model"]["fingerprint"] == model_fingerprint(other)


def test_an_unfinished_dissection_still_belongs_to_its_network(probe, given, tmp_path):
    class Broken(ColourEncoder):
        def encode_batch(self, x):
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        describe(network(), probe, CONCEPTS, Broken(), tmp_path / "out", given)
    with pytest.raises(FileExistsError, match="holds that of another"):
        describe(network("sample"), probe, CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    describe(network(), probe, CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    assert not (tmp_path / "out" / "unfinished.json").exists()


def test_files_are_as_readable_as_the_umask_says(probe, given, tmp_path):
    before = os.umask(0o022)
    try:
        describe(network(), probe, CONCEPTS, ColourEncoder(), tmp_path / "out", given)
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "out").rglob("[!.]*") if p.is_file()}
    assert len(modes) > 12 and set(modes.values()) == {0o644}


def test_no_shard_is_held_once_it_is_written(tmp_path, to_tensor, small_shards, monkeypatch):
    """Memory is that of one shard, however many pictures there are: inputs, records, embeddings of others are gone."""
    pixels = torch.randint(0, 256, (40, 8, 8, 3), dtype=torch.uint8)
    save_file({"images": pixels}, tmp_path / "many.safetensors")
    seen: list[list[weakref.ref]] = [[]]
    alive: list[int] = []
    write = ShardStore.write

    class Watched(ColourEncoder):
        def encode_batch(self, x):
            seen[-1].append(weakref.ref(x))
            return super().encode_batch(x)

    def watched(store, made, model):
        write(store, made, model)
        tensors = [*made.records["1"].tensors().values(), *made.records["3"].tensors().values(), made.image_embeddings]
        seen[-1] += [weakref.ref(tensor) for tensor in tensors]
        alive.append(sum(ref() is not None for shard in seen[:-2] for ref in shard))
        seen.append([])

    monkeypatch.setattr(ShardStore, "write", watched)
    options = DescribeOptions(layers=["1", "3"], transform=to_tensor, batch_size=2)
    probe = open_probe(tmp_path / "many.safetensors")
    record_share(network(), probe, Watched(), tmp_path / "out", (0, 1), options)
    assert len(alive) == 10 and not any(alive)


def test_embeddings_that_are_not_finite_are_refused_by_the_images_name(probe, given, tmp_path):
    class Broken(ColourEncoder):
        def encode_batch(self, x):
            rows = super().encode_batch(x)
            rows[1:2] = torch.nan
            return rows

    with pytest.raises(ValueError, match="NaN or infinity for 1 images: 1; leave"):
        describe(network(), probe, CONCEPTS, Broken(), tmp_path / "out", given)


@pytest.mark.parametrize("share", [(2, 2), (-1, 2)])
def test_a_share_that_is_none_is_refused(probe, given, tmp_path, share):
    with pytest.raises(ValueError, match="Expected a share i/n with i between 0 and n-1 but got"):
        record_share(network(), probe, ColourEncoder(), tmp_path, share, given)
