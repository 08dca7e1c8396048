"""Models made, saved, loaded and asked."""

import json

import pytest
import torch
from competing import change
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file

from competition_layers import (
    Competition,
    DecisionLayer,
    StochasticLWTA,
    competitions,
    create_model,
    data_config,
    inference_rule,
    load_model,
    load_noise_state,
    noise_state,
    predict,
    predict_each,
    save_model,
    seed_noise,
)

LABELS = ("cat", "dog", "owl")


def small(**options):
    defaults = {"competitors": 4, "num_classes": 3, "image_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}
    return create_model("vit_tiny_patch16_224", **{**defaults, **options})


@pytest.fixture
def images():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("competitors", [1, 4])
def test_a_saved_model_is_the_same_when_loaded(tmp_path, images, competitors):
    competition = Competition("adjacent", noise_scale=0.5, temperature=1.67, inference="sample")
    model = small(competitors=competitors, label_names=LABELS, competition=competition).eval()
    save_model(model, tmp_path / "model")
    for source in (tmp_path, tmp_path / "model", f"local-dir:{tmp_path / 'model'}"):
        loaded = load_model(source)
        assert torch.equal(predict(loaded, images, samples=0), predict(model, images, samples=0))
        assert repr(loaded) == repr(model) and not loaded.training
        assert loaded.lwta.label_names == LABELS and data_config(loaded) == data_config(model)
        assert loaded.lwta.sites == model.lwta.sites


def test_config_json_holds_timms_hub_fields_and_the_competition(tmp_path):
    save_model(small(label_names=LABELS), tmp_path / "model", averaged_weights=True)
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["architecture"] == "lwta/vit_tiny_patch16_224" and config["label_names"] == list(LABELS)
    assert config["pretrained_cfg"]["input_size"] == [3, 32, 32] and config["averaged_weights"] is True
    site = config["competition"]["sites"][0]
    assert site["name"] == "blocks.0.mlp.act" and site["channel_dim"] == -1 and site["competitors"] == 4
    assert site["layout"] == "strided" and site["estimator"] == "gumbel" and site["inference"] == "argmax"
    assert (tmp_path / "model/README.md").read_text().startswith("---")


def test_plain_timm_refuses_our_folder_instead_of_building_a_dense_network(tmp_path):
    import timm

    save_model(small(), tmp_path / "model")
    with pytest.raises(RuntimeError, match="Unknown model"):
        timm.create_model(f"local-dir:{tmp_path / 'model'}")


def test_a_folder_in_timms_own_format_is_loaded_dense(tmp_path, images):
    import timm

    theirs = timm.create_model(
        "vit_tiny_patch16_224", num_classes=3, img_size=32, embed_dim=24, depth=1, num_heads=2
    ).eval()
    timm.models.save_for_hf(theirs, tmp_path / "m", safe_serialization=True)
    ours = load_model(tmp_path / "m")
    assert torch.equal(ours(images), theirs(images)) and not competitions(ours)
    sparse = create_model(f"local-dir:{tmp_path / 'm'}", competitors=8, pretrained=True)
    assert torch.equal(sparse.head.weight, theirs.head.weight) and len(competitions(sparse)) == 1


def test_a_newer_format_is_refused_by_name(tmp_path):
    save_model(small(), tmp_path / "model")
    path = tmp_path / "model/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(ValueError, match="format 3 or older but got 99"):
        load_model(tmp_path)


def test_saving_replaces_the_old_folder_whole_and_leaves_nothing_beside_it(tmp_path):
    save_model(small(), tmp_path / "model")
    (tmp_path / "model/mine").touch()
    save_model(small(), tmp_path / "model")
    left = ["README.md", "config.json", "mine", "model", "model.safetensors"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == left, "what others put there stays"


def test_given_weights_are_written_instead_of_the_models_own(tmp_path):
    model = small()
    zeros = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    save_model(model, tmp_path / "model", state_dict=zeros)
    assert all((value == 0).all() for value in load_file(tmp_path / "model/model.safetensors").values())


def test_unknown_sources_are_refused_and_the_nearest_offered(tmp_path):
    with pytest.raises(
        ValueError, match="timm model name but got 'vit_tiny_patch16_22', did you mean 'vit_tiny_patch16_224'"
    ):
        create_model("vit_tiny_patch16_22")
    with pytest.raises(FileNotFoundError, match=r"folder with config.json but got"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="3 label names but got 2"):
        small(label_names=("a", "b"))


def test_a_backbone_has_the_size_asked_for_also_where_it_is_built_for_one_and_when_loaded(tmp_path):
    model = create_model("eva02_tiny_patch14_224", competitors=2, num_classes=3, image_size=28, depth=1).eval()
    save_model(model, tmp_path / "model")
    images = torch.randn(2, 3, 28, 28)
    assert torch.equal(predict(load_model(tmp_path), images), predict(model, images))
    with pytest.raises(ValueError, match=r"image_size that 'levit_128s' can be built for but got 8 \(.*it is 224"):
        create_model("levit_128s", image_size=8)


def test_a_width_that_does_not_divide_is_refused_at_creation_with_the_layers_name():
    with pytest.raises(ValueError, match=r"'blocks.0.mlp.act' to be a multiple of competitors=7 but got 96"):
        small(competitors=7)


def test_each_place_has_the_competitors_of_the_first_glob_that_fits_it_also_when_loaded(tmp_path, images):
    model = small(competitors={"blocks.1.*": 8, "blocks.*": 2})  # both fit blocks.1
    save_model(model, tmp_path / "model")
    for each in (model, load_model(tmp_path)):
        found = {name: layer.groups.competitors for name, layer in competitions(each).items()}
        assert found == {"blocks.0.mlp.act": 2, "blocks.1.mlp.act": 8}
    assert torch.equal(predict(load_model(tmp_path), images), predict(model, images))


def test_a_glob_on_no_place_is_refused_and_the_places_are_named():
    with pytest.raises(ValueError, match=r"activation but got 'layer4\.\*' \(known: blocks\.0\.mlp\.act, blocks\.1"):
        small(competitors={"layer4.*": 8, "*": 2})
    with pytest.raises(ValueError, match=r"competitors for 'blocks\.1\.mlp\.act' .* add '\*': U"):
        small(competitors={"blocks.0.*": 8})


def test_predict_averages_the_logits_of_whole_passes(images):
    model = small(competition=Competition(noise_scale=1.0))
    generator = torch.Generator().manual_seed(5)
    mean = predict(model, images, samples=3, generator=generator)
    seed_noise(model, int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(5))))
    change(model, inference="sample")
    model.eval()
    with torch.no_grad():
        passes = [model(images) for _ in range(3)]
    torch.testing.assert_close(mean, sum(passes) / 3)
    assert not torch.equal(passes[0], passes[1])


def test_predict_leaves_mode_and_rule_as_they_were(images):
    model = small().train()
    predict(model, images, samples=2)
    assert model.training and all(layer.competition.inference == "argmax" for layer in competitions(model).values())
    with pytest.raises(ValueError, match="samples >= 0"):
        predict(model, images, samples=-1)


def test_every_layer_and_rank_draws_noise_of_its_own(images):
    h, model = torch.randn(64, 96), small().train()
    draws = []
    for rank in (0, 1):
        seed_noise(model, 3, rank=rank)
        draws += [layer(h) for layer in competitions(model).values()]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def test_noise_goes_on_where_a_checkpoint_left_it(images):
    model = small().train()
    seed_noise(model, 3)
    model(images)
    state, after = noise_state(model), model(images)
    fresh = small().train()
    fresh.load_state_dict(model.state_dict())
    load_noise_state(fresh, state)
    assert torch.equal(fresh(images), after)
    with pytest.raises(ValueError, match="Expected noise for the layers"):
        load_noise_state(fresh, {})


def test_layers_know_their_names():
    assert [layer.name for layer in competitions(small()).values()] == ["blocks.0.mlp.act", "blocks.1.mlp.act"]
    assert isinstance(small().blocks[0].mlp.act, StochasticLWTA)


def test_a_hub_that_is_not_reached_is_one_line(monkeypatch):
    def unreachable(*_, **__):
        raise LocalEntryNotFoundError("no connection\nand many more lines")

    monkeypatch.setattr("competition_layers.entries.hf_hub_download", unreachable)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", unreachable)
    for make in (lambda: load_model("hf-hub:owner/name"), lambda: create_model("resnet10t", pretrained=True)):
        with pytest.raises(FileNotFoundError, match=r"\(no connection\): check the name and the network, or fetch it"):
            make()


def test_an_unknown_tag_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"weights of 'resnet10t' among resnet10t.c3_in1k but got 'resnet10t.nope'"):
        create_model("resnet10t.nope")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"features_only": True}, "Expected a classifier but got features_only=True for 'test_resnet'"),
        ({"in_chans": 1}, "Expected in_chans=3 but got 1 for 'test_resnet': pictures are read with 3 channels"),
    ],
)
def test_what_is_no_classifier_of_colour_pictures_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        create_model("test_resnet", competitors=4, image_size=32, **options)


@torch.no_grad()
def test_sizes_that_a_patch_does_not_divide_sizes_at_run_time_and_no_images_at_all():
    options = {"competitors": 4, "num_classes": 3, "depth": 1}
    model = create_model("vit_tiny_patch16_224", image_size=100, **options).eval()
    assert model(torch.zeros(1, 3, 100, 100)).shape == (1, 3)
    model = create_model("vit_tiny_patch16_224", image_size=64, dynamic_img_size=True, **options).eval()
    assert model(torch.zeros(1, 3, 96, 64)).shape == (1, 3)
    assert len(model.forward_intermediates(torch.zeros(1, 3, 64, 64))[1]) == 1
    model = create_model("test_resnet", competitors=4, num_classes=3, image_size=32).eval()
    assert model(torch.zeros(0, 3, 32, 32)).shape == (0, 3)


def test_maps_of_class_activation_are_hung_on_the_last_competition():
    model = create_model("test_resnet", competitors=4, num_classes=3, image_size=32).eval()
    seen: dict[str, torch.Tensor] = {}
    layer = list(competitions(model).values())[-1]

    def keep(module, inputs, output):  # as Grad-CAM's libraries do it
        seen["activation"] = output
        output.register_hook(lambda gradient: seen.__setitem__("gradient", gradient))

    layer.register_forward_hook(keep)
    layer.register_full_backward_hook(lambda module, given, got: seen.__setitem__("through", given[0]))
    model(torch.randn(2, 3, 32, 32))[:, 0].sum().backward()
    lost = seen["activation"] == 0
    assert seen["gradient"].any() and seen["through"].any()
    assert torch.equal(seen["through"], seen["gradient"].masked_fill(lost, 0))  # of what was computed: winners alone


@pytest.mark.parametrize("noise_before", [0.0, 0.5])
def test_what_draws_nothing_runs_once_for_all_draws(images, noise_before):
    model = small(
        competition=Competition(noise_scale=noise_before), decision=DecisionLayer(16, 16, noise_scale=1.0)
    ).eval()
    passes = []
    model.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    found = predict_each(model, images, [None, 0, 3], generator=torch.Generator().manual_seed(5))
    assert len(passes) == (5 if noise_before else 1)
    generator = torch.Generator().manual_seed(5)
    alone = [whole(model, images, samples, generator) for samples in (None, 0, 3)]
    assert all(map(torch.equal, found, alone))


def whole(model, images, samples, generator):
    """The mean of passes through all of the network."""
    seed_noise(model, int(torch.randint(2**31, (), generator=generator)))
    with torch.no_grad(), inference_rule(model, {None: None, 0: "argmax"}.get(samples, "sample")):
        logits = [model(images) for _ in range(samples or 1)]
    return sum(logits[1:], logits[0]) / len(logits)
