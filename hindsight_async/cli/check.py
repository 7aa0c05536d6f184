"""`check`: whether key, host, plan and ledger are as they should be, without emailing anybody."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import Literal

from attrs import asdict, frozen
from rich.text import Text

from hindsight_async.call.access import API_KEY_VARIABLE, BASE_URL_VARIABLE, read_base_url
from hindsight_async.call.retry import RetryPolicy
from hindsight_async.cli.file_arguments import JsonOption
from hindsight_async.cli.shared_options import DEFAULT_PLAN_AND_LOG, PlanAndLog, PlanAndLogOption
from hindsight_async.cli.terminal import ExitCode, can_write, open_console
from hindsight_async.delivery.ledger.entries import LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.errors import (
    APIError,
    DeadlineExceededError,
    ForbiddenError,
    HindsightError,
    HTTPInfo,
    LedgerError,
    NotFoundError,
    NotSentError,
    QuotaExceededError,
    RateLimitExceededError,
    UnauthorizedError,
)
from hindsight_async.rate import Plan, plan_or_default
from hindsight_async.rate.headers import parse_rate_headers
from hindsight_async.rate.plan import PLAN_VARIABLE
from hindsight_async.redaction import escaped, harmless, json_text
from hindsight_async.resources.interviews.poll_schedule import monthly_usage
from hindsight_async.resources.interviews.recipients import ALLOWED_RECIPIENTS_VARIABLE

NO_INTERVIEW = 0
"""An id that no interview has, so that its read shows the key and the limits, and nobody's data."""

CHECK_SECONDS = 20.0
"""How long an answer is waited for."""

TWICE = RetryPolicy(attempts=2)
"""Who waits for a check hears soon that there is trouble."""

FOR_DEVELOPERS = {"bench", "dev", "docs"}
"""Extras that no user of the command line needs."""

State = Literal["ok", "attention", "failed", "absent"]
_MARKS = {"ok": ("✓", "+"), "attention": ("!", "!"), "failed": ("✗", "x"), "absent": ("\u2013", "-")}
"""What stands for a state, and what does where the terminal's encoding lacks that."""
_STYLES = {"ok": "green", "attention": "yellow", "failed": "red", "absent": "dim"}
_NAME_WIDTH = 12
_REQUIREMENT = re.compile(r"""([\w.-]+).*;.*\bextra\s*==\s*["']([\w-]+)["']""")


@frozen
class Finding:
    """What one check has found: its name, how that is, a sentence, and what to do about it."""

    name: str
    state: State
    text: str
    advice: str | None = None
    code: ExitCode = ExitCode.DONE


def check(
    ledger: str | None = None,
    /,
    *,
    as_json: JsonOption = False,
    shared: PlanAndLogOption = DEFAULT_PLAN_AND_LOG,
) -> int:
    """Test key, host, plan and ledger, without emailing anybody.

    It reads an interview that there is not, which takes one request of the plan.

    Parameters
    ----------
    ledger
        A ledger's file, or its database's URL.
    as_json
        Print one line of JSON instead.
    shared
        For all commands.

    """
    findings = [*asyncio.run(_findings(ledger, shared)), *_extras()]
    code = max((finding.code for finding in findings), key=_gravity)
    if as_json:
        said = [_plain(finding) for finding in findings]
        sys.stdout.write(f"{json_text({'ok': code is ExitCode.DONE, 'checks': said})}\n")
    else:
        _show(findings)
    return code


def _plain(finding: Finding) -> dict[str, str | None]:
    return asdict(finding, filter=lambda attribute, _: attribute.name != "code")


def _gravity(code: ExitCode) -> int:
    return (ExitCode.DONE, ExitCode.SOME_FAILED, ExitCode.UNKNOWN_OUTCOMES, ExitCode.USAGE).index(code)


async def _findings(ledger: str | None, shared: PlanAndLog) -> list[Finding]:
    findings = await _of_the_server(shared)
    if allowed := os.environ.get(ALLOWED_RECIPIENTS_VARIABLE):
        advice = f"unset {ALLOWED_RECIPIENTS_VARIABLE} to write to others too"
        findings.append(Finding("recipients", "attention", f"only {allowed} can be enrolled", advice))
    if ledger is not None:
        findings.append(await _of_the_ledger(ledger))
    return findings


async def _of_the_server(shared: PlanAndLog) -> list[Finding]:
    try:
        where, ours = read_base_url(None), plan_or_default(shared.plan)
        session = shared.session(deadline=CHECK_SECONDS, retry=TWICE)
    except ValueError as error:
        return [_wrong_setting(str(error))]
    try:
        async with session as hindsight:
            answer = (await hindsight.interviews.get(NO_INTERVIEW)).http
    except NotFoundError as error:
        answer = error.http
    except HindsightError as error:
        return [_refused(error, where)]
    except ValueError as error:
        return [_wrong_setting(str(error))]
    return [Finding("key", "ok", f"accepted by {where}"), *_limits(answer, ours, shared.plan)]


def _wrong_setting(text: str) -> Finding:
    name = next(
        (
            name
            for name, variable in (("plan", PLAN_VARIABLE), ("host", BASE_URL_VARIABLE))
            if variable in text
        ),
        "key",
    )
    advice = "the dashboard's Settings > API Keys has one" if name == "key" else None
    return Finding(name, "failed", text, advice, ExitCode.USAGE)


def _refused(error: HindsightError, where: str) -> Finding:
    """Say what an answer, or none at all, means for the key and the host."""
    match error:
        case UnauthorizedError():
            text = f"refused by {where} ({_said(error)})"
            advice = f"set {API_KEY_VARIABLE} to a key from the dashboard's Settings > API Keys"
            return Finding("key", "failed", text, advice, ExitCode.USAGE)
        case ForbiddenError():
            text = f"known to {where}, but not allowed to read interviews ({_said(error)})"
            return Finding("key", "failed", text, "ask whoever made the key for its rights", ExitCode.USAGE)
        case QuotaExceededError():
            return Finding(
                "month", "failed", error.summary, "wait, or ask Hindsight for more", ExitCode.SOME_FAILED
            )
        case RateLimitExceededError() | DeadlineExceededError():
            text = f"{where} lets nothing through now: {error.summary}"
            advice = "other programs use up the plan: try again in a minute"
            return Finding("host", "attention", text, advice, ExitCode.SOME_FAILED)
        case NotSentError():
            advice = f"check the network, a proxy, and {BASE_URL_VARIABLE}"
            return Finding(
                "host", "failed", f"no connection to {where}: {error.summary}", advice, ExitCode.SOME_FAILED
            )
        case APIError():
            text = f"{where} is in trouble ({_said(error)})"
        case _:
            text = f"{where}: {error.summary}"
    advice = f"try again later; is {BASE_URL_VARIABLE} right?"
    return Finding("host", "failed", text, advice, ExitCode.SOME_FAILED)


def _said(error: APIError) -> str:
    return f"{error.status}: {harmless(error.message)}" if error.message else str(error.status)


def _limits(answer: HTTPInfo | None, ours: Plan, given: Plan | None) -> Iterator[Finding]:
    """Say what an answer's headers tell of the plan, of other programs, and of the month."""
    if answer is None:
        return
    named = parse_rate_headers(answer.headers, received_at=datetime.now(UTC))
    yield _plan(named.limit, ours, given)
    if (
        named.limit is not None
        and named.remaining is not None
        and named.remaining < named.limit - answer.attempts
    ):
        others = named.limit - named.remaining - answer.attempts
        advice = "they share the plan's requests: runs go slower beside them"
        yield Finding(
            "other use", "attention", f"{others:,} requests in the last minute by other programs", advice
        )
    month = monthly_usage(answer.headers, named, 0.0)
    if month is not None:
        text = f"{month.remaining:,} of {month.limit:,} requests left"
        if month.remaining:
            yield Finding("month", "ok", text)


def _plan(limit: int | None, ours: Plan, given: Plan | None) -> Finding:
    text = f"{ours.value.capitalize()}, {ours.requests_per_minute:,} a minute"
    if limit is None:
        advice = "compare it with the dashboard's"
        return Finding("plan", "attention", f"{text} (the server names no limit)", advice)
    if limit == ours.requests_per_minute:
        return Finding("plan", "ok", f"{text} (the server says the same)")
    theirs = next((each.value for each in Plan if each.requests_per_minute == limit), None)
    source = "given" if given else f"in {PLAN_VARIABLE}" if os.environ.get(PLAN_VARIABLE) else "the default"
    text = f"the server grants {limit:,} a minute; {text}, is {source}"
    advice = f"set {PLAN_VARIABLE}={theirs}" if theirs else "runs go by what the server says"
    return Finding("plan", "attention", text, advice)


async def _of_the_ledger(location: str) -> Finding:
    try:
        ledger = Ledger(location)
        counts = await ledger.counts()
    except LedgerError as error:
        return Finding("ledger", "failed", error.summary, None, ExitCode.USAGE)
    except (ValueError, ModuleNotFoundError) as error:
        return Finding("ledger", "failed", str(error), None, ExitCode.USAGE)
    listed = ", ".join(f"{number:,} {status.value}" for status, number in counts.items() if number)
    text = f"{ledger.name}: {listed or 'no rows'}"
    if not counts[LedgerStatus.UNKNOWN]:
        return Finding("ledger", "ok", text)
    advice = f"look them up in Hindsight: hindsight-async ledger show {location} --status unknown"
    if "://" in location:  # with a password in it, perhaps
        advice = "look them up in Hindsight: hindsight-async ledger show lists them"
    return Finding("ledger", "attention", text, advice, ExitCode.UNKNOWN_OUTCOMES)


def _extras() -> Iterator[Finding]:
    """Say of each extra whether what it takes is installed, as the package's own metadata has it."""
    try:
        requirements = metadata("hindsight-async").get_all("Requires-Dist") or []
    except PackageNotFoundError:  # copied or frozen into a program
        return
    needs: dict[str, list[str]] = {}
    for requirement in requirements:
        found = _REQUIREMENT.match(requirement)
        if found and found[1] != "hindsight-async" and found[2] not in FOR_DEVELOPERS:
            needs.setdefault(found[2], []).append(found[1])
    for extra, names in sorted(needs.items()):
        missing = [name for name in names if not _is_installed(name)]
        if missing:
            yield Finding(extra, "absent", "not installed", f"pip install 'hindsight-async[{extra}]'")
        else:
            yield Finding(extra, "ok", "installed")


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _show(findings: list[Finding]) -> None:
    """Print a line for each, and what to do below it, no wider than the terminal."""
    console = open_console()
    plain = not can_write("".join(mark for mark, _ in _MARKS.values()))
    room = max(20, console.width - _NAME_WIDTH - 3)
    for finding in findings:
        lines = [Text(escaped(finding.text))]
        if finding.advice:
            lines.append(Text(f"{'->' if plain else '→'} {escaped(finding.advice)}", style="dim"))
        shown = [part for line in lines for part in line.wrap(console, room)]
        head = Text(
            f"{_MARKS[finding.state][plain]} {finding.name:<{_NAME_WIDTH}} ", style=_STYLES[finding.state]
        )
        for part in shown:
            part.rstrip()
            console.print(Text.assemble(head, part), soft_wrap=True)
            head = Text(" " * (_NAME_WIDTH + 3))
