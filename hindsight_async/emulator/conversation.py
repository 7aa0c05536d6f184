"""What the interviewer asks on the survey page, and the transcript that comes of it. Pure."""

import json
from collections.abc import Iterable
from typing import Any

from hindsight_async.emulator.state import InterviewRecord

INTERVIEWER = "Paige"

MOST_QUESTIONS = 5
"""The fewest are three: of a contact of whom nothing is known."""

LONGEST_QUOTE = 200
"""Characters that are shown of a name, of an objective or of one piece of context."""


def questions_of(interview: InterviewRecord) -> list[str]:
    """Return three to five questions, made from the objective and from what is known of the contact."""
    if interview.questions:
        return interview.questions
    name = _quote(interview.contact.name or "")
    seeds = [
        f"One thing we would like to understand: {_quote(interview.objective)} What is your view?"
    ] if interview.objective and interview.objective.strip() else []  # fmt: skip
    seeds += [
        f"I was told this about you: {_quote(piece)}. How did that bear on the decision?"
        for piece in _pieces(interview.contact.notes or "")
    ]
    return [
        f"Hello{f' {name}' if name else ''}, thank you for taking the time. What were you looking for when you began?",
        *seeds[: MOST_QUESTIONS - 3],
        "What decided it in the end?",
        "What should we have done differently?",
    ]


def transcript_of(interview: InterviewRecord) -> str:
    """Return what was said, in Markdown: `**Name:** text`, with an empty line between two turns."""
    name = one_line(interview.contact.name or "").replace("*", "") or "Contact"
    turns = (
        f"**{speaker}:** {_turn(text)}"
        for question, answer in zip(interview.questions, interview.answers, strict=True)
        for speaker, text in ((INTERVIEWER, question), (name, answer))
    )
    return "\n\n".join([*turns, f"**{INTERVIEWER}:** Thank you for your time."])


def one_line(text: str) -> str:
    """Return the text with each run of white space as one space."""
    return " ".join(text.split())


def _turn(text: str) -> str:
    # An empty line would end the turn, and what follows could pass for somebody else's.
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _quote(text: object) -> str:
    line = one_line(str(text))
    return line if len(line) <= LONGEST_QUOTE else f"{line[:LONGEST_QUOTE].rstrip()}…"


def _pieces(notes: str) -> Iterable[str]:
    """Return the entries of notes that are a JSON object, else the notes as they are."""
    try:
        known: Any = json.loads(notes)
    except (ValueError, RecursionError):
        known = None
    if isinstance(known, dict):
        return [f"{key}: {_value(value)}" for key, value in known.items() if value not in (None, "", [], {})]  # pyright: ignore[reportUnknownVariableType]
    return [notes] if notes.strip() else []


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
