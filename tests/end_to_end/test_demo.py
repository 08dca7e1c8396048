"""Claims about the demo: the whole stream, the same figures each time, and nobody's files lost."""

import html
import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from dissect import Dissection
from lwta.commands import compare
from lwta.commands import demo as lwta_demo
from lwta.commands import explain as lwta_explain
from lwta.commands.demo import QUICK, Settings, demo, run_demo
from lwta.commands.explain import explain
from lwta.commands.units import units as lwta_units
from lwta.demo_folder import MADE, PAGES, alone_in, make_room
from lwta.demo_networks import make_network

TINY = Settings(train=32, probe=48, test=20, epochs=1, explained=2)


def without_times(figures: dict) -> dict:
    networks = [
        {key: value for key, value in network.items() if key not in ("milliseconds", "training_seconds")}
        for network in figures["comparison"]["networks"]
    ]
    explained = [{k: v for k, v in each.items() if k != "image"} for each in figures["explanations"] + figures["twins"]]
    return {"networks": networks, "explained": explained}


def make_one_after_the_other(out, scenes, settings):
    """As `make_both`, in this process: what is claimed of the two processes takes minutes."""
    for name in ("dense", "sparse"):
        make_network(name, out, scenes, settings)
        yield name


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lwta_demo, "make_both", make_one_after_the_other)
        return out, run_demo(out, TINY)


def test_one_stream_from_scenes_to_the_page(tiny):
    out, figures = tiny
    assert all((out / name).exists() for name in MADE)
    sparse, dense = figures["comparison"]["networks"]
    assert (sparse["competitors"], dense["competitors"]) == (64, 1)
    assert sparse["sparsity"]["density"] == 1 / 64  # one winner a place
    assert sparse["sparsity"]["method"] == dense["sparsity"]["method"] == "direct"
    assert "sparse at decision, dense at layer4.0.act2" in figures["comparison"]["remarks"][0]
    assert sparse["training_seconds"] > 0
    page = (out / "report.html").read_text("utf-8")
    assert page.count('<article class="explained"') == 2
    assert "Its dense twin" in page
    assert "Side by side" in (out / "networks.html").read_text("utf-8")
    assert 'class="strip shown"' in page
    assert 'class="regions"' in page
    assert 'role="switch"' in page
    for found in figures["explanations"]:  # a decision is the bias and the votes of its winners
        assert found["at"]["decision"]
        assert abs(found["lead"]["missed"]) < 1e-4


def test_the_pages_of_a_demo_link_to_one_another_and_to_nothing_else(tiny):
    out, figures = tiny
    pages = {page: (out / page).read_text("utf-8") for page in PAGES.values()}
    for page, text in pages.items():
        links = set(re.findall(r'<a[^>]* href="([^"#]+)', text))
        assert links == set(PAGES.values()), page
        assert "default-src 'none'" in text
    unit = figures["explanations"][0]["units"][0]["unit"]
    assert f'<a href="units.html#decision/{unit}">' in pages["report.html"]
    assert f'id="decision/{unit}"' in pages["units.html"]
    assert "npm pack onnxruntime-web" in pages["live.html"]  # how the network gets into it


def test_units_are_shown_with_and_without_their_network(tiny, tmp_path, capsys):
    out, _ = tiny
    page, names = tmp_path / "units.html", out / "names-sparse"
    lwta_units(names, out=page)
    assert "competes with</button>" in page.read_text("utf-8") and "votes</button>" in page.read_text("utf-8")
    first = json.loads(page.with_suffix(".json").read_text("utf-8"))["units"][0]
    assert first["group_size"] == 64 and len(first["votes"]) == 6
    assert 0 < sum(first["histogram"]["counts"]) <= TINY.probe
    alone = tmp_path / "names"
    shutil.copytree(names, alone)
    (alone / "model.json").unlink()
    lwta_units(alone, out=page)
    assert "Rivals and votes are left out, since the network is not at hand" in capsys.readouterr().out
    assert "competes with</button>" not in page.read_text("utf-8")


def test_the_notebook_runs_on_a_demo(tiny, repository, monkeypatch):
    monkeypatch.chdir(tiny[0].parent)
    notebook = json.loads((repository / "docs" / "notebooks" / "explaining.ipynb").read_text("utf-8"))
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec(compile(cell["source"], "explaining.ipynb", "exec"), names)
    shown = names["explanation"]._repr_html_()
    assert names["explanation"].units[0].label in html.unescape(shown)
    assert "units are named" in names["dissection"]._repr_html_()
    assert "<script" not in shown


def test_results_are_tables(tiny):
    pandas = pytest.importorskip("pandas", reason="needs pandas: lwta[pandas]")
    dissection = Dissection.open(tiny[0] / "names-sparse")
    frame = dissection.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 64 and list(frame["unit"]) == list(range(64))
    assert set(frame["outcome"]) <= {"named", "weak", "chance", "rival", "too few images"}


@pytest.mark.slow
def test_networks_made_in_processes_of_their_own_have_the_figures_of_one_after_the_other(tiny, tmp_path):
    again = run_demo(tmp_path / "again", TINY)
    assert without_times(again) == without_times(tiny[1])


def test_a_finished_demo_is_shown_and_not_made_again(tiny, capsys):
    out, figures = tiny
    before = (out / "report.html").stat().st_mtime_ns
    assert run_demo(out, TINY) == figures
    assert "This demo was made before; --overwrite makes it anew." in capsys.readouterr().out
    assert (out / "report.html").stat().st_mtime_ns == before


def test_a_demo_of_other_settings_is_kept_unless_overwrite_is_said(tiny):
    with pytest.raises(FileExistsError, match=r"Expected a new folder but .* holds a demo of other settings"):
        run_demo(tiny[0], QUICK)
    assert (tiny[0] / "report.html").is_file()


def test_a_folder_of_somebody_else_is_never_touched(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "holiday.jpg").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="Expected a new or empty folder, or a demo's, but got"):
            demo(tmp_path, quick=True, overwrite=overwrite)
    assert (tmp_path / "scenes" / "holiday.jpg").read_text() == "mine"


def test_making_room_removes_what_a_demo_made_and_nothing_else(tmp_path):
    make_room(tmp_path, asdict(TINY), overwrite=False)
    (tmp_path / "scenes").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    make_room(tmp_path, asdict(TINY), overwrite=False)  # unfinished: no report yet
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.json", "notes.txt"]


def test_a_second_demo_at_work_in_the_same_folder_is_refused_and_takes_nothing(tmp_path):
    out = tmp_path / "demo"
    with alone_in(out):
        make_room(out, asdict(TINY), overwrite=False)
        (out / "scenes").mkdir()
        with pytest.raises(FileExistsError, match=r"Expected to be alone on .* but another demo is at work there"):
            run_demo(out, TINY, overwrite=True)
        assert (out / "scenes").is_dir()
    with alone_in(out):  # free again
        pass


def test_the_demo_s_folders_serve_the_commands(tiny, tmp_path, capsys):
    out, figures = tiny
    (tmp_path / "broken.png").touch()
    picture = sorted((out / "scenes" / "test").rglob("*.png"))[0]
    page = tmp_path / "page.html"
    explain([str(picture), str(tmp_path / "broken.png")], out / "names-sparse", twin=str(out / "names-dense"), out=page)
    said = capsys.readouterr().out
    assert f"skipped {tmp_path / 'broken.png'}: 0 bytes" in said
    assert figures["explanations"][0]["predicted"] in said
    assert "Its dense twin" in page.read_text("utf-8")
    with pytest.raises(ValueError, match=r"Expected a dissected layer .* but got 'decison', did you mean 'decision'"):
        explain([str(picture)], out / "names-sparse", layer="decison", out=page)
    with pytest.raises(ValueError, match=r"Expected the network that .* describes but got .*dense"):
        explain([str(picture)], out / "names-sparse", model=str(out / "dense"), out=page)
    with pytest.raises(FileNotFoundError, match=r"Expected .* an image, .* but got 'gone\.png'"):
        explain(["gone.png"], out / "names-sparse", out=page)


def test_the_commands_take_what_the_manual_says(tiny, tmp_path, capsys):
    out, _ = tiny
    page = tmp_path / "side-by-side.html"
    runs = [str(out / "sparse"), str(out / "dense")]
    assert compare.main([*runs, "--data", str(out / "scenes" / "test"), "--limit", "12", "--out", str(page)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:3]] == ["network", "sparse", "dense"]
    assert "Side by side" in page.read_text("utf-8")
    runs = [str(out / "names-sparse"), str(out / "names-dense")]  # dissections: named and unnamed units are counted too
    assert compare.main([*runs, "--data", str(out / "scenes" / "test"), "--limit", "12", "--out", str(page)]) == 0
    said = capsys.readouterr().out.split("\n\n")
    counted, decided = (
        [line.split() for block in said if head in block for line in block.splitlines() if line.startswith("  names-")]
        for head in ("unnamed:", "90 % of the lead")
    )
    assert [line[0] for line in counted] == ["names-sparse", "names-dense"]
    assert [line[0] for line in decided] == ["names-sparse"]  # the one that ends in a decision layer
    for _, _, units, named, _, _, *unnamed, distinct in counted:
        assert int(units) == sum(map(int, (named, *unnamed))) and int(distinct) <= int(named)
    assert "Units with a name" in page.read_text("utf-8")
    folder = str(out / "scenes" / "test" / "beach")
    options = ["--dissection", str(out / "names-sparse"), "--top", "3", "--out", str(tmp_path / "page.html")]
    assert lwta_explain.main([folder, *options]) == 0
    assert "With these 3 units off the lead loses" in capsys.readouterr().out


@pytest.mark.slow
def test_the_quick_demo_learns_and_says_so(tmp_path, capsys):
    figures = run_demo(tmp_path / "demo", QUICK)
    sparse, dense = figures["comparison"]["networks"]
    assert sparse["accuracy"]["saved"] > 0.5
    assert dense["accuracy"]["saved"] > 0.5
    assert sparse["sparsity"]["effective_density"] < dense["sparsity"]["effective_density"]
    assert re.search(r"Done in .*\. The page is .*report\.html", capsys.readouterr().out)
