"""`ask`: a question to Hindsight, answered as the words come."""

import asyncio
import json
import sys
from typing import Any

import attrs

from hindsight_async.cli.file_arguments import STDIN, FileArgument, JsonOption
from hindsight_async.cli.shared_options import DEFAULT_PLAN_AND_LOG, PlanAndLogOption
from hindsight_async.cli.terminal import ExitCode, harmless, refuse, say
from hindsight_async.errors import HindsightError
from hindsight_async.resources.responses.models import Citation, ContentDelta, Message, Response
from hindsight_async.session import HindsightSession


def ask(
    question: FileArgument,
    /,
    *,
    as_json: JsonOption = False,
    shared: PlanAndLogOption = DEFAULT_PLAN_AND_LOG,
) -> int:
    """Ask Hindsight; print the answer as it comes, then its sources.

    Parameters
    ----------
    question
        What to ask; - reads it from standard input.
    as_json
        Print the whole answer as one line of JSON instead.
    shared
        For all commands.

    """
    if question == STDIN:
        question = sys.stdin.read()
    if not question.strip():
        return refuse("the question is empty")
    messages = [Message(role="user", content=question)]
    return asyncio.run(_ask(messages, shared.session(), as_json=as_json))


async def _ask(messages: list[Message], hindsight: HindsightSession, *, as_json: bool) -> int:
    began = False
    try:
        async with hindsight, hindsight.responses.stream(messages) as stream:
            async for event in stream:
                if isinstance(event, ContentDelta) and not as_json:
                    began = True
                    sys.stdout.write(harmless(event.content))
                    sys.stdout.flush()
            answer = await stream.final_response()
    except HindsightError as error:
        if began:
            sys.stdout.write("\n")
            sys.stdout.flush()
        say(f"hindsight-async: {error}")
        return ExitCode.SOME_FAILED
    sys.stdout.write(f"{json.dumps(_plain(answer), ensure_ascii=False)}\n" if as_json else _sources(answer))
    return ExitCode.DONE


def _plain(answer: Response) -> dict[str, Any]:
    """Return the answer in the form in which the API gives it whole; a stream does not tell its tool_calls."""
    return {"message": attrs.asdict(answer.message, filter=lambda attribute, _: attribute.name != "extra")}


def _sources(answer: Response) -> str:
    """Return the lines below the answer: each source once, on a line of its own where it is, so that a link stays whole."""
    lines = ["\n"]
    known: set[str] = set()
    for citation in answer.message.citations:
        named = _named(citation)
        if named not in known:
            known.add(named)
            lines.append(f"\n[{len(known)}] {named}\n")
    return "".join(lines)


def _named(citation: Citation) -> str:
    title = citation.document_name or citation.document_id or "a document without a name"
    deal = f" ({citation.deal_name})" if citation.deal_name else ""
    url = f"\n    {citation.url}" if citation.url else ""
    return "\n".join(harmless(line) for line in f"{title}{deal}{url}".split("\n"))
