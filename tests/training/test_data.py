"""ImageData: what is trained on, what is held out, and what is refused before training starts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pictures.datasets import FolderImages
from training import Augmentation, ImageData
from training.data import files_below

CONFIG = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 1.0, "crop_mode": "center"}


def attached(data: ImageData, stage: str = "fit") -> ImageData:
    """`data` as a trainer would use it."""
    module = SimpleNamespace(model=None, data_config=lambda: {**CONFIG, "interpolation": "bilinear"})
    data.trainer = SimpleNamespace(lightning_module=module, global_rank=0, world_size=1)
    data.setup(stage)
    return data


def indices(data: ImageData, name: str) -> set[int]:
    return set(data.images[name].indices)


def test_validation_images_are_held_out_by_a_seed_of_their_own(images):
    one, same, other = (attached(images(split_seed=seed, seed=run)) for seed, run in ((0, 0), (0, 9), (1, 0)))
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
    data = attached(images(dataset="torch/image_folder"))
    assert data.label_names == ("blue", "red")
    assert next(iter(data.train_dataloader()))[0].shape == (4, 3, 16, 16)


def test_a_folder_without_splits_can_be_trained_on(images, pictures):
    data = attached(images(data_dir=str(pictures / "train"), train_split=""))
    assert data.label_names == ("blue", "red")
    with pytest.raises(FileNotFoundError, match=r"folder 'train' in .* but got blue, red .*train_split ''"):
        attached(images(data_dir=str(pictures / "train")))


def test_a_slip_in_a_split_is_answered_with_the_nearest(images):
    with pytest.raises(FileNotFoundError, match="did you mean 'train'"):
        attached(images(train_split="trian"))


def test_a_split_that_lacks_a_class_keeps_the_numbers_of_the_others(images, painted, tmp_path):
    painted(tmp_path / "train", classes=("a", "b", "c"))
    painted(tmp_path / "val", classes=("c",), each=2)
    data = attached(images(data_dir=str(tmp_path), val_split="val"))
    assert {data.images["val"][i][1] for i in range(2)} == {2}


def test_a_split_with_a_new_class_is_refused(images, painted, tmp_path):
    painted(tmp_path / "train", classes=("cat", "dog"))
    painted(tmp_path / "val", classes=("cat", "dogs"))
    with pytest.raises(ValueError, match="got 'dogs' too, did you mean 'dog'"):
        attached(images(data_dir=str(tmp_path), val_split="val"))


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
    with pytest.raises(OSError, match="Expected a readable image but got"):
        list(data.train_dataloader())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data_dir": ""}, "data_dir .* or dataset"),
        ({"val_fraction": 1.5}, "val_fraction between 0 and 1 but got 1.5"),
        ({"dataset": "wds/x", "val_split": None}, "a stream cannot be split"),
    ],
)
def test_impossible_options_are_refused(images, options, words):
    with pytest.raises(ValueError, match=words):
        images(**options)


def test_missing_and_empty_folders_are_refused(images, tmp_path):
    with pytest.raises(FileNotFoundError, match="which is not there"):
        attached(images(data_dir=str(tmp_path / "nowhere")))
    (tmp_path / "train" / "class").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="one folder a class, but found none"):
        attached(images(data_dir=str(tmp_path)))
    with pytest.raises(FileNotFoundError, match="found none"):
        files_below(tmp_path)


def test_folders_of_wordnet_numbers_are_the_classes_of_a_network_in_their_order(tmp_path, painted):
    painted(tmp_path, classes=("n02012849", "n03126707"), each=2)
    images = FolderImages(tmp_path, label_names=("crane", "crane"))
    assert images.label_names == ("crane", "crane")
    assert [images[i][1] for i in range(4)] == [0, 0, 1, 1]
