"""What is about to be sent, said, and asked where many people would be emailed."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from attrs import field, frozen

from hindsight_async.call.access import DEFAULT_BASE_URL, read_base_url
from hindsight_async.cli.preflight import Preflight, takes
from hindsight_async.cli.shared_options import SharedOptions
from hindsight_async.cli.terminal import ExitCode, confirm, counted, say, unbroken, wrapped
from hindsight_async.rate import plan_or_default

CONFIRM_ABOVE = 25
"""So many people may be emailed without being asked."""

DRY_RUN = "Dry run: nothing was sent."

NAMES_SHOWN = 3
"""How many sequences, or interview types, are named."""

_AGENT = "Hindsight's own agent may write to buyers of closed deals too."


@frozen(kw_only=True)
class Question:
    """What a run would do, in the words of the question before it."""

    preflight: Preflight
    shared: SharedOptions
    """How fast it goes."""
    ledger: str
    """Which ledger it is and how that is, as a sentence."""
    test_to: str | None = field(default=None, repr=False)
    """The one address that gets it all in the place of the file's people."""

    def lines(self) -> Iterator[str]:
        """Yield the sentences, each to stand on a line of its own."""
        checked = self.preflight
        if not checked.to_send:
            yield "Nobody is left to send to."
            return
        if checked.emails:
            yield f"{self._emails()} ({self._where(checked.sequences, 'sequence')})."
        if links := checked.to_send - checked.emails:
            made = f"{counted(links, 'link')} will be made, and nobody emailed"
            yield f"{made} ({self._where(checked.interview_types, 'interview type')})."
        if self.test_to is not None:
            rows = "row" if checked.to_send == 1 else f"{checked.to_send:,} rows"
            yield f"Names and contexts are those of the first {rows}, without their deals."
            yield "Each leaves an interview that cannot be deleted."
            return
        yield f"{takes(checked.to_send, self.shared.requests_per_minute)}; stop it at any time with Ctrl-C."
        if checked.emails:
            yield _AGENT

    def say_of_dry_run(self) -> ExitCode:
        """Say what would be sent, and that it was not."""
        say(f"{self}\n{DRY_RUN}")
        return ExitCode.DONE

    def ask(self, *, yes: bool, from_stdin: bool) -> None:
        """Say it, and ask where more than CONFIRM_ABOVE people would be emailed.

        Args:
            yes: Whether to go on without asking.
            from_stdin: As in `confirm`.

        Raises:
            NotConfirmedError: As from `confirm`.

        """
        if yes or self.preflight.people <= CONFIRM_ABOVE:
            say(str(self))
        else:
            confirm(str(self), from_stdin=from_stdin, how="Type yes to go on:")

    def __str__(self) -> str:
        return "\n".join(["", *map(wrapped, self.lines()), self.ledger])

    def _emails(self) -> str:
        checked = self.preflight
        if self.test_to is not None:
            times = "once" if checked.emails == 1 else f"{checked.emails:,} times"
            return f"A test: Paige will email {self.test_to} {times}, and nobody else"
        people = counted(checked.people, "person", "people")
        several = f" for {checked.emails:,} interviews" * (checked.emails > checked.people)
        return f"Paige will email {people}{several}"

    def _where(self, names: Iterable[str], noun: str) -> str:
        named = list(names)
        more = len(named) - NAMES_SHOWN
        shown = ", ".join(named[:NAMES_SHOWN]) + f" and {more} more" * (more > 0)
        which = f"{noun}{'s' * (len(named) > 1)} {shown}"
        return f"{unbroken(which)}, {where_to(self.shared)}"


def where_to(shared: SharedOptions) -> str:
    """Return by which plan requests leave, and where they go."""
    url = read_base_url(None)
    host = "live API" if url == DEFAULT_BASE_URL else f"host {urlsplit(url).netloc}"
    plan = plan_or_default(shared.plan).value.capitalize()
    return f"{unbroken(f'{plan} plan')}, {unbroken(host)}"
