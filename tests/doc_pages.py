"""The blocks of the pages in `docs`."""

import re
from pathlib import Path

PAGES = Path(__file__).parent.parent / "docs"


def blocks(text):
    """Return the Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def has_a_name(block):
    """Whether a block begins with the name of a file: such files are used together, by tests of their own."""
    return re.match(r"# (\w+)\.py", block)


def named_blocks():
    """Return the blocks that begin with the name of a file, by module."""
    pages = (page.read_text(encoding="utf-8") for page in sorted(PAGES.glob("*.md")))
    named = ((has_a_name(block), block) for page in pages for block in blocks(page))
    return {name[1]: block for name, block in named if name}
