"""The named blocks of the pages in `docs`."""

import re
from pathlib import Path

PAGES = Path(__file__).parent.parent / "docs"


def named_blocks():
    """Return the blocks that begin with the name of a file, by module."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted(PAGES.glob("*.md")))
    return dict(re.findall(r"```python\n(?=# (\w+)\.py)(.*?)```", text, re.DOTALL))
