"""Claims about the page: whole, safe, and the same for whoever opens it."""

import base64
import dataclasses
import html
import io
import json
import re
import sys
from pathlib import Path

import pytest
from browser import open_browser
from PIL import Image, ImageFilter

from dissect import render_report
from dissect.comparing.figures import Accuracy, Comparison, Names, NetworkFigures, Sparsity
from dissect.explaining.checks import Checks, Stability, UnitCurves, UnitStability
from dissect.explaining.explanation import (
    Alternative,
    ClassScore,
    ExplainedLayer,
    Explanation,
    LayerShare,
    Sum,
    SwitchOff,
    UnitEffect,
    UnitName,
)
from dissect.explaining.sentence import further_words
from dissect.report import comparison_text, explanation_text
from dissect.report.terms import TERMS

MINUS = "\N{MINUS SIGN}"
EVIL = "<script>document.title = 'stolen'</script>\"'><img src=x onerror=alert(1)>"


def png(width: int = 64, height: int = 64, colour: str = "teal") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def effect(
    unit: int, to_lead: float, *, name: str = "red boat", exemplars: bytes | None = None, **changes
) -> UnitEffect:
    strip = png(526, 64) if exemplars is None else exemplars
    others, masks = (Alternative("white boat", 0.0625),), (((1.0, None), (0.5, -0.5)),) * 8
    named = UnitName(name, others, 0.25, 0.125, 0.375, strip, masks)
    values = {
        "unit": unit,
        "group": unit % 4,
        "competitor": unit // 4,
        "named": named if name else UnitName(exemplars=b""),
        "value": 1.5,
        "win_share": 0.25,
        "to_logit": 0.5 * to_lead,
        "to_lead": to_lead,
        "off": SwitchOff(0.5 * to_lead, to_lead, "harbour", 0.7),
        "where": ((1.5, None), (None, None)),
    }
    return UnitEffect(**{**values, **changes})


AT = ExplainedLayer("resnet18", "layer4.0.act2", width=8, competitors=2, rule="argmax", method="direct")


def explanation(**changes) -> Explanation:
    values = {
        "image": "pictures/harbour/1.png",
        "picture": png(),
        "at": AT,
        "classes": (ClassScore("harbour", 0.8, 2.0), ClassScore("beach", 0.2, 0.6)),
        "target": "harbour",
        "runner_up": "beach",
        "logit": Sum(2.0, 1.7, 0.1, 0.2, 0.0),
        "lead": Sum(1.4, 0.5, 0.6, 0.3, 0.0),
        "units": (effect(3, 1.25), effect(5, -0.75, off=SwitchOff(-0.4, -0.75, "beach", 0.55))),
        "together": SwitchOff(0.2, 0.75, "beach", 0.6),
        "random_lead": 0.125,
        "passed": 4,
        "deciding": 2,
        "truth": "harbour",
    }
    return Explanation(**{**values, **changes})


def comparison(**changes) -> Comparison:
    def network(name, competitors, accuracy, density):
        sparsity = Sparsity("layer4.0.act2", 8, "direct", density, 0.125, 0.375, 0.96, 0.11)
        rule = "argmax" if competitors > 1 else "nothing competes"
        return NetworkFigures(name, "resnet18", competitors, rule, accuracy, sparsity, 1234567, 0.51, 2**20, None)

    networks = (network("sparse", 2, Accuracy(0.91, 0.91, 0.88, 0.9), 0.5), network("dense", 1, Accuracy(0.9), None))
    return Comparison(**{"networks": networks, "data": "scenes/test", "images": 400, "samples": 8, "batch": 64,
                         "device": "CPU, 2 threads", **changes})  # fmt: skip


@pytest.fixture
def page(tmp_path: Path) -> Path:
    alone = dataclasses.replace(AT, competitors=1, rule="nothing competes")
    unit = effect(1, 0.4, group=None, competitor=None, win_share=None)
    twin = explanation(at=alone, units=(unit,), lead=Sum(1.4, 0.4, 0.7, 0.3, 0.0))
    second = explanation(image="pictures/2.png", truth="beach")
    pair = [explanation(), second], [twin, dataclasses.replace(twin, image="pictures/2.png")]
    return render_report(tmp_path / "report.html", pair[0], twins=pair[1], comparison=comparison())


def test_the_page_says_what_was_found(page):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.read_text("utf-8")))
    for words in (
        "harbour",
        "unit 3",
        "54 % of the lead of harbour over beach (+1.40) is carried by these 2 units, of 4 that won",
        f"harbour, because red boat +1.25, against red boat {MINUS}0.75",
        "name agrees 0.25 (0.12 to 0.38)",
        "or white boat, less like it by 0.06",
        "and the network says beach, 60 %.",
        "other winners off, drawn at random, the lead loses 0.12.",
        "+1.25",
        f"{MINUS}0.75",
        "value +1.50",
        "then beach , 55 %",
    ):
        assert words in text
    for words in (
        "it takes 2 of 8 units to make 90 % of what moved the lead",
        "lead over beach +1.40",
        "+0.60",
        "+0.30",
        "it shows: beach",
        "From this layer on the network is linear",
    ):
        assert words in text
    for words in ("Side by side", "91.0 %", "12.5 %", "37.5 %", "96.0 %", "1 234 567", "Its dense twin"):
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
        at=dataclasses.replace(AT, architecture=EVIL, layer=EVIL),
        truth=EVIL,
        target=EVIL,
        runner_up=EVIL,
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
    alone = explanation(units=(effect(0, 1.0, where=None, name=""),), truth="")
    text = render_report(tmp_path / "b.html", [alone]).read_text("utf-8")
    assert "unnamed" in text
    assert "Side by side" not in text


def test_every_number_on_the_page_is_a_field_of_the_json_beside_it(page):
    record = json.loads(page.with_suffix(".json").read_text("utf-8"))

    def leaves(value):
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        if parts is None:
            yield value
        else:
            yield len(parts)
            for part in parts:
                yield from leaves(part)

    known = set()
    for leaf in leaves(record):
        if isinstance(leaf, str):
            known |= set(re.findall(r"\d+(?:\.\d+)?", leaf))
        elif isinstance(leaf, int | float):
            for value in (abs(leaf), 100 * abs(leaf)):
                known |= {f"{value:.{digits}f}" for digits in (0, 1, 2)}
                known |= {f"{value + step:.2f}" for step in (-0.01, 0.01)}  # rounded so that it adds up
    body = re.sub(r"<(script|style|svg).*?</\1>", "", page.read_text("utf-8"), flags=re.DOTALL)
    text = re.sub(r"(?<=\d) (?=\d{3}\b)", "", html.unescape(re.sub(r"<[^>]*>", " ", body)))
    said = set(re.findall(r"\d+(?:\.\d+)?", text))
    constants = {"0", "90", "5", "95"}  # of the method: set to 0, 90 % of the lead, 5 % false discoveries
    assert said - known - constants == set()


def test_the_manual_names_every_field_of_an_explanation(repository):
    manual = (repository / "docs" / "explaining.md").read_text("utf-8")
    record = explanation().to_dict()
    assert {name for name in (*record, *record["at"], *record["units"][0]) if f"`{name}`" not in manual} == set()


def test_a_layer_that_carries_little_is_never_headed_what_decided(tmp_path):
    little = explanation(
        lead=Sum(4.4, -1.06, 0.0, 5.46, 0.0),
        together=SwitchOff(-1.0, -1.06, "harbour", 0.9),
        instead=LayerShare("decision", 0.97),
    )
    text = render_report(tmp_path / "p.html", [little]).read_text("utf-8").replace("\xa0", " ")
    assert "What decided" not in text
    assert "<h1>What the units of layer4.0.act2 did</h1>" in text
    said = explanation_text(little)
    words = "layer4.0.act2 does not explain this decision; decision does: its strongest units carry 97 % of the lead"
    assert words in text
    assert words in said
    assert f"together they carry {MINUS}24 % of its lead over beach" in said
    assert "What decided?" in render_report(tmp_path / "q.html", [explanation()]).read_text("utf-8")


def test_too_few_winners_for_a_random_set_are_told():
    few = dataclasses.replace(explanation(), random_lead=None, passed=3)
    assert "Too few other winners are left (1) to switch off as many at random." in further_words(few)


def test_what_first_order_misses_has_a_line_of_its_own(tmp_path):
    bent = explanation(at=dataclasses.replace(AT, method="gradient x activation"), lead=Sum(1.4, 0.5, 0.6, 0.1, 0.2))
    text = " ".join(re.sub(r"<[^>]*>", " ", render_report(tmp_path / "p.html", [bent]).read_text("utf-8")).split())
    assert "with the whole layer off +0.10 what the estimates miss +0.20 lead" in text
    assert "without this layer +0.10, missed by first order +0.20" in explanation_text(bent)


def test_names_cannot_speak_to_the_terminal_or_turn_the_page_around(tmp_path):
    evil = "\x1b]0;OWNED\x07\x1b[2J\nlwta: done \u202egnp"
    hostile = explanation(
        image=f"p/{evil}.png",
        classes=(ClassScore(evil, 0.8, 2.0), ClassScore("b" + evil, 0.2, 0.5)),
        target=evil,
        runner_up=evil,
        truth="b" + evil,
        at=dataclasses.replace(AT, layer=evil),
        units=(effect(0, 1.0, name=evil, off=SwitchOff(1.0, 1.0, evil, 0.5)),),
    )
    figures = comparison(names_differ=evil)
    figures = dataclasses.replace(figures, networks=(dataclasses.replace(figures.networks[0], name=evil),))
    page = render_report(tmp_path / "p.html", [hostile], comparison=figures, title=evil).read_text("utf-8")
    for text in (explanation_text(hostile), comparison_text(figures), page):
        assert not set("\x1b\x07\u202e") & set(text)
        assert "\nlwta: done" not in text
        assert r"\x1b[2J\nlwta: done \u202egnp" in text


def test_the_plot_is_inert_and_in_the_page_s_colours(tmp_path):
    figures = comparison()
    networks = tuple(dataclasses.replace(network, name=f"$x_1$ {EVIL}") for network in figures.networks)
    page = render_report(tmp_path / "p.html", comparison=dataclasses.replace(figures, networks=networks))
    text = page.read_text("utf-8")
    (plot,) = re.findall(r'<figure class="plot">(.*?)</figure>', text, flags=re.DOTALL)
    assert plot.count("&lt;script&gt;") == 2
    assert not re.search(r"<(script|image|foreignObject)|<[^>]*\son\w+=", plot)
    assert "currentColor" in plot
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", plot)


def test_notebooks_show_results_as_text_without_code():
    evil = explanation(target=EVIL, classes=(ClassScore(EVIL, 0.8, 2.0),), units=(effect(0, 1.0, name=EVIL),))
    figures = comparison(networks=tuple(dataclasses.replace(each, name=EVIL) for each in comparison().networks))
    for shown in (evil._repr_html_(), figures._repr_html_()):
        assert EVIL not in shown and "<img src=x" not in shown
        assert "&lt;script&gt;" in shown


def test_results_as_plain_values_and_as_tables(monkeypatch):
    assert [network["name"] for network in comparison().to_dict()["networks"]] == ["sparse", "dense"]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"Expected pandas for to_pandas\(\) .* pip install 'lwta\[pandas\]'"):
        explanation().to_pandas()
    monkeypatch.undo()
    pytest.importorskip("pandas", reason="needs pandas: lwta[pandas]")
    assert list(explanation().to_pandas()["to_lead"]) == [1.25, -0.75]
    assert list(comparison().to_pandas()["accuracy"]) == [0.91, 0.9]


def test_where_the_dense_network_is_ahead_the_page_says_so_first(page, tmp_path):
    assert "is right more often" not in page.read_text("utf-8")
    sparse, dense = comparison().networks
    ahead = comparison(networks=(sparse, dataclasses.replace(dense, accuracy=Accuracy(0.935))))
    text = render_report(tmp_path / "q.html", [explanation()], comparison=ahead).read_text("utf-8").replace("\xa0", " ")
    said = "The network without competition, dense, is right more often: 93.5 % of 400 pictures, sparse 91.0 %."
    assert said in text[: text.index("<article")]
    text = render_report(tmp_path / "r.html", comparison=ahead).read_text("utf-8").replace("\xa0", " ")
    assert said in text[: text.index("<section")]


def test_a_renamed_unit_says_so_and_which_name_the_figures_are_of(tmp_path):
    named = dataclasses.replace(effect(0, 1.0).named, name="jetty", was="red boat")
    page = render_report(tmp_path / "p.html", [explanation(units=(effect(0, 1.0, named=named),))])
    text = " ".join(re.sub(r"<[^>]*>", " ", page.read_text("utf-8")).split())
    assert "jetty unit 0 · renamed · value +1.50" in text
    assert "the name that was found, red boat, agrees 0.25" in text


def test_every_column_of_the_checks_says_what_it_means(tmp_path):
    steady = UnitStability(0.5, 0.75, 1.0)
    curves = UnitCurves((0, 1, 2), (0.8, 0.5, 0.1), (0.2, 0.6, 0.8), 0.4, 0.55, 0.5, 0.5, 1, 2)
    checked = explanation(checks=Checks(curves, Stability((steady, steady), steady)))
    text = render_report(tmp_path / "p.html", [checked]).read_text("utf-8")
    headers = re.findall(r'<th scope="col">(.*?)</th>', text)
    assert len(headers) == 7
    assert all(re.search(r'class="term" aria-describedby="word-\d+">', header) for header in headers)


def luminance(colour: str) -> float:
    """Of sRGB, as WCAG 2 has it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(text: str, ground: str) -> float:
    low, high = sorted((luminance(text), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_from_every_ground_in_both_schemes(repository):
    css = (repository / "dissect" / "report" / "page.css").read_text("utf-8")
    light, dark = (dict(re.findall(r"--(\w+): (#\w+);", part)) for part in re.findall(r":root \{([^}]*)\}", css))
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", css)
    coloured = [(re.findall(r"(?<![\w-])color: ([^;]+);", body), re.findall(r"background: ([^;]+);", body), selector)
                for selector, body in rules]  # fmt: skip
    grounds = {"ground", "card", "track", "alert"}  # what text stands on
    for scheme in (light, light | dark):

        def known(value, scheme=scheme):
            name = re.fullmatch(r"var\(--(\w+)\)", value)
            return scheme[name[1]] if name else value[:7] if value.startswith("#") else value

        for colours, backgrounds, selector in coloured:
            for colour in map(known, colours):
                if colour in ("inherit", "currentColor") or ".fill" in selector:  # a bar's own colour, not of text
                    continue
                behind = [known(background) for background in backgrounds if " " not in background.strip()]
                for ground in behind or [scheme[name] for name in grounds]:
                    assert contrast(colour, ground) >= 4.5, (selector.strip(), colour, ground)
        assert contrast(scheme["ink"], scheme["ground"]) > 7
    faded = [selector.strip() for selector, body in rules if re.search(r"(?<![\w-])opacity: 0?\.\d", body)]
    drawn = ("::after", ".regions", ".where", ".range i", ".range u")  # pictures and marks, never text
    assert all(any(part in selector for part in drawn) for selector in faded), faded


def test_every_column_of_the_comparison_says_what_it_means(tmp_path):
    text = render_report(tmp_path / "p.html", comparison=comparison()).read_text("utf-8")
    headers = re.findall(r'<th scope="col">(.*?)</th>', text)
    explained = dict(re.findall(r'<dd id="(word-\d+)">(.*?)</dd>', text))
    found = [re.search(r'class="term" aria-describedby="(word-\d+)">', header) for header in headers]
    assert [header for header, word in zip(headers, found, strict=True) if word is None] == ["Network", "Network"]
    assert all(explained[word[1]] for word in found if word)


def test_no_word_must_be_looked_up(page, tmp_path):
    bent = dataclasses.replace(explanation(), lead=Sum(1.4, 2.5, -1.4, 0.3, 0.0), random_lead=2.0)
    other = render_report(tmp_path / "q.html", [bent]).read_text("utf-8")
    assert "Read with care" in other
    for text in (page.read_text("utf-8"), other):
        seen = re.sub(r"<[^>]*>", " ", re.sub(r"<(style|script).*?</\1>", "", text, flags=re.DOTALL)).lower()
        assert not {"margin", "stated", "draws"} & set(re.findall(r"[a-z]+", seen))


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
    line = "sparse 2 91.0 % 91.0 % 88.0 % 90.0 % layer4.0.act2 50.0 % 12.5 % 37.5 % 96.0 % (11 %) 0.51 1.0 1 234 567"
    assert table[1].split() == line.split()


def test_the_comparison_counts_named_and_unnamed_units_a_layer_and_says_where_counts_do_not_compare(tmp_path):
    names = Names("layer4.0.act2", {"named": 2, "weak": 1, "chance": 4, "rival": 1, "too few images": 0}, distinct=2)
    sparse, dense = comparison().networks
    figures = comparison(networks=(dataclasses.replace(sparse, names=(names,)), dense), names_differ="encoder")
    *_, header, line, warning = comparison_text(figures).splitlines()
    assert (
        " ".join(header.split()) == "network layer units named unnamed: weak chance rival too few images distinct names"
    )
    assert line.split() == ["sparse", "layer4.0.act2", "8", "2", "(25", "%)", "1", "4", "1", "0", "2"]
    assert warning == "  The dissections differ in their encoder: these counts are no comparison."
    page = render_report(tmp_path / "p.html", comparison=figures).read_text("utf-8")
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "sparse layer4.0.act2 8 2 25 % 1 4 1 0 2" in text.replace("\u202f", " ").replace("\xa0", " ")
    assert "differ in their encoder: these counts are no comparison" in text
    assert "Units with a name" not in render_report(tmp_path / "q.html", comparison=comparison()).read_text("utf-8")


def test_a_browser_opens_it_without_errors_or_requests(page, chromium, tmp_path):
    with open_browser(chromium, tmp_path / "browser") as tab:
        tab.open(page.as_uri())
        dom = tab.evaluate("document.documentElement.outerHTML")
        means = "document.querySelector('.tip')?.textContent ?? ''"
        for event in ("pointerover", "focusin", "click"):  # a mouse, the keyboard, a finger
            word = "document.querySelector('.explained .term')"
            tab.evaluate(f"{word}.dispatchEvent(new Event('{event}', {{bubbles: true}}))")
            assert tab.evaluate(means) == TERMS["lead"]
            tab.evaluate("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))")
            assert tab.evaluate(means) == ""
        found = "[...document.querySelectorAll('.pictures a:not([hidden])')].map((link) => link.hash).join()"
        for name, value, pictures in (
            *(("answer", "wrong", "#picture-2"), ("shows", "harbour", "#picture-1"), ("says", "beach", "")),
            ("order", "sure", "#picture-1,#picture-2"),
        ):
            tab.evaluate(f"""(() => {{ const field = document.querySelector('[name="{name}"]');
                if (field.tagName === "SELECT" && ![...field.options].some((o) => o.value === "{value}"))
                    field.add(new Option("{value}"));
                field.value = "{value}"; field.dispatchEvent(new Event("input", {{bubbles: true}})); }})()""")
            assert tab.evaluate(found) == pictures
            if pictures:
                shown = tab.evaluate("document.querySelector('.explained:not([hidden])').id")
                assert shown == pictures.split(",")[0][1:]
            tab.evaluate("document.querySelector('.filters').reset()")
    assert tab.console == []  # a request would also be refused by the page's own policy, which says so there
    assert [url for url in tab.requests if not url.startswith("data:")] == [page.as_uri()]
    assert dom.count('<article class="explained"') == 2
    assert len(re.findall(r'<article class="explained"[^>]*hidden', dom)) == 1  # the script shows one at a time
    assert 'aria-current="true"' in dom
    assert '<table class="sum">' in dom
