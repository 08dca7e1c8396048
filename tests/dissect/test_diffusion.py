"""A pipeline of diffusers: a tiny one, made here with random weights and saved to a folder."""

import json

import numpy as np
import pytest
import torch

from dissect.backends.text_to_image import Diffusion

diffusers = pytest.importorskip("diffusers", reason="pip install 'lwta[diffusion]'")
pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    def saved(seed):
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

        torch.manual_seed(seed)
        letters = [chr(c) for c in range(97, 123)]
        words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
        (tmp_path / "merges.txt").write_text("#version: 0.2\n")
        tokenizer = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=64)
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
        text = CLIPTextConfig(vocab_size=len(words), max_position_embeddings=64, **sizes)
        blocks = {"down": ("DownBlock2D", "CrossAttnDownBlock2D"), "up": ("CrossAttnUpBlock2D", "UpBlock2D")}
        unet = diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=blocks["down"],
            up_block_types=blocks["up"],
            cross_attention_dim=16,
            attention_head_dim=8,
            norm_num_groups=8,
        )
        pipeline = diffusers.StableDiffusionPipeline(
            vae=diffusers.AutoencoderKL(block_out_channels=(16,), norm_num_groups=8),
            text_encoder=CLIPTextModel(text),
            tokenizer=tokenizer,
            unet=unet,
            scheduler=diffusers.DDIMScheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(tmp_path / str(seed), safe_serialization=True)
        return str(tmp_path / str(seed))

    return saved


@pytest.mark.filterwarnings("ignore")  # theirs
def test_a_phrase_has_the_same_pictures_whenever_they_are_made(folder):
    one = Diffusion(folder(0))
    first = one.draw("a red boat", 2)
    one.draw("a palm", 1)
    again = one.draw("a red boat", 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(*first), "each from noise of its own"
    assert Diffusion(folder(0)).identity == one.identity != Diffusion(folder(1)).identity


def test_what_is_no_pipeline_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a pipeline of diffusers but got"):
        Diffusion(str(tmp_path))
