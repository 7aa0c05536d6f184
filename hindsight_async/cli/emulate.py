"""`emulate`: the emulator as a process of its own, for programs in any language."""

import asyncio
import signal
import sys

from hindsight_async.call.access import API_KEY_VARIABLE, BASE_URL_VARIABLE
from hindsight_async.cli.signals import handling
from hindsight_async.cli.terminal import ExitCode, refuse, say
from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan


def emulate(*, port: int = 0, plan: Plan = Plan.ESSENTIALS) -> int:
    """Serve a local emulator of the Hindsight API until interrupted.

    Parameters
    ----------
    port
        Where to listen; 0 takes a free one.
    plan
        The tier whose requests per minute it enforces.

    """
    try:
        asyncio.run(_serve(port, plan))
    except (OSError, OverflowError) as error:
        return refuse(f"cannot listen on port {port}: {error}")
    return ExitCode.DONE


async def _serve(port: int, plan: Plan) -> None:
    stopped = asyncio.Event()
    async with Emulator(plan=plan, port=port, remote_control=True) as emulator:
        with handling((signal.SIGINT, signal.SIGTERM), lambda _: stopped.set()):
            # To be evaluated by a shell, so that its next program finds the emulator.
            sys.stdout.write(
                f"export {BASE_URL_VARIABLE}={emulator.base_url}\nexport {API_KEY_VARIABLE}={emulator.api_key}\n"
            )
            sys.stdout.flush()
            say(
                f"A Hindsight emulator for the {plan.value} plan ({plan.requests_per_minute} requests per minute). "
                "No email leaves it. Ctrl-C stops it."
            )
            say(f"Remote control: {emulator.control_url}/state")
            await stopped.wait()
