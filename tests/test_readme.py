"""Every program in the README and the guides runs, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
]


def test_there_are_programs_to_run() -> None:
    assert len(PROGRAMS) >= 8


@pytest.mark.parametrize("code", PROGRAMS)
def test_a_program_of_the_guides_runs(code: str) -> None:
    exec(compile(code, "guide", "exec"), {"__name__": "guide"})


def test_every_link_of_the_guides_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert link.startswith("http") or (page.parent / link).exists(), (page.name, link)
