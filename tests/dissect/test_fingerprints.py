"""Content hashes tell apart what differs and nothing else; a file is served only under the key it was made with."""

import pytest
import torch
from torch import nn

from competition_layers import Competition, StochasticLWTA, create_model, load_model, save_model
from dissect.fingerprints import digest, model_fingerprint, transform_fingerprint
from dissect.folder.tensors import load_tensors, save_tensors


def test_the_hash_tells_apart_values_shapes_types_and_nesting():
    x = torch.arange(6.0)
    different = [
        x,
        x + 1,
        x.view(2, 3),
        x.double(),
        x.int(),
        "x",
        b"y",
        1,
        None,
        ["a", "b"],
        [["a"], "b"],
        "ab",
        torch.tensor([]),
    ]
    assert len({digest(part) for part in different}) == len(different)
    assert digest("a", "bc") != digest("ab", "c") != digest(["ab", "c"])
    assert digest(x.view(2, 3).T) == digest(x.view(2, 3).T.contiguous())


def small(competitors: int = 2, **options) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), StochasticLWTA(competitors, channel_dim=-1, competition=Competition(**options))
    )


def test_a_networks_hash_follows_weights_settings_and_rule():
    reference = model_fingerprint(small())
    assert model_fingerprint(small()) == reference == model_fingerprint(small().train())
    changed = [small(4), small(layout="adjacent"), small(inference="sample"), small(noise_scale=0.5), small()]
    with torch.no_grad():
        changed[-1][0].bias[0] += 1
    assert len({reference, *map(model_fingerprint, changed)}) == 6


def test_a_networks_hash_survives_saving_and_sees_how_it_was_built(tmp_path):
    def build(pool):
        torch.manual_seed(0)
        options = {"embed_dim": 24, "num_heads": 2, "depth": 1, "global_pool": pool, "fc_norm": False}
        return create_model("vit_tiny_patch16_224", competitors=4, num_classes=3, image_size=32, **options)

    model = build("token")
    save_model(model, tmp_path / "model")
    assert model_fingerprint(load_model(tmp_path / "model")) == model_fingerprint(model)
    assert model_fingerprint(build("avg")) != model_fingerprint(model)


def test_transforms_are_told_apart_by_what_they_do():
    def scaled(by):
        return lambda image: image * by

    assert transform_fingerprint(scaled(2)) == transform_fingerprint(scaled(2)) != transform_fingerprint(scaled(3))
    assert transform_fingerprint(nn.Identity()) == "Identity()"


def test_a_file_is_served_only_under_its_key(tmp_path):
    path = tmp_path / "a" / "b.safetensors"
    save_tensors(path, {"x": torch.ones(2)}, key="right")
    assert torch.equal(load_tensors(path, key="right")["x"], torch.ones(2))
    assert load_tensors(path, key="wrong") is None and load_tensors(tmp_path / "none", key="right") is None
    path.write_bytes(path.read_bytes()[:-3])
    assert load_tensors(path) is None


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "b.safetensors"
    save_tensors(path, {"x": torch.ones(2)}, key="right")
    with pytest.raises(AttributeError):
        save_tensors(path, {"x": "no tensor"}, key="right")
    assert load_tensors(path, key="right") is not None and [p.name for p in tmp_path.iterdir()] == ["b.safetensors"]
