"""Checks that what the documents point at exists: links between pages with the headings that they name,
and paths of the repository in backticks."""

import re
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
TOP = "gateway|config|plugins|loadtest|benches|docs|helm|scripts"


def targets(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if "://" not in link:
            yield link, (page.parent / link)
    for path in re.findall(rf"`((?:{TOP})/[\w./-]+)`", text):
        if "NAME" not in path:
            yield path, ROOT / path
    # A decision's table of duties names test files without their folder.
    for row in re.findall(r"^\|.*\| ((?:`\w+\.rs`(?:, )?)+) \|$", text, re.M):
        if page.parent.name == "decisions":
            for name in re.findall(r"`(\w+\.rs)`", row):
                yield name, ROOT / "gateway" / "tests" / "whole" / name


@cache
def headings(page):
    """The names that links know the headings of a page by: those that Git forges make of them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    plain = [re.sub(r"[^\w\- ]", "", one.lower()) for one in re.findall(r"^#+ (.*)$", text, re.M)]
    return {one.strip().replace(" ", "-") for one in plain}


def named_headings(page):
    for link, heading in re.findall(r"\]\(([^)#]*)#([^)]+)\)", page.read_text()):
        target = page.parent / link if link else page
        if "://" not in link and target.suffix == ".md" and target.exists():
            yield f"{link}#{heading}", heading in headings(target.resolve())


def main():
    missing = [
        f"{page.relative_to(ROOT)}: {named} does not exist"
        for page in PAGES
        for named, is_there in [
            *((named, target.exists()) for named, target in targets(page)),
            *named_headings(page),
        ]
        if not is_there
    ]
    print("\n".join(missing) or "every link and path of the documents exists")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
