"""Claims about the live page: the network in a browser says what it says in Python, and nothing leaves the page."""

import base64
import io
import json
import re
import tarfile
import time
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from browser import open_browser
from firefox import open_firefox
from PIL import Image

from competition_layers import Competition, DecisionLayer, create_model, inference_rule, observe, save_model, votes
from competition_layers.attribution import logits_without
from dissect.explaining.explanation import Alternative
from dissect.explaining.picture import network_input
from dissect.recording.subject import default_layer
from dissect.report import live as page_room
from dissect.report.live import Preparation, render_live
from lwta import cli
from lwta.exported import ONNX
from lwta.live import runtime as runtimes
from lwta.live.network import refuse_others
from lwta.live.writing import LARGE, example, write_live

needs_onnx = pytest.mark.skipif(
    not all(find_spec(name) for name in ONNX), reason="needs onnx, onnxscript, onnxruntime: lwta[onnx]"
)
EVIL = "</script><script>document.title = 'stolen'</script><img src=x onerror=alert(1)>"
LABELS = ("beach", "city", EVIL, "park")


def network(at="positions", **options):
    torch.manual_seed(0)
    model = create_model(
        "resnet18", competitors=4, num_classes=4, image_size=32, label_names=LABELS, layers=(1, 1, 1, 1),
        channels=(8, 8, 16, 16), output_stride=8, decision=DecisionLayer(32, 8, at=at), **options,
    )  # fmt: skip
    model.decision_votes.bias.data[:] = torch.tensor([0.1, -0.2, 0.05, 0.0])
    return model.eval()


def photo(seed: int, width: int = 50, height: int = 40) -> Image.Image:
    """Smooth colours with an edge, of any size."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    pixels = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    pixels[: height // 3] = random.integers(0, 256, 3)
    return Image.fromarray(pixels)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def runtime():
    try:
        return runtimes.open_runtime()
    except FileNotFoundError:
        pytest.skip(
            f"needs onnxruntime-web {runtimes.VERSION} in the cache: {runtimes.how_to_get(runtimes.default_archive())}"
        )


@pytest.fixture(scope="module")
def tab(chromium, tmp_path_factory):
    with open_browser(chromium, tmp_path_factory.mktemp("browser")) as tab:
        yield tab


ASK = """lwta.ready.then(() => Promise.all(%s.map(async (text) => {
    const found = await lwta.answer(new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]));
    return {logits: found.logits, units: found.units, values: found.values};
})))"""


def asked(tab, pictures):
    """What the page's network says of each picture."""
    return tab.evaluate(ASK % json.dumps([base64.b64encode(picture).decode() for picture in pictures]))


def check_answers(tab, model):
    """20 pictures of many sizes: the open page's logits, winners and values are Python's."""
    pictures = [photo(seed, 30 + 7 * seed, 33 + 5 * (seed % 4)) for seed in range(20)]
    for picture, found in zip(pictures, asked(tab, map(png, pictures)), strict=True):
        with inference_rule(model, "argmax"):
            cast = votes(model, network_input(model, picture))
        torch.testing.assert_close(torch.tensor(found["logits"]), cast.logits[0], atol=1e-3, rtol=0)
        assert found["units"] == cast.units[0].flatten().tolist()
        torch.testing.assert_close(torch.tensor(found["values"]), cast.values[0].flatten(), atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def page(runtime, tmp_path_factory):
    """The live page of `network()`, with one example."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "mine.png").write_bytes(png(photo(3)))
    return write_live(folder / "live.html", network(), runtime, pictures=[folder / "mine.png"])


@needs_onnx
@pytest.mark.slow
def test_firefox_says_what_python_says(page, firefox, tmp_path):
    with open_firefox(firefox, tmp_path / "browser") as window:
        window.open(page.as_uri())
        check_answers(window, network())
        asked_for = "performance.getEntriesByType('resource').map((entry) => entry.name)"
        assert [url for url in window.evaluate(asked_for) if not url.startswith(("data:", "blob:"))] == []


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("at", ["positions", "pooled"])
def test_chromium_says_what_python_says_and_asks_for_nothing(at, page, runtime, tab, tmp_path):
    if at == "pooled":
        page = write_live(tmp_path / "live.html", network(at), runtime)
    tab.open(page.as_uri())
    check_answers(tab, network(at))
    assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [page.as_uri()]
    assert tab.console == []


def without_decision(kind):
    """A network without a decision layer, whose units a page measures."""
    torch.manual_seed(0)
    small = {"competitors": 4 if kind == "ResNet" else 1, "num_classes": 4, "image_size": 32, "label_names": LABELS}
    if kind == "top-k decision":  # a twin's decision layer is measured, and its figures add up
        topk = {"competition": Competition(activation="topk"), "decision": DecisionLayer(16, 4, activation="topk")}
        return create_model("resnet18", **small | topk | {"competitors": 4, "layers": (1, 1, 1, 1)}).eval()
    if kind == "ResNet":
        small |= {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16), "output_stride": 8}
        return create_model("resnet18", **small).eval()
    return create_model("vit_tiny_patch16_224", depth=2, embed_dim=24, num_heads=2, patch_size=8, **small).eval()


def check_measured(window, model):
    """The open page's logits, with all units and without each of those it measures, are Python's."""
    layer = default_layer(model)
    pictures = [photo(seed, 40 + seed, 44) for seed in range(3)]
    content = json.dumps([base64.b64encode(png(picture)).decode() for picture in pictures])
    ask = ASK.replace("units: found.units", "units: found.units, without: found.without") % content
    for picture, found in zip(pictures, window.evaluate(ask), strict=True):
        x = network_input(model, picture)
        with torch.no_grad(), inference_rule(model, "argmax"):
            torch.testing.assert_close(torch.tensor(found["logits"]), model(x)[0], atol=1e-3, rtol=0)
            with observe(model, layer) as seen:
                model(x)
            width = seen[layer].shape[1 if seen[layer].ndim == 4 else -1]
            off = torch.nn.functional.one_hot(torch.tensor(found["units"]), width).bool()
            expected = logits_without(model, x, layer, off)
        torch.testing.assert_close(torch.tensor(found["without"]), expected, atol=1e-3, rtol=0)


SAID = "[...document.querySelectorAll('.explained .term')].map((word) => word.textContent).join()"
MEANINGS = """[...document.querySelectorAll('.explained .term')].every(
    (word) => document.getElementById(word.getAttribute('aria-describedby')).textContent)"""


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ResNet", "ViT", "top-k decision"])
def test_without_a_decision_layer_units_are_measured_as_in_python(kind, runtime, tab, tmp_path):
    model = without_decision(kind)
    (tmp_path / "mine.png").write_bytes(png(photo(3)))
    page = write_live(tmp_path / "live.html", model, runtime, pictures=[tmp_path / "mine.png"])
    tab.open(page.as_uri())
    check_measured(tab, model)
    words = tab.evaluate(SAID).split(",")
    if kind != "top-k decision":
        assert words[3] == ("won" if kind == "ResNet" else "active at")
    assert words[:3] == ["lead", "measured", "value"]
    overlap = tab.evaluate("document.querySelector('.share').textContent.includes('overlap')")
    assert overlap == (kind != "top-k decision")
    assert tab.evaluate(MEANINGS)
    assert tab.console == []


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ResNet", "ViT"])
def test_firefox_measures_what_python_measures(kind, runtime, firefox, tmp_path):
    model = without_decision(kind)
    page = write_live(tmp_path / "live.html", model, runtime)
    with open_firefox(firefox, tmp_path / "browser") as window:
        window.open(page.as_uri())
        check_measured(window, model)


@needs_onnx
@pytest.mark.slow
def test_a_photo_is_answered_and_its_switches_are_arithmetic(page, tab, tmp_path):
    model = network()
    tab.open(page.as_uri())
    tab.evaluate("lwta.ready.then(() => null)")
    tab.evaluate("globalThis.say = (what) => [...document.querySelectorAll(what)].map(one => one.textContent)")
    assert tab.evaluate("document.querySelector('.example').getAttribute('aria-pressed')") == "true"
    assert set(tab.evaluate(SAID).split(",")) == {"lead", "vote", "value", "won", "fixed part"} and tab.evaluate(
        MEANINGS
    )
    document = tab.call("DOM.getDocument")["root"]["nodeId"]
    (tmp_path / "other.png").write_bytes(png(photo(8)))
    control = tab.call("DOM.querySelector", nodeId=document, selector=".drop input")["nodeId"]
    tab.call("DOM.setFileInputFiles", nodeId=control, files=[str(tmp_path / "other.png")])
    deadline = time.monotonic() + 60
    while tab.evaluate("say('.file')") != ["other.png"]:
        assert time.monotonic() < deadline
    cast = votes(model, network_input(model, photo(8)))
    logits = cast.logits[0]
    best, second = logits.topk(2).indices.tolist()
    by_unit = cast.by_unit(cast.values)[0]
    lead = by_unit * (cast.weights[best] - cast.weights[second])
    winners = set(cast.units.flatten().tolist())
    shown = [unit for unit in lead.abs().topk(8).indices.tolist() if unit in winners]
    assert tab.evaluate("say('.answer')") == [LABELS[best]]
    assert [numbers(text) for text in tab.evaluate("say('.unit .vote .number')")] == [
        pytest.approx(float(lead[unit]), abs=0.006) for unit in shown
    ]
    tab.evaluate("document.querySelectorAll('.unit .switch input').forEach((input) => input.click())")
    off = logits - (by_unit * cast.weights)[:, shown].sum(1)
    assert tab.evaluate("say('.answer')") == [LABELS[int(off.argmax())]]
    assert numbers(tab.evaluate("say('.now td')")[0]) == pytest.approx(float(off[best] - off[second]), abs=0.006)
    tab.evaluate("document.querySelector('.flip button').click()")
    assert tab.evaluate("say('.answer')") == [LABELS[best]]
    assert tab.evaluate("document.title") == "What would it say of yours?"  # the class of an evil name is text
    assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [page.as_uri()]
    assert tab.console == []


def numbers(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


@pytest.mark.parametrize(
    ("interpolation", "mode"), [("bicubic", "center"), ("bilinear", "center"), ("lanczos", "squash")]
)
@pytest.mark.parametrize("size", [(50, 40), (31, 90), (224, 224), (20, 26), (700, 401)])
def test_pictures_are_resized_to_the_same_bytes_as_in_python(interpolation, mode, size, tab, repository):
    from timm.data import create_transform

    ways = {"interpolation": interpolation, "crop_mode": mode, "crop_pct": 0.875}
    transform = create_transform((3, 32, 32), mean=(0.0,) * 3, std=(1.0,) * 3, **ways, is_training=False)
    picture = photo(1, *size)
    expected = (transform(picture) * 255).round().byte().permute(1, 2, 0).flatten().tolist()
    code = (repository / "dissect" / "report" / "resize.js").read_text("utf-8")
    given = {"width": size[0], "height": size[1], "rgb": np.array(picture).flatten().tolist()}
    said = tab.evaluate(f"(() => {{ {code}\n return [...prepare({json.dumps(given)}, "
                        f"{json.dumps({'height': 32, 'width': 32, **ways})}).rgb]; }})()")  # fmt: skip
    # Pillow 13 resizes vertically first where the height shrinks far more: rounded in another order
    tolerance = 1 if mode == "squash" else 0
    assert np.abs(np.array(said) - expected).max() <= tolerance


@pytest.fixture
def unpacked(monkeypatch):
    """Pages without the bytes of network and runtime, and a network as such a page has it."""
    monkeypatch.setattr(page_room, "_packed", lambda content: content.decode())
    ways = Preparation(32, 32, 1.0, "center", "bicubic", (0.0,) * 3, (1.0,) * 3)
    named = tuple(page_room.UnitName(EVIL, (Alternative(EVIL, 0.5),), 0.5, 0.25, 0.75) for _ in range(8))
    weights = np.zeros((len(LABELS), 8), dtype=np.float32)
    return page_room.LiveNetwork(b"", LABELS, ways, weights, (0.0,) * 4, named, 8, (4, 4), EVIL)


def test_the_page_forbids_every_request_and_names_are_text(tmp_path, unpacked):
    page = render_live(tmp_path / "live.html", unpacked, page_room.Runtime("1", b"", b"")).read_text("utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["form-action"] == rules["base-uri"] == "'none'"
    assert "connect-src" not in rules
    assert re.fullmatch(r"'sha256-[\w+/=]{44}' 'wasm-unsafe-eval' blob:", rules["script-src"])
    assert EVIL not in page and "<img src=x" not in page
    assert page.count('<script type="module">') == 1
    assert "the photo does not leave your browser" in page


def test_a_network_that_a_page_cannot_run_is_refused(tmp_path):
    own = network()
    own.image_transform = lambda image: image
    with pytest.raises(ValueError, match="whose pictures timm prepares for a live page"):
        refuse_others(own)
    ways = {"height": 32, "width": 32, "crop_pct": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    with pytest.raises(ValueError, match="resized by bicubic or bilinear or lanczos for a live page but got 'nearest'"):
        Preparation(**ways, crop_mode="center", interpolation="nearest")
    with pytest.raises(ValueError, match="cropped by center or squash for a live page but got 'border'"):
        Preparation(**ways, crop_mode="border", interpolation="bicubic")


def test_without_the_runtime_the_command_says_how_to_get_it_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = save_model(network(), tmp_path / "model")
    (tmp_path / "a.png").write_bytes(png(photo(0)))
    assert cli.main(["explain", "--model", str(folder), str(tmp_path / "a.png"), "--live"]) == 2
    error = capsys.readouterr().err
    assert f"npm pack onnxruntime-web@{runtimes.VERSION} --pack-destination {tmp_path / 'lwta'}" in error
    assert "--runtime" in error


def test_another_runtime_than_the_pinned_one_is_refused(tmp_path):
    path = tmp_path / "runtime.tgz"
    path.write_text("no archive")
    with pytest.raises(ValueError, match=f"Expected the npm archive {runtimes.ARCHIVE}"):
        runtimes.open_runtime(path)
    with tarfile.open(path, "w:gz") as packed:
        for name in runtimes.SHA256:
            member = tarfile.TarInfo(name)
            member.size = 4
            packed.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(ValueError, match="but it is another"):
        runtimes.open_runtime(path)


def test_examples_are_small_and_of_kinds_that_browsers_read(tmp_path):
    small, large, tiff = (tmp_path / name for name in ("small.png", "large.png", "scan.tiff"))
    small.write_bytes(png(photo(0)))
    Image.effect_noise((900, 600), 99).convert("RGB").save(large)
    photo(0).save(tiff)
    assert example(small) == small.read_bytes()
    assert large.stat().st_size > LARGE > len(example(large))
    for path, side in ((large, 512), (tiff, 50)):
        made = Image.open(io.BytesIO(example(path)))
        assert (made.format, max(made.size)) == ("WEBP", side)
