"""Every family of timm: find the places, swap, train, save, load, put back."""

import pytest
import timm
import torch

from competition_layers import (
    competitions,
    create_model,
    load_model,
    observe,
    predict,
    revert_activations,
    save_model,
    swap_activations,
)
from competition_layers.wiring.sites import survey

# a small member of each family: pixels of a side, and what makes it smaller still
ALWAYS = {
    "test_vit": 32,
    "eva02_tiny_patch14_224": (28, {"depth": 2}),
    "swin_tiny_patch4_window7_224": (32, {"embed_dim": 24, "depths": (1, 1, 2, 1)}),
    "test_convnext": 32,
    "test_resnet": 32,
    "test_efficientnet": 32,
    "test_nfnet": 32,
    "test_coatnet": 32,
    "edgenext_xx_small": 32,
    "levit_128s": 32,
    "dla46x_c": 32,
}
ON_REQUEST = {
    **dict.fromkeys(("deit_tiny_patch16_224", "cait_xxs24_224", "coat_tiny", "convit_tiny", "convmixer_768_32"), 32),
    **dict.fromkeys(("beit_base_patch16_224", "beit3_base_patch16_224", "samvit_base_patch16_224"), (32, {"depth": 2})),
    **dict.fromkeys(("test_byobnet", "cpubone_nano", "cs3darknet_focus_s", "cspnext_tiny", "davit_tiny"), 32),
    **dict.fromkeys(("densenet121", "dpn48b", "efficientformerv2_s0", "efficientvim_m1", "efficientvit_b0"), 32),
    **dict.fromkeys(("efficientvit_m0", "fasternet_t0", "fastvit_t8", "focalnet_tiny_srf", "gcvit_xxtiny"), 32),
    **dict.fromkeys(("ghostnet_050", "hardcorenas_b", "hgnetv2_b0", "hiera_tiny_224", "hrnet_w18_small"), 32),
    **dict.fromkeys(("iformer_t", "inception_next_atto", "lcnetv2_small", "lowformer_b0", "test_mambaout"), 32),
    **dict.fromkeys(("test_maxvit", "mixer_s32_224", "gmlp_ti16_224", "resmlp_12_224", "poolformerv2_s12"), 32),
    **dict.fromkeys(("mobilenetv3_small_050", "mobilevit_xxs", "mvitv2_tiny", "nest_tiny", "nextvit_small"), 32),
    **dict.fromkeys(("pit_ti_224", "pvt_v2_b0", "rdnet_tiny", "repghostnet_050", "repvit_m1", "res2next50"), 32),
    "regnetx_002": 32,
    **dict.fromkeys(("resnest14d", "resnetv2_18", "resnext26ts", "rexnet_100", "selecsls42", "sequencer2d_s"), 32),
    **dict.fromkeys(("legacy_seresnet18", "shvit_s1", "skresnet18", "starnet_s050", "swiftformer_xs"), 32),
    **dict.fromkeys(("swinv2_cr_tiny_224", "swinv2_tiny_window8_256", "tiny_vit_5m_224"), 32),
    **dict.fromkeys(("tresnet_m", "twins_svt_small", "visformer_tiny", "vit_tiny_r_s16_p8_224", "test_vit_relpos"), 32),
    **dict.fromkeys(("volo_d1_224", "ese_vovnet19b_slim_dw", "legacy_xception", "xcit_nano_12_p8_224"), 32),
    "csatv2": 64,
    "crossvit_9_240": 240,
    "efficientformer_l1": 224,
    "inception_v3": 96,
    "tnt_s_legacy_patch16_224": 32,
    "vgg11": 32,
}
every_family = pytest.mark.parametrize(
    "name", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.slow) for name in ON_REQUEST)]
)


def small(name, competitors):
    """The family's network in evaluation mode and a batch of two pictures."""
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    size = {**ALWAYS, **ON_REQUEST}[name]
    size, args = size if isinstance(size, tuple) else (size, {})
    torch.manual_seed(0)
    model = create_model(name, competitors=competitors, num_classes=3, image_size=size, **args).eval()
    return model, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@every_family
def test_a_family_is_swapped_trained_saved_loaded_and_put_back(name, tmp_path):
    model, x = small(name, 1)
    sites = model.lwta.sites
    revert_activations(model)  # the twin holds an activation for each call: back to timm's own
    text = repr(model)
    swap_activations(model, 2, sites=sites)
    names = [site.name for site in sites]
    assert set(names) == set(competitions(model))

    with observe(model, names) as passed, torch.no_grad():  # each runs once
        model(x)
    for site in sites:
        output = passed[site.name]
        assert output.shape[site.channel_dim] == site.width
        lost = (output == 0).float().mean(tuple(d for d in range(output.ndim) if d != site.channel_dim % output.ndim))
        pairs = lost.view(2, -1)  # the strided layout: unit b competes with unit b + K/2
        assert (pairs.sum(0) >= 1 - 1e-6).all()

    model.train()
    model(x).square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients)
    model.eval()

    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path)
    assert torch.equal(predict(loaded, x), predict(model, x))
    assert loaded.lwta.sites == model.lwta.sites and loaded.lwta.left_out == model.lwta.left_out

    fresh, _ = small(name, 1)
    missing = fresh.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert all(key.rpartition(".")[0] in names for key in missing)  # an activation's own numbers (StarReLU)
    revert_activations(model)
    assert repr(model) == text
    with torch.no_grad():
        assert torch.equal(model(x), fresh(x))  # the twin, too, is the dense network


@every_family
def test_the_axis_of_a_place_is_that_of_the_rows_that_feed_it(name):
    model, x = small(name, 2)
    fed_by = {a.name: a.fed_by for a in survey(model).activations}
    for layer in (module for module in model.modules() if getattr(module, "weight", None) is not None):
        # looked at alone: further rows reach every unit through the layers and gates between
        layer.register_forward_pre_hook(lambda module, inputs: (inputs[0].detach(), *inputs[1:]))
    with observe(model, [site.name for site in model.lwta.sites], what="input") as inputs:
        model(x)
    for site in model.lwta.sites:
        for weight in (model.get_submodule(layer).weight for layer in fed_by[site.name]):
            rows = []
            for unit in (0, -1):
                h = inputs[site.name].select(site.channel_dim, unit).sum()
                (gradient,) = torch.autograd.grad(h, weight, retain_graph=True)
                rows.append(gradient.flatten(1).ne(0).any(1) if gradient.ndim > 1 else gradient.ne(0))
            assert not (rows[0] & rows[1]).any(), site
