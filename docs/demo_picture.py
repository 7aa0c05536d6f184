"""Draw what `hindsight-async demo` leaves in a terminal of 80 columns: `python docs/demo_picture.py`.

It runs the program that lies beside this Python, in a terminal of its own, and writes `images/demo.svg`.
"""

import os
import pty
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLUMNS, LINES = 80, 200
COMMAND = "hindsight-async demo"
PICTURE = Path(__file__).parent / "images" / "demo.svg"
STANDARD_COLOURS = {"brown": "yellow"}
"""What a terminal calls otherwise than the library that draws."""


def output_in_a_terminal() -> bytes:
    """Run the demo and return all that it wrote to its terminal."""
    master, slave = pty.openpty()
    program, *arguments = COMMAND.split()
    command = [str(Path(sys.executable).parent / program), *arguments]
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": str(LINES), "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:  # noqa: S603
        os.close(slave)
        written = b""
        try:
            while piece := os.read(master, 65536):
                written += piece
        except OSError:  # which is how Linux says that nobody has the terminal open any more
            pass
    os.close(master)
    if process.returncode != 0:
        sys.exit(f"{COMMAND} ended with {process.returncode}:\n{written.decode(errors='replace')}")
    return written


def style_of(cell: Char) -> Style:
    """Return a cell's look in the terms of the library that draws."""
    colour = STANDARD_COLOURS.get(cell.fg, cell.fg)
    if re.fullmatch("[0-9a-f]{6}", colour):
        colour = f"#{colour}"
    colour = re.sub("^bright(?!_)", "bright_", colour)
    return Style(color=colour, bold=cell.bold, italic=cell.italics)


def screen_of(written: bytes) -> list[Text]:
    """Return the lines that are seen once everything was written, redrawn ones as they were last."""
    screen = pyte.Screen(COLUMNS, LINES)
    pyte.ByteStream(screen).feed(written)
    lines: list[Text] = []
    for row in range(LINES):
        line = Text()
        for style, cells in groupby((screen.buffer[row][column] for column in range(COLUMNS)), style_of):
            line.append("".join(cell.data for cell in cells), style)
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def main() -> None:
    """Run the demo and write the picture."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text.assemble(("$ ", "dim"), COMMAND))
        for line in screen_of(output_in_a_terminal()):
            console.print(line, no_wrap=True)
        svg = console.export_svg(title=COMMAND, unique_id="demo")
    # A picture loads nothing: the fonts of the reader's machine do.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    PICTURE.write_text(svg, encoding="utf-8")
    sys.stdout.write(f"{PICTURE}: {len(svg):,} characters\n")


if __name__ == "__main__":
    main()
