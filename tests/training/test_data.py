"""ImageData: what is trained on, what is held out, and what is refused before training starts."""

import pickle
import tarfile
import unicodedata
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from training import Augmentation, ImageData, NamedDataset, Splits
from training.sampling import NOT_COUNTED

PIXELS = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.5,) * 3}
CONFIG = {**PIXELS, "crop_pct": 1.0, "crop_mode": "center", "interpolation": "bilinear"}


def attached(data: ImageData, stage: str = "fit") -> ImageData:
    """`data` as a trainer would use it."""
    model = SimpleNamespace(pretrained_cfg=CONFIG, lwta=SimpleNamespace(label_names=()))
    data.trainer = SimpleNamespace(lightning_module=SimpleNamespace(model=model), global_rank=0, world_size=1)
    data.setup(stage)
    return data


def indices(data: ImageData, name: str) -> set[int]:
    return set(data.images[name].indices)


def test_validation_images_are_held_out_by_a_seed_of_their_own(images):
    one, same, other = (
        attached(images(splits=Splits(val_fraction=0.2, seed=seed), seed=run)) for seed, run in ((0, 0), (0, 9), (1, 0))
    )
    assert len(indices(one, "train")) == 16
    assert len(indices(one, "val")) == 4
    assert not indices(one, "train") & indices(one, "val")
    assert indices(one, "val") == indices(same, "val") != indices(other, "val")


def test_a_subset_is_drawn_from_the_training_images_alone(images):
    data = attached(images(subset=5))
    assert len(indices(data, "train")) == 5
    assert not indices(data, "train") & indices(data, "val")
    with pytest.raises(ValueError, match="subset to be 1 to 16 training images but got 17"):
        attached(images(subset=17))


def test_a_share_of_the_training_images_is_learnt_as_another_class(images):
    right, wrong, same, other = (
        attached(images(splits=Splits(val_fraction=0.2, seed=seed, wrong_labels=share)))
        for seed, share in ((0, 0.0), (0, 0.25), (0, 0.25), (1, 0.25))
    )

    def changed(data):
        pairs = [(i, data.images["train"].numbers[i], right.images["val"].numbers[i]) for i in indices(data, "train")]
        return {i for i, learnt, true in pairs if learnt != true}

    assert len(changed(wrong)) == len(changed(other)) == 4 and not changed(right)
    assert changed(wrong) == changed(same)
    assert set(wrong.images["train"].numbers) <= set(range(wrong.num_classes))
    assert wrong.images["val"].numbers == right.images["val"].numbers  # validation is always right
    with pytest.raises(ValueError, match=r"Expected splits.wrong_labels, a share, to be at most 1 but got 25"):
        Splits(wrong_labels=25)


def test_a_cache_changes_no_pixel(images):
    plain, cached = (attached(images(cache=cache, seed=0)) for cache in (False, True))
    for _ in range(2):  # filled, then read
        for (x, y), (u, v) in zip(plain.train_dataloader(), cached.train_dataloader(), strict=True):
            assert torch.equal(x, u)
            assert torch.equal(y, v)


def test_evaluation_sees_whole_pictures_in_order(images):
    data = attached(images(), "test")
    x, y = next(iter(data.test_dataloader()))
    expected = torch.stack([torch.from_numpy(np.array(data.images["test"][i][0])) for i in range(4)])
    assert torch.allclose(x, (expected.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5, atol=1e-6)
    assert y.tolist() == [0] * 4


def test_random_erasing_and_policies_are_timms(images):
    recipe = Augmentation(auto_augment="rand-m9-mstd0.5-inc1", erase=1.0, vertical_flip=0.5)
    shown = repr(attached(images(augmentation=recipe)).train_dataloader().dataset.transform)
    assert all(word in shown for word in ("RandAugment", "RandomErasing(p=1.0, mode=pixel", "RandomVerticalFlip"))


def test_timm_data_sets_are_read_by_name(images, pictures):
    data = attached(images(dataset=NamedDataset("torch/image_folder")))
    assert data.label_names == ("blue", "red")
    assert next(iter(data.train_dataloader()))[0].shape == (4, 3, 16, 16)


def test_a_folder_without_splits_can_be_trained_on(images, pictures):
    data = attached(images(data_dir=str(pictures / "train"), train=""))
    assert data.label_names == ("blue", "red")
    with pytest.raises(FileNotFoundError, match=r"folder 'train' in .* but got blue, red .*the split is ''"):
        attached(images(data_dir=str(pictures / "train")))


def test_a_slip_in_a_split_is_answered_with_the_nearest(images):
    with pytest.raises(FileNotFoundError, match="did you mean 'train'"):
        attached(images(train="trian"))


def test_a_split_that_lacks_a_class_keeps_the_numbers_of_the_others(images, painted, tmp_path):
    painted(tmp_path / "train", classes=("a", "b", "c"))
    painted(tmp_path / "val", classes=("c",), each=2)
    data = attached(images(data_dir=str(tmp_path), val="val"))
    assert {data.images["val"][i][1] for i in range(2)} == {2}


def test_a_split_with_a_new_class_is_refused(images, painted, tmp_path):
    painted(tmp_path / "train", classes=("cat", "dog"))
    painted(tmp_path / "val", classes=("cat", "dogs"))
    with pytest.raises(ValueError, match=r"got 'dogs' in .*val', did you mean 'dog'"):
        attached(images(data_dir=str(tmp_path), val="val"))


@pytest.fixture
def spoilt(painted, tmp_path):
    """A folder with files that are no pictures, and with odd ones that are."""
    folder = painted(tmp_path / "train", each=3)
    (folder / "red" / "empty.jpg").touch()
    (folder / "red" / "text.jpg").write_text("not a picture")
    whole = (folder / "blue" / "0.png").read_bytes()
    (folder / "blue" / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("CMYK", (9, 9)).save(folder / "red" / "cmyk.jpg")
    Image.new("I;16", (9, 9), 40000).save(folder / "red" / "deep.png")
    Image.new("P", (9, 9)).save(folder / "red" / "palette.png")
    Image.new("L", (1, 1)).save(folder / "red" / "dot.png")
    return tmp_path


def test_unreadable_files_are_refused_by_name_before_training(images, spoilt):
    with pytest.raises(ValueError, match="3 of 13 are not") as caught:
        attached(images(data_dir=str(spoilt)))
    assert all(name in str(caught.value) for name in ("empty.jpg: 0 bytes", "text.jpg: not an image", "cut.png"))


def test_unreadable_files_are_skipped_by_name_and_odd_ones_become_rgb(images, spoilt, capsys):
    data = attached(images(data_dir=str(spoilt), on_bad="skip", batch_size=1))
    assert len(data.skipped) == 3
    assert "skipped" in capsys.readouterr().out
    shapes = {x.shape for loader in (data.train_dataloader(), data.val_dataloader()) for x, _ in loader}
    assert shapes == {(1, 3, 16, 16)}


def test_a_file_that_breaks_later_is_named(images, spoilt):
    data = attached(images(data_dir=str(spoilt), on_bad="trust", batch_size=1))
    with pytest.raises(OSError, match=r"Expected image .* to be readable still but got"):
        list(data.train_dataloader())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data_dir": ""}, "data_dir .* or dataset"),
        ({"val_fraction": 1.5}, "val_fraction between 0 and 1 but got 1.5"),
        ({"dataset": NamedDataset("tfds/x"), "val": None}, "a stream cannot be split"),
        ({"batch_size": 0}, "loading.batch_size to be a number >= 1 but got 0"),
        ({"workers": -1}, "loading.workers to be a number >= 0 but got -1"),
    ],
)
def test_impossible_options_are_refused(images, options, words):
    with pytest.raises(ValueError, match=words):
        images(**options)


def test_missing_and_empty_folders_are_refused(images, tmp_path):
    with pytest.raises(FileNotFoundError, match="which does not exist"):
        attached(images(data_dir=str(tmp_path / "nowhere")))
    (tmp_path / "train" / "class").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"Expected images .* but got none"):
        attached(images(data_dir=str(tmp_path)))
    with pytest.raises(ValueError, match=r"Expected images .* but got none"):
        attached(images(data_dir=str(tmp_path)), "predict")


def test_loose_pictures_alone_are_no_classes(images, painted, tmp_path):
    painted(tmp_path / "train", classes=("",))
    with pytest.raises(ValueError, match="one folder a class, but found none"):
        attached(images(data_dir=str(tmp_path)))


def test_one_class_is_refused(images, painted, tmp_path):
    painted(tmp_path / "train", classes=("cat",))
    with pytest.raises(ValueError, match=r"at least two classes .* but got 'cat' alone in .*train': one folder"):
        attached(images(data_dir=str(tmp_path)))


def test_the_folder_of_all_splits_is_no_training_set(images, pictures):
    with pytest.raises(ValueError, match="holds test, train: name one of them"):
        attached(images(train=""))


def test_a_class_of_another_unicode_form_is_the_same(images, painted, tmp_path):
    for split, form in (("train", "NFC"), ("val", "NFD")):
        painted(tmp_path / split, classes=(unicodedata.normalize(form, "caf\u00e9"), "dog"), each=2)
    data = attached(images(data_dir=str(tmp_path), val="val"))
    assert [data.images["val"][i][1] for i in range(4)] == [0, 0, 1, 1]


def test_other_wordnet_classes_are_not_the_trained_ones(images, painted, tmp_path):
    painted(tmp_path / "train", classes=("n01440764", "n01484850"), each=2)
    painted(tmp_path / "val", classes=("n02085620", "n02088094"), each=2)
    with pytest.raises(ValueError, match="got 'n02085620'"):
        attached(images(data_dir=str(tmp_path), val="val"))


def test_every_source_can_be_trained_on(images, painted, tmp_path):
    """The same three pictures a class, by the same classes."""
    pixels = torch.randint(0, 256, (6, 16, 16, 3), dtype=torch.uint8)
    labels = torch.arange(6) % 2
    save_file({"images": pixels, "labels": labels}, tmp_path / "train.safetensors")
    with tarfile.open(tmp_path / "set-train-0.tar", "w") as tar:
        for i in range(6):
            Image.fromarray(pixels[i].numpy()).save(buffer := BytesIO(), "PNG")
            for name, content in ((f"{i}.png", buffer.getvalue()), (f"{i}.cls", str(int(labels[i])).encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, BytesIO(content))
    named = NamedDataset("wds/.", class_names=("even", "odd"))
    tensors = attached(images(data_dir=str(tmp_path), val_fraction=0.34))
    shards = attached(images(data_dir=str(tmp_path), dataset=named, val_fraction=0.34))
    assert tensors.label_names == ("0", "1") and shards.label_names == ("even", "odd")
    for split in ("train", "val"):
        for one, other in zip(tensors.images[split], shards.images[split], strict=True):
            assert np.array_equal(one[0], other[0]) and one[1] == other[1]


def test_a_picture_that_breaks_midway_costs_no_run_where_bad_ones_are_skipped(images, painted, tmp_path, capsys):
    painted(tmp_path / "train", each=5)
    painted(tmp_path / "test", each=2)
    data = attached(images(data_dir=str(tmp_path), on_bad="skip", batch_size=1), None)
    for path in (*tmp_path.glob("train/blue/*.png"), tmp_path / "test/red/0.png"):
        path.write_bytes(b"spoilt")
    labels = [int(y) for loader in (data.train_dataloader, data.test_dataloader) for _, y in loader()]
    assert len(labels) == 8 + 4 and set(labels[:8]) == {1}
    assert labels[8:] == [0, 0, NOT_COUNTED, 1]
    assert "skipped in this epoch: Expected image 'blue/0.png' to be readable still" in capsys.readouterr().out


def test_a_picture_that_breaks_midway_costs_one_row_of_a_prediction(images, painted, tmp_path):
    data = attached(images(data_dir=str(painted(tmp_path, each=2))), "predict")
    (tmp_path / "red" / "0.png").write_bytes(b"spoilt")
    loader = data.predict_dataloader()
    assert [len(x) for x in loader] == [4]
    assert list(loader.dataset.broken) == [2] and "not an image" in loader.dataset.broken[2]


@pytest.mark.parametrize(("each", "batches"), [(4, [6]), (2, [2])])
def test_fewer_images_than_a_batch_are_mixed_in_pairs(images, painted, tmp_path, each, batches):
    painted(tmp_path / "train", each=each)
    data = attached(images(data_dir=str(tmp_path), batch_size=16, augmentation=Augmentation(mixup=0.2)))
    assert [len(x) for x, _ in data.train_dataloader()] == batches


def test_one_image_cannot_be_mixed(images, painted, tmp_path):
    painted(tmp_path / "train", each=1)
    data = attached(images(data_dir=str(tmp_path), val_fraction=0.5, augmentation=Augmentation(cutmix=0.2)))
    with pytest.raises(ValueError, match="at least two training images a process to mix but got 1"):
        data.train_dataloader()


def test_options_of_before_the_groups_are_refused_by_their_new_names():
    for old, new in (("val_split", "splits.val"), ("dataset", "dataset.name"), ("on_bad", "loading.on_bad")):
        with pytest.raises(ValueError, match=f"Expected '{new}' but got '{old}', as it was called before"):
            ImageData.from_options({"data_dir": "x", old: "y"})


def test_plain_values_make_the_groups():
    data = ImageData.from_options({"data_dir": "x", "splits": {"val": "val"}, "augmentation": {"mixup": 0.5}})
    assert data.splits == Splits(val="val") and data.augmentation.mixes


def test_loaders_can_be_sent_to_spawned_workers(images):
    for loader in (attached(images(cache=True)).train_dataloader(), attached(images(), "test").test_dataloader()):
        again = pickle.loads(pickle.dumps(loader.dataset))
        draw = next(iter(loader.sampler))
        assert torch.equal(again[draw][0], loader.dataset[draw][0])
