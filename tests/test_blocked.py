"""People who asked not to be written to are not, whatever else allows it; a list of them is read or refused."""

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hindsight_async import (
    CreateInterview,
    HindsightSession,
    Ledger,
    OutcomeStatus,
    Plan,
    RecipientNotAllowedError,
)
from hindsight_async.cli.contacts import ContactFileError, read_exclusions
from hindsight_async.emulator import Emulator
from hindsight_async.errors import Delivery
from hindsight_async.resources.interviews.recipients import BlockedRecipients, blocked_entry

EXACT = [
    "ann@x.test",
    "rival.test",
    "@other.test",
    "straße.example",
    "*@mail.*.example",
    "*.team.test",
    "j?n@y.test",
]


def is_blocked(entries, address):
    try:
        BlockedRecipients(entries).check(address)
    except RecipientNotAllowedError as error:
        return error.is_blocked
    return False


@pytest.mark.parametrize(
    ("address", "blocked"),
    [
        ("ann@x.test", True),
        (" ANN@X.TEST ", True),
        ("joann@x.test", False),
        ("ann+news@x.test", False),
        ("ann@mail.x.test", False),
        ("anybody@rival.test", True),
        ("anybody@eu.mail.rival.test", True),
        ("anybody@arrival.test", False),
        ("rival.test@ours.test", False),
        ("anybody@rival.test.ours.test", False),
        ("anybody@other.test", True),
        ("anybody@xn--strae-oqa.example", True),
        ("anybody@strasse.example", False),
        ("anybody@mail.acme.example", True),
        ("anybody@acme.example", False),
        ("anybody@red.team.test", True),
        ("anybody@team.test", False),
        ("jon@y.test", True),
        ("john@y.test", False),
    ],
)
def test_an_entry_blocks_what_it_names(address, blocked):
    """An address, a domain with all below it, or what a pattern fits; in every spelling of them, and nothing else."""
    assert blocked is is_blocked(EXACT, address)


@pytest.mark.parametrize("entries", [None, [], ()])
def test_no_list_blocks_nobody(entries):
    """Unlike an allow-list, an empty one changes nothing."""
    assert not is_blocked(entries, "ann@x.test")


@pytest.mark.parametrize(
    "wrong",
    [
        "", " ", "Ann", "ann@", "@", "*", "Ann Doe", "Ann <ann@x.test>", "a@b@x.test", "x..test", ".test", "ann@.test",
        "ann@x.test,ben@x.test", "an\u200bn@x.test", "a\0nn@x.test", "localhost",
    ],
)  # fmt: skip
def test_what_would_block_nobody_is_refused(wrong):
    """With its place in the list, and without repeating it: a slip must not let somebody be written to."""
    with pytest.raises(ValueError, match=r"^blocked_recipients\[1\] is neither an address nor a domain$"):
        HindsightSession("key", blocked_recipients=["ann@x.test", wrong])


def test_one_text_is_no_list():
    """Its letters would block nobody; nor is a number an entry."""
    with pytest.raises(TypeError, match="blocked_recipients must be a list"):
        HindsightSession("key", blocked_recipients="ann@x.test")
    with pytest.raises(TypeError, match=r"blocked_recipients\[0\] must be text \(str\), not int"):
        HindsightSession("key", blocked_recipients=[7])


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
DOMAINS = st.lists(LABELS, min_size=2, max_size=4).map(".".join)
ADDRESSES = st.builds("{}@{}".format, st.from_regex(r"[a-z0-9._+-]{1,12}", fullmatch=True), DOMAINS)


@given(ADDRESSES, st.data())
def test_an_address_is_blocked_by_itself_and_by_each_domain_above(address, data):
    """In whichever case it is written, and by no other address."""
    labels = address.partition("@")[2].split(".")
    above = [".".join(labels[start:]) for start in range(len(labels) - 1)]
    entry = data.draw(st.sampled_from([address, *above, *(f"@{domain}" for domain in above)]))
    assert is_blocked([entry.upper()], address)
    assert is_blocked([entry], address.upper())
    assert not is_blocked([f"x{entry}" if "@" in entry[1:] else f"x{entry.lstrip('@')}"], address)


@given(st.text(max_size=30))
@example("[@x.test")
def test_whatever_is_taken_for_an_entry_can_be_checked(text):
    """And what is taken once is taken in the form that it got."""
    try:
        entry = blocked_entry(text)
    except ValueError:
        return
    assert entry == blocked_entry(entry)
    is_blocked([text], "ann@x.test")


# In a session


def request(name):
    return CreateInterview(contact_email=f"{name}@acme.example", sequence_id="seq_1")


async def test_a_blocked_person_is_not_written_to(tmp_path):
    """By no way of creating; nothing of it counts, neither as one of `max_creates` nor as a failure of the run."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        options = {"plan": Plan.ENTERPRISE, "allowed_recipients": ["*@acme.example"], "max_creates": 1}
        async with (
            HindsightSession(
                emulator.api_key,
                base_url=emulator.base_url,
                blocked_recipients=["ann@acme.example"],
                **options,
            ) as hindsight,
            Ledger(tmp_path / "a.db").run() as run,
        ):
            for create in (
                hindsight.interviews.create,
                hindsight.with_options(lane="bulk").interviews.create,
            ):
                with pytest.raises(RecipientNotAllowedError, match="this recipient is blocked") as raised:
                    await create(request("ann"))
                assert (Delivery.NOT_SENT, True) == (raised.value.delivery, raised.value.is_blocked)
                assert "ann" not in str(raised.value)
            with pytest.raises(RecipientNotAllowedError):
                await hindsight.interviews.create_once(request("ANN"), ledger=run)
            wanted = [*[request("ann")] * 3, request("ben")]
            async with hindsight.interviews.create_many(wanted, abort_after_failures=1) as many:
                statuses = [outcome.status async for outcome in many]
        assert 1 == len(emulator.requests)
    assert {OutcomeStatus.NOT_SENT, OutcomeStatus.DUPLICATE, OutcomeStatus.CREATED} == set(statuses)


# In a file


def read(text):
    return read_exclusions(io.BytesIO(text if isinstance(text, bytes) else text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        "ann@x.test\nrival.test\n",
        "\ufeffann@x.test\r\nrival.test",
        "ann@x.test\rrival.test\r",
        "# people; who, asked\nann@x.test # on 3 May, by phone\n\n  # Ben\n\trival.test \n",
        "Email\nann@x.test\nrival.test\n",
        'E-mail Address,Name,Why\nann@x.test,Ann,"said ""no"""\nrival.test,,\n',
        'Email;Company\nann@x.test;"Acme\nInc #1"\n#ben@x.test;\nrival.test;x\n',
        "domain\tnote\nann@x.test\tAnn, of Acme\nrival.test\t\n",
        '"ann@x.test"\n"rival.test"\n\u200b\n',
    ],
)
def test_a_list_is_read_as_programs_and_people_write_it(text):
    """One a line or in the first column, with comments, a heading, quotes, a byte order mark and any line ends."""
    assert ["ann@x.test", "rival.test"] == read(text)


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody yet\n", "Email\n"])
def test_a_list_may_name_nobody(text):
    """There may be nobody yet who asked."""
    assert [] == read(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ann@x.test\nBen Doe\n", "^line 2: neither an address nor a domain: write one a line"),
        ("# them\n\nann@x.test\n\n# her\nben@\n", "^line 6: neither"),
        ("Name,Email\nAnn,ann@x.test\n", "^line 1: neither"),
        ("Email,Name\nann@x.test,Ann\n,Ben\n", "^line 3: neither"),
        ("ann@x.test\nEmail\n", "^line 2: neither"),
        ("ann@x.test ben@x.test\n", "^line 1: neither"),
        ('Email\n"ann@x.test\nben@x.test\n', "^line 2: a quote that opens is not closed"),
        ('{"email": "ann@x.test"}\n', "^this is JSON"),
        ('["ann@x.test"]\n', "neither"),
        ("ann@x.test\nben@x.test\n".encode("utf-16"), "not UTF-8"),
        (b"ann@x.test\njos\xe9@x.test\n", "^line 2: the text is not UTF-8"),
        (b"PK\x03\x04rest", "an Excel workbook"),
        (b"ann@x.test\n\0\n", "NUL"),
    ],
)
def test_a_line_that_keeps_nobody_back_is_refused(text, why):
    """By its number, without the address: else somebody who asked not to be would be written to."""
    with pytest.raises(ContactFileError, match=why) as raised:
        read(text)
    assert "x.test" not in str(raised.value)


LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
NOISE = st.lists(st.sampled_from(["", "# a comment, with; all\tof | it", '  # "quoted']), max_size=2)


@given(
    st.lists(st.tuples(NOISE, ADDRESSES | DOMAINS), max_size=8),
    LINE_ENDS,
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from([None, ",", ";", "\t", "|"]),
)
def test_every_entry_of_a_list_is_read(entries, end, mark, delimiter):
    """Whatever stands between and behind them."""
    lines = [] if delimiter is None else [f"Email{delimiter}Note"]
    for noise, entry in entries:
        lines += [*noise, entry if delimiter is None else f'{entry}{delimiter}"a {delimiter} # b"']
    assert [entry for _, entry in entries] == read(mark + end.join(lines) + end)


@given(st.text(max_size=60) | st.text('a@.x\n\r,;"# *', max_size=40))
def test_a_list_is_read_whole_or_refused(text):
    """Each line with something on it, but comments and a heading, is an entry; none is left out without a word."""
    try:
        entries = read(text)
    except ContactFileError:
        return
    BlockedRecipients(entries)
    assert len(entries) <= len(text.splitlines())
