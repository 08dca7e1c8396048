"""A pushed network is in the repository whole, in one commit, and loads from there by its name."""

from dataclasses import replace

import pytest
import torch
from local_hub import local_hub

from competition_layers import create_model, load_model, predict, save_model
from dissect import load_concepts, load_encoder, open_probe
from dissect.describing import describe
from lwta import cli
from lwta.commands.push import _names
from pictures.scenes import write_scenes


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with local_hub(monkeypatch, tmp_path / "cache") as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    size = {"image_size": 32, "depth": 1, "embed_dim": 24, "num_heads": 2}
    return save_model(create_model("vit_tiny_patch16_224", competitors=4, num_classes=3, **size), tmp_path / "model")


def test_a_pushed_network_loads_by_its_name(hub, folder, capsys):
    assert cli.main(["push", str(folder), "me/net", "--private", "true"]) == 0
    (made,) = hub.made
    assert (made["organization"], made["name"], made.get("private", made.get("visibility"))) == ("me", "net", "private")
    assert hub.commits == [("A network whose units compete", ["README.md", "config.json", "model.safetensors"])]
    assert "its name is hf-hub:me/net" in capsys.readouterr().out
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(predict(load_model("hf-hub:me/net"), x), predict(load_model(folder), x))


def test_a_hub_that_refuses_is_told_in_one_line(hub, folder, capsys):
    hub.refused = 401
    assert cli.main(["push", str(folder), "me/net"]) == 2
    assert "nothing was sent; log in with `hf auth login` or set HF_TOKEN" in capsys.readouterr().err


@pytest.mark.slow
def test_names_go_along_as_text_and_those_of_another_network_do_not(hub, folder, tmp_path, capsys):
    scenes = write_scenes(tmp_path / "scenes", splits={"probe": 24}, size=32, processes=1, progress=False)
    concepts, encoder = load_concepts("scenes"), load_encoder("bundled")
    named = describe(load_model(folder), open_probe(scenes / "probe"), concepts, encoder, tmp_path / "names")
    assert cli.main(["push", str(folder), "me/net", "--dissection", str(tmp_path / "names")]) == 0
    assert {"descriptions.csv", "candidates.csv"} < hub.files.keys()
    assert hub.files["descriptions.csv"] == (tmp_path / "names" / "descriptions.csv").read_bytes()
    assert b"units have a name that holds" in hub.files["README.md"]
    assert b"units have a name" not in (folder / "README.md").read_bytes()
    (place, about), *_ = named.descriptions.items()
    evil = replace(named, descriptions={place: replace(about, description="<img src=x> | [a](b)")})
    assert r"| \<img src=x\> \| \[a\]\(b\) |" in _names(evil)
    save_model(
        load_model(folder).apply(lambda m: m.reset_parameters() if hasattr(m, "reset_parameters") else None), folder
    )
    assert cli.main(["push", str(folder), "me/net", "--dissection", str(tmp_path / "names")]) == 2
    assert "whose weights or settings are others" in capsys.readouterr().err and len(hub.commits) == 1
