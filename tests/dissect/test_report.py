"""Claims about the page: whole, safe, and the same for whoever opens it."""

import base64
import dataclasses
import html
import io
import json
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from dissect import render_report
from dissect.comparing.comparing import Accuracy, Comparison, Names, NetworkFigures, Sparsity
from dissect.explaining.explanation import ClassScore, Explanation, SwitchOff, UnitEffect
from dissect.report import comparison_text, explanation_text

MINUS = "\N{MINUS SIGN}"
EVIL = "<script>document.title = 'stolen'</script>\"'><img src=x onerror=alert(1)>"


def png(width: int = 64, height: int = 64, colour: str = "teal") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def effect(unit: int, to_margin: float, **changes) -> UnitEffect:
    values = {
        "unit": unit,
        "group": unit % 4,
        "competitor": unit // 4,
        "name": "red boat",
        "similarity": 0.25,
        "value": 1.5,
        "win_share": 0.25,
        "to_logit": 0.5 * to_margin,
        "to_margin": to_margin,
        "off": SwitchOff(0.5 * to_margin, to_margin, "harbour", 0.7),
        "where": ((1.5, None), (None, None)),
        "exemplars": png(526, 64),
    }
    return UnitEffect(**{**values, **changes})


def explanation(**changes) -> Explanation:
    values = {
        "image": "pictures/harbour/1.png",
        "picture": png(),
        "architecture": "resnet18",
        "competitors": 2,
        "rule": "argmax",
        "layer": "layer4.0.act2",
        "method": "direct",
        "classes": (ClassScore("harbour", 0.8, 2.0), ClassScore("beach", 0.2, 0.6)),
        "margin": 1.4,
        "units": (effect(3, 1.25), effect(5, -0.75, off=SwitchOff(-0.4, -0.75, "beach", 0.55))),
        "others": (0.1, 0.6),
        "rest": (0.2, 0.3),
        "together": SwitchOff(0.2, 0.5, "beach", 0.6),
        "width": 8,
        "passed": 4,
        "deciding": 2,
        "truth": "harbour",
    }
    return Explanation(**{**values, **changes})


def comparison(**changes) -> Comparison:
    def network(name, competitors, accuracy, density):
        sparsity = Sparsity("layer4.0.act2", 8, "direct", density, 0.125, 0.96, 0.11)
        rule = "argmax" if competitors > 1 else "nothing competes"
        return NetworkFigures(name, "resnet18", competitors, rule, accuracy, sparsity, 1234567, 0.51, None)

    networks = (network("sparse", 2, Accuracy(0.91, 0.91, 0.88, 0.9), 0.5), network("dense", 1, Accuracy(0.9), None))
    return Comparison(**{"networks": networks, "data": "scenes/test", "images": 400, "samples": 8, "batch": 64,
                         "device": "CPU, 2 threads", **changes})  # fmt: skip


@pytest.fixture
def page(tmp_path: Path) -> Path:
    twin = explanation(
        competitors=1, rule="nothing competes", units=(effect(1, 0.4, group=None, competitor=None, win_share=None),)
    )
    second = explanation(image="pictures/2.png", truth="beach")
    pair = [explanation(), second], [twin, dataclasses.replace(twin, image="pictures/2.png")]
    return render_report(tmp_path / "report.html", pair[0], twins=pair[1], comparison=comparison())


def test_the_page_says_what_was_found(page):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.read_text("utf-8")))
    for words in (
        "harbour",
        "unit 3",
        "group 3",
        "competitor 0",
        "+1.25",
        f"{MINUS}0.75",
        "value +1.50",
        "without it: beach , 55 %",
    ):
        assert words in text
    for words in (
        "2 make 90 %",
        "lead over beach +1.40",
        "+0.60",
        "+0.30",
        "it shows: beach",
        "From this layer on the network is linear",
    ):
        assert words in text
    for words in ("Side by side", "91.0 %", "12.5 %", "96.0 %", "1 234 567", "Its dense twin"):
        assert words in text


def test_the_page_needs_nothing_but_itself(page):
    text = page.read_text("utf-8")
    links = re.findall(r"""(?:src|href)=["']([^"']*)|url\(([^)]*)\)""", text)
    assert links
    assert all((a or b).startswith(("data:", "#")) for a, b in links)
    assert "default-src 'none'" in text
    assert "@import" not in text


def test_names_from_files_and_folders_are_text_and_never_code(tmp_path):
    evil = explanation(
        image=f"a/{EVIL.replace('/', '_')}.png",
        architecture=EVIL,
        layer=EVIL,
        truth=EVIL,
        classes=(ClassScore(EVIL, 0.8, 2.0), ClassScore("b" + EVIL, 0.2, 0.5)),
        units=(effect(0, 1.0, name=EVIL, off=SwitchOff(1.0, 1.0, EVIL, 0.5)),),
    )
    figures = comparison()
    figures = dataclasses.replace(
        figures, data=EVIL, networks=(dataclasses.replace(figures.networks[0], name=EVIL, architecture=EVIL),)
    )
    page = render_report(tmp_path / "p.html", [evil], twins=[evil], comparison=figures, title=EVIL, made={EVIL: EVIL})
    text = page.read_text("utf-8")
    assert text.count("<script>") == 1  # the page's own
    assert "onerror=alert" not in re.sub(r"&lt;img[^&]*", "", text).replace("onerror=alert(1)&gt;", "")
    assert "<img src=x" not in text
    assert text.count("&lt;script&gt;") > 10


def test_eight_large_pictures_stay_below_3_mb(tmp_path):
    # grain as in a photograph
    buffer, strip = io.BytesIO(), io.BytesIO()
    for size, file in (((224, 224), buffer), ((526, 64), strip)):
        Image.effect_noise(size, 120).filter(ImageFilter.GaussianBlur(1.5)).convert("RGB").save(file, "PNG")
    units = tuple(effect(i, 1.0, exemplars=strip.getvalue()) for i in range(8))
    many = [explanation(image=f"{i}.png", picture=buffer.getvalue(), units=units) for i in range(8)]
    assert render_report(tmp_path / "p.html", many, twins=many, comparison=comparison()).stat().st_size < 3e6


def test_the_veil_is_lifted_exactly_where_the_unit_won(page):
    overlays = re.findall(r'<div class="where"[^>]*><img src="data:image/png;base64,([^"]*)"', page.read_text("utf-8"))
    veil = Image.open(io.BytesIO(base64.b64decode(overlays[0]))).convert("LA").getchannel("A")
    assert veil.size == (2, 2)
    assert [veil.getpixel((x, y)) == 0 for y in (0, 1) for x in (0, 1)] == [True, False, False, False]


def test_a_page_of_figures_alone_and_one_picture_alone(tmp_path):
    assert "Side by side" in render_report(tmp_path / "a.html", comparison=comparison()).read_text("utf-8")
    alone = explanation(units=(effect(0, 1.0, where=None, exemplars=b"", name="", similarity=None),), truth="")
    text = render_report(tmp_path / "b.html", [alone]).read_text("utf-8")
    assert "unnamed" in text
    assert "Side by side" not in text


def test_nothing_to_show_and_twins_of_others_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected explanations or a comparison to show but got neither"):
        render_report(tmp_path / "p.html")
    with pytest.raises(ValueError, match="Expected twins of the same 1 images but got"):
        render_report(tmp_path / "p.html", [explanation()], twins=[explanation(image="other.png")])
    assert not (tmp_path / "p.html").exists()


def test_the_terminal_says_the_same():
    text = explanation_text(explanation())
    assert "1.png: harbour 80 %, 1.40 ahead of beach" in text
    assert "2 make 90 % of the contributions" in text
    line = next(line for line in text.splitlines() if line.split()[:1] == ["5"])
    assert line.split() == [
        "5",
        "red",
        "boat",
        "+1.50",
        "25",
        "%",
        f"{MINUS}0.38",
        f"{MINUS}0.75",
        f"{MINUS}0.75",
        "beach",
        "55",
        "%",
    ]
    table = comparison_text(comparison()).splitlines()
    line = " ".join(table[1].split())
    assert line == "sparse 2 91.0 % 91.0 % 88.0 % 90.0 % 50.0 % 12.5 % 96.0 % (11 %) 0.51 1 234 567"


def test_the_comparison_counts_named_and_unnamed_units_a_layer_and_says_where_counts_do_not_compare(tmp_path):
    names = Names("layer4.0.act2", {"named": 3, "chance": 4, "rival": 1, "too few images": 0}, distinct=2)
    sparse, dense = comparison().networks
    figures = comparison(networks=(dataclasses.replace(sparse, names=(names,)), dense), names_differ="encoder")
    *_, header, line, warning = comparison_text(figures).splitlines()
    assert " ".join(header.split()) == "network layer units named unnamed: chance rival too few images distinct names"
    assert line.split() == ["sparse", "layer4.0.act2", "8", "3", "(38", "%)", "4", "1", "0", "2"]
    assert warning == "  The dissections differ in their encoder: these counts are no comparison."
    page = render_report(tmp_path / "p.html", comparison=figures).read_text("utf-8")
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "sparse layer4.0.act2 8 3 38 % 4 1 0 2" in text.replace("\u202f", " ").replace("\xa0", " ")
    assert "differ in their encoder: these counts are no comparison" in text
    assert "Units with a name" not in render_report(tmp_path / "q.html", comparison=comparison()).read_text("utf-8")


def test_a_browser_opens_it_without_errors_or_requests(page, chromium, tmp_path):
    asked = (
        "<script>document.title = JSON.stringify(performance.getEntriesByType('resource').map(e => e.name))</script>"
    )
    page.write_text(page.read_text("utf-8").replace("</body>", asked + "</body>"), "utf-8")
    command = [
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
        *(f"--user-data-dir={tmp_path / 'browser'}", "--enable-logging=stderr", "--v=0"),
        *("--virtual-time-budget=2000", "--dump-dom", page.as_uri()),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    # a request would also be refused by the page's own policy, which says so on the console
    assert [line for line in result.stderr.splitlines() if ":CONSOLE" in line] == []
    dom = result.stdout
    urls = json.loads(html.unescape(re.search("<title>(.*?)</title>", dom)[1]))
    assert [url for url in urls if not url.startswith("data:")] == []
    assert dom.count('<article class="explained"') == 2
    assert len(re.findall(r'<article class="explained"[^>]*hidden', dom)) == 1  # the script shows one at a time
    assert 'aria-current="true"' in dom
    assert '<table class="sum">' in dom
