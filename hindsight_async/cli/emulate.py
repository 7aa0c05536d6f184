"""`emulate`: the emulator as a process of its own, for programs in any language."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from hindsight_async.call.access import API_KEY_VARIABLE, BASE_URL_VARIABLE
from hindsight_async.cli.fault_words import parse_fault
from hindsight_async.cli.request_log import RequestLog
from hindsight_async.cli.shells import SYNTAXES, TITLES, Syntax, assigned
from hindsight_async.cli.signals import ENDS, handling
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.emulator import Emulator
from hindsight_async.emulator.limits import Window
from hindsight_async.emulator.listener import is_loopback
from hindsight_async.rate import Plan

LOCAL = "127.0.0.1"

# As RFC 6750 has it: nothing that a shell, a .env file or a header could take for anything else.
_KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*")

Each = Parameter(negative=(), show_default=False)
"""Of options that may be given several times."""


def emulate(
    *,
    host: str = LOCAL,
    port: int = 0,
    api_key: str | None = None,
    plan: Plan = Plan.ESSENTIALS,
    window: Window = "weighted",
    latency: float = 0.0,
    sequence: Annotated[list[str], Each] = [],  # noqa: B006  never altered
    interview_type: Annotated[list[str], Each] = [],  # noqa: B006  the same
    fault: Annotated[list[str], Each] = [],  # noqa: B006  the same
    state: Path | None = None,
    variables: Syntax | None = None,
) -> int:
    """Serve a local Hindsight for your own program until interrupted.

    No email leaves it. It prints the two variables that lead a program to it, has a page at its root, and logs a line for
    each request.

    Examples: `hindsight-async emulate --plan growth`,
    `hindsight-async emulate --port 8123 --fault "POST /interviews 503 times=3"`.

    Parameters
    ----------
    host
        The IP address to listen on. Any but 127.0.0.1, such as 0.0.0.0 for all of them, lets everybody on the network in.
    port
        Where to listen; 0 takes a free one.
    api_key
        The one key that is let in; without it one is made up.
    plan
        The tier whose requests per minute it enforces.
    window
        How it counts them; the real server most likely does it in the first way.
    latency
        Seconds that each answer takes.
    sequence
        A sequence id that exists; may be given several times. Without it any does.
    interview_type
        An interview type id that exists; the same.
    fault
        What goes wrong, such as "POST /interviews 503 times=3" or "slow seconds=5"; may be given several times. A route, or
        none for any; a status, disconnect, reset, slow, truncated, html, redirect or empty; and at=, times= (forever),
        seconds=, status=, to=, retry_after=.
    state
        A file in which all that it has stored is kept between two starts, and the key.
    variables
        Print the two variables in this syntax alone; without it in each on a terminal, and elsewhere for sh.

    """
    try:
        emulator = Emulator(
            host=host, port=port, api_key=_checked_key(api_key), plan=plan, window=window, latency=latency,
            sequences=sequence or None, interview_types=interview_type or None, state=state,
            remote_control=True, on_request=RequestLog().note,
        )  # fmt: skip
        for text in fault:
            _script(emulator, text)
    except ValueError as error:
        return refuse(str(error))
    return asyncio.run(_serve(emulator, host, port, variables))


def _checked_key(api_key: str | None) -> str | None:
    if api_key is not None and not _KEY.fullmatch(api_key):
        raise ValueError("--api-key must be letters, digits and . _ ~ + / - alone")
    return api_key


def _script(emulator: Emulator, text: str) -> None:
    try:
        emulator.fail(**parse_fault(text))
    except ValueError as error:
        raise ValueError(f"--fault {text!r}: {error}") from None


async def _serve(emulator: Emulator, host: str, port: int, variables: Syntax | None) -> ExitCode:
    stopped = asyncio.Event()
    with handling(ENDS, lambda _: stopped.set()):
        try:
            await emulator.start()
        except ValueError as error:  # of the state file
            return refuse(str(error))
        except (OSError, OverflowError) as error:
            where = f"port {port}" if host == LOCAL else f"{host}, port {port}"
            return refuse(f"cannot listen on {where}: {error}")
        try:
            _introduce(emulator, host)
            _print_variables(emulator, variables)
            await stopped.wait()
        finally:
            code = await _close(emulator)
    return code


async def _close(emulator: Emulator) -> ExitCode:
    try:
        await emulator.close()
    except OSError as error:
        say(f"hindsight-async: the state could not be written at the end: {error}")
        return ExitCode.SOME_FAILED
    return ExitCode.DONE


def _print_variables(emulator: Emulator, syntax: Syntax | None) -> None:
    values = {BASE_URL_VARIABLE: emulator.base_url, API_KEY_VARIABLE: emulator.api_key}
    if syntax is None and sys.stdout.isatty():
        lines = ""
        for one in SYNTAXES:
            first, second = assigned(values, one)
            lines += f"\n  {TITLES[one]:12}{first}\n{'':14}{second}"
        sys.stdout.write(f"{lines}\n\n")
    else:
        # To be evaluated by a shell, so that its next program finds the emulator.
        sys.stdout.write("".join(f"{line}\n" for line in assigned(values, syntax or "sh")))
    sys.stdout.flush()


def _introduce(emulator: Emulator, host: str) -> None:
    plan = emulator.plan
    say(
        f"A Hindsight emulator for the {plan.value} plan ({plan.requests_per_minute} requests per minute).\n"
        "No email leaves it. Ctrl-C stops it."
    )
    say(f"Page: {emulator.page_url}")
    say(f"Remote control: {emulator.control_url}/state")
    if emulator.interviews:
        say(f"{counted(len(emulator.interviews), 'interview')} of earlier starts.")
    if not is_loopback(host):
        say(
            f"Warning: it listens on {host}. Everybody on this network can look into it\nand change it. "
            f"Others reach it as http://NAME-OF-THIS-MACHINE:{urlsplit(emulator.base_url).port};\n"
            "a HindsightSession takes that address with allow_plain_http=True."
        )
