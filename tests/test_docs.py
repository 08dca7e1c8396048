"""What is written holds: every relative link leads somewhere, every recipe says the command that runs it."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
WRITTEN_BY_US = ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "configs/**/*.md", "tests/**/*.md")
PAGES = sorted({page for pattern in WRITTEN_BY_US for page in ROOT.glob(pattern)})
RECIPES = sorted((ROOT / "configs" / "train").rglob("*.yaml"))


def prose(page: Path) -> str:
    """The page without its code, where brackets mean other things."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "`", text)


def links(page: Path) -> list[str]:
    text = prose(page)
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    named = re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    html = re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return [link for link in (*inline, *named, *html) if not re.match(r"[a-z][a-z0-9+.-]*:", link)]


def anchors(page: Path) -> set[str]:
    """The names that a page's headings answer to, by GitHub's rule."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    seen: dict[str, int] = {}
    names = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        names.add(f"{slug}-{count}" if count else slug)
    return names


def why_dead(page: Path, link: str) -> str:
    """Why a relative link leads nowhere, or nothing."""
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT):
        return "leaves the repository"
    if not target.exists():
        return "no such file"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return f"no such heading in {target.name}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    dead = {link: why for link in links(page) if (why := why_dead(page, link))}
    assert not dead


def test_dead_links_are_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# One `idea`, [here](x)\n"
        "[a](page.md#one-idea-here) [b](gone.md) [c](#two) [d](../out.md)\n"
        "```\n[e](no.md)\n```\n"
    )
    assert {link: why_dead(page, link) for link in links(page) if link != "x"} == {
        "page.md#one-idea-here": "",
        "gone.md": "no such file",
        "#two": "no such heading in page.md",
        "../out.md": "leaves the repository",
    }


def test_there_are_recipes():
    assert RECIPES, "Expected YAML files below configs/train but got none"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_each_recipe_says_the_command_that_runs_it(recipe):
    head = re.match(r"(?:#[^\n]*\n)*", recipe.read_text("utf-8")).group()
    command = rf"lwta (fit|test|validate|predict) .*-c configs/{recipe.relative_to(ROOT / 'configs').as_posix()}"
    assert re.search(command, head), (
        f"Expected a comment with `lwta fit -c configs/train/{recipe.name} ...` at the top but got:\n{head}"
    )


def test_every_benchmark_can_be_run_quickly():
    """`make bench` runs every script that has a main, with --quick."""
    scripts = {path.name: path.read_text("utf-8") for path in (ROOT / "benchmarks").glob("*.py")}
    assert [name for name, code in scripts.items() if "__main__" in code and '"--quick"' not in code] == []
