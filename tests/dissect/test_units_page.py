"""Claims about the page of units: everything known of each, found by word and by address, safe and quick to open."""

import dataclasses
import io
import json
import re

import pytest
from browser import open_browser
from PIL import Image

from dissect.explaining.at_random import AtRandom
from dissect.explaining.unit_entries import Histogram, UnitEntry
from dissect.naming.description import Candidate, Description
from dissect.naming.evidence import Evidence
from dissect.report.units import lines_of, render_units

EVIL = "</script><script>document.title = 'stolen'</script>\"'><img src=x onerror=alert(1)>"
WORDS = ("red boat", "white boat", "grass", "sand")


def strip(tiles: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (66 * tiles - 2, 64), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def entry(unit: int, name: str = "red boat", *, layer: str = "decision", r: float = 0.5, **changes) -> UnitEntry:
    evidence = Evidence(r, r - 0.125, r + 0.125, 0.3, 0.001, 0.002)
    others = (Candidate(name or "grass", 0.5, "claims"), Candidate("lake", 0.25, "claims"))
    about = Description(layer, unit, name, 0.5, 0.0625, 1.5, 40, others, 0.25, evidence if name else None)
    mask = ((1.0, None), (0.0, -0.5))
    values = {
        "description": about,
        "histogram": Histogram(-0.5, 2.0, (3, 0, 6)),
        "alike": 0.375,
        "rivals": ((unit + 1, "sand"),),
        "group_size": 8,
        "votes": (("harbour", 1.25), ("farm", -0.75)),
        "exemplars": strip(),
        "masks": (mask,) * 8,
    }
    return UnitEntry(**{**values, **changes})


def entries() -> list[UnitEntry]:
    named = [entry(i, WORDS[i % 3], r=0.125 * (i % 5 + 1)) for i in range(12)]
    other = entry(0, "sand", layer="layer4.0.act2", votes=(), rivals=(), group_size=1)
    return [*named, other, entry(12, "", alike=None, histogram=None, exemplars=b"", masks=())]


def test_a_name_given_by_hand_stands_first_and_is_said_to_be_one(tmp_path):
    renamed = [entry(0, given="jetty"), entry(1, "", given="kite"), entry(2)]
    text = render_units(tmp_path / "units.html", renamed).read_text("utf-8")
    assert "3 of 3 units have a name" in text and "2 of these names were given by hand" in text
    names = re.findall(r'<summary>.*?<span class="name">(.*?)</span>', text)
    assert names == ["red boat", "jetty", "kite"]  # the first with an agreement of its own
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    assert (
        "jetty unit 0 of decision renamed by hand; the figures below are of the name that was found: red boat" in words
    )
    assert "kite unit 1 of decision renamed by hand; no name was found" in words
    assert words.count("renamed by hand") == 2
    assert 'data-words="jetty red boat' in text


def test_what_is_known_of_a_unit_stands_on_the_page_and_in_the_json(tmp_path):
    page = render_units(tmp_path / "units.html", entries())
    text = " ".join(re.sub(r"<[^>]*>", " ", page.read_text("utf-8")).split())
    for words in (
        "13 of 14 units have a name",
        "red boat unit 0 of decision",
        "harbour +1.25 , farm \N{MINUS SIGN}0.75",
        "sand and 6 more",
        "6.2 % of the places, on 40 pictures",
        "0.12 (0.00 to 0.25)",
        "lake",
        "no name: they speak on too few pictures to tell",
    ):
        assert words in text, words
    record = json.loads((tmp_path / "units.json").read_text("utf-8"))
    assert record["units"][0]["anchor"] == "decision/0"
    assert record["units"][0]["votes"] == [["harbour", 1.25], ["farm", -0.75]]
    assert record["units"][0]["description"]["evidence"]["predictability"] == 0.125
    assert len(record["units"]) == 14


def test_each_describer_has_its_words_once_and_by_itself(tmp_path):
    one = entry(0)
    words = [("claims", "red boat"), ("claims", "lake"), ("dnd", "red boat"), ("dnd", "red boat"), ("milan", "sea")]
    said = tuple(Candidate(word, 0.5, method) for method, word in words)
    several = dataclasses.replace(one, description=dataclasses.replace(one.description, candidates=said))
    for shown, expected in ((one, ["lake"]), (several, ["claims: lake", "dnd: red boat", "milan: sea"])):
        text = render_units(tmp_path / "units.html", [shown]).read_text("utf-8")
        assert re.findall("<div>([^<]*)</div>", text.partition("other words")[2].partition("</dd>")[0]) == expected


def test_several_meanings_are_shown_with_their_weights(tmp_path):
    """Where a name was fitted; the words of other describers stand by themselves."""
    said = (("lwta", "red boat", 0.5), ("lwta", "lake", 0.25), ("dnd", "lake", 3.0))
    fitted = tuple(Candidate(word, weight, method) for method, word, weight in said)
    about = dataclasses.replace(entry(0).description, candidates=fitted)
    page = render_units(tmp_path / "units.html", [dataclasses.replace(entry(0), description=about)])
    text = " ".join(re.sub(r"<[^>]*>", " ", page.read_text("utf-8")).split())
    assert "meanings red boat 0.50 + lake 0.25 other words dnd: lake" in text
    alone = dataclasses.replace(about, candidates=fitted[:2])
    page = render_units(tmp_path / "units.html", [dataclasses.replace(entry(0), description=alone)])
    assert "<dt>other words" not in re.sub(r"</?(abbr|button|span)[^>]*>", "", page.read_text("utf-8"))
    assert dataclasses.replace(about, description="lake").meanings == (), "the name is another describer's"


def test_how_random_weights_fared_stands_beside_every_figure(tmp_path):
    random = AtRandom(units=40, named=3, agreements=tuple(i / 100 for i in range(40)), alike=0.25)
    assert random.high == 0.37  # 19 of 20 stay below
    page = render_units(tmp_path / "units.html", entries(), at_random={"decision": random})
    text = " ".join(re.sub(r"<[^>]*>", " ", page.read_text("utf-8")).split())
    assert "decision 12 of 13 units have a name; with random weights 3 of 40" in text
    assert "layer4.0.act2 1 of 1 units have a name " in text
    assert "0.12 (0.00 to 0.25) · at random weights 0.37" in text
    assert "0.38 · at random weights 0.25" in text
    record = json.loads((tmp_path / "units.json").read_text("utf-8"))
    assert record["at_random"]["decision"]["high"] == 0.37
    assert "lwta describe --beside-random" in render_units(tmp_path / "alone.html", entries()).read_text("utf-8")


def test_units_of_one_name_share_a_line_the_surest_first():
    lines = lines_of(entries())
    found = [(line.name, len(line.entries), line.best) for line in lines]
    assert found == [
        ("red boat", 4, 0.625), ("white boat", 4, 0.625), ("grass", 4, 0.5), ("sand", 1, 0.5), ("", 1, 0.0),
    ]  # fmt: skip
    assert lines[-1].why == "too few images"


def test_names_are_text(tmp_path):
    evil = entry(0, EVIL, layer="decision", votes=((EVIL, 1.0),), rivals=((1, EVIL),))
    text = render_units(tmp_path / "p.html", [evil], made={EVIL: EVIL}).read_text("utf-8")
    assert EVIL not in text
    assert "<img src=x" not in text
    assert text.count("<script>") == 1


def test_search_filters_and_addresses_find_units(tmp_path, chromium):
    page = render_units(tmp_path / "units.html", entries())
    with open_browser(chromium, tmp_path / "browser") as tab:
        tab.open(page.as_uri() + "#layer4.0.act2/0")
        assert tab.evaluate("document.getElementById('layer4.0.act2/0').closest('details').open")
        assert tab.evaluate("document.querySelector('output').textContent") == "14 of 14 units"
        choose = """((name, value) => { const field = document.querySelector(`[name="${name}"]`); field.value = value;
            field.dispatchEvent(new Event("input", {bubbles: true})); })"""
        shown = "[...document.querySelectorAll('.known:not([hidden])')].map((unit) => unit.id)"
        for name, value, found in (
            ("words", "BOAT white", [f"decision/{i}" for i in (4, 1, 7, 10)]),
            ("words", "unit 11", ["decision/11"]),
            ("layer", "layer4.0.act2", ["layer4.0.act2/0"]),
            ("r", "0.5", [f"decision/{i}" for i in range(12) if i % 5 >= 3] + ["layer4.0.act2/0"]),
            ("class", "harbour", [f"decision/{i}" for i in range(13)]),
        ):
            tab.evaluate(f"{choose}({json.dumps(name)}, {json.dumps(value)})")
            assert sorted(tab.evaluate(shown)) == sorted(found)
            assert tab.evaluate("document.querySelector('output').textContent") == f"{len(found)} of 14 units"
            tab.evaluate("document.querySelector('form').reset()")
        assert [url for url in tab.requests if not url.startswith(("data:", "file:"))] == []
        assert tab.console == []


def test_every_control_has_a_name_and_pages_link_to_one_another(tmp_path, chromium):
    page = render_units(tmp_path / "units.html", entries(), pages={"Pictures": "a report.html", "Units": "units.html"})
    with open_browser(chromium, tmp_path / "browser") as tab:
        tab.open(page.as_uri())
        tree = tab.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"searchbox", "combobox", "link", "image", "search"}
    named = {role: [] for role in roles}
    for node in tree:
        role = node.get("role", {}).get("value")
        if role in roles and not node["ignored"]:
            named[role].append(node.get("name", {}).get("value", ""))
    assert named["searchbox"] == ["Search"]
    assert len(named["combobox"]) == 3 and all(named["combobox"])
    assert all(named["link"]) and all(named["image"])
    text = page.read_text("utf-8")
    assert '<a href="a%20report.html">Pictures</a>' in text
    assert '<a href="units.html" aria-current="page">Units</a>' in text


@pytest.mark.slow
def test_two_thousand_units_stay_below_10_mb_and_none_is_an_error(tmp_path):
    many = [entry(i, f"name {i // 3}") for i in range(2100)]
    page = render_units(tmp_path / "units.html", many)
    assert page.stat().st_size < 10e6
    assert page.read_text("utf-8").count('class="known"') == 2100
    with pytest.raises(ValueError, match="Expected units to show but got none"):
        render_units(tmp_path / "none.html", [])


def test_a_page_is_replaced_whole_or_not_at_all(tmp_path):
    page = render_units(tmp_path / "units.html", entries())
    before = page.read_text("utf-8")
    broken = dataclasses.replace(entries()[0], exemplars=b"no picture")
    with pytest.raises(OSError, match="cannot identify"):
        render_units(page, [broken])
    assert page.read_text("utf-8") == before
