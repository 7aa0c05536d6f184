"""A file that cannot serve as a ledger is named, with what to do, before anything is sent."""

import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from full_disk import full_disk
from hindsight_async import Ledger, LedgerStatus
from hindsight_async.delivery.ledger.entries import LedgerRow
from hindsight_async.delivery.ledger.file_lock import merge_log
from hindsight_async.delivery.ledger.sqlite import OWNER_ONLY, SqliteBackend
from hindsight_async.delivery.ledger.tables import SCHEMA_VERSION
from hindsight_async.errors import Delivery, HindsightError, LedgerError, LedgerInUseError

pytestmark = pytest.mark.usefixtures("in_memory")

NOBODY = 65534
ROWS = [LedgerRow(key=f"key-{n:06}", row_index=n, contact_email=f"person{n}@ours.test") for n in range(3000)]


async def open_a_run(ledger):
    async with ledger.run():
        pass


async def read_entries(ledger):
    return [found async for found in ledger.entries()]


USES = [
    open_a_run,
    read_entries,
    lambda ledger: ledger.counts(),
    lambda ledger: ledger.known(["key"]),
    lambda ledger: ledger.resolve("key", not_created=True),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "autumn.db"


@pytest.fixture
def open_to_all():
    """Make a directory that every user of the machine may enter."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@contextlib.contextmanager
def without_the_rights_of_root():
    """Root may write anywhere; for this block nobody is that powerful."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def change(path, statement):
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute(statement)


def files_in(directory):
    return {each.name: each.is_file() and each.read_bytes() for each in directory.iterdir()}


def random_bytes(path):
    path.write_bytes(random.Random(4).randbytes(9000))


def a_few_bytes(path):
    path.write_bytes(b"hello")


def an_empty_file(path):
    path.touch()


def a_csv_file(path):
    path.write_text("email,name\nperson@ours.test,Ann\n" * 300, encoding="utf-8")


def another_programs_database(path):
    change(path, "CREATE TABLE songs (title TEXT)")


def another_programs_marked_database(path):
    another_programs_database(path)
    change(path, "PRAGMA application_id = 77")


def another_programs_database_with_a_log(path):
    """As a program leaves it that was killed: the newest rows are in the log only."""
    original = path.with_name("original.db")
    with closing(sqlite3.connect(original)) as opened:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("CREATE TABLE songs (title TEXT)")
        opened.commit()
        shutil.copy(original, path)
        shutil.copy(f"{original}-wal", f"{path}-wal")
    original.unlink()


def a_directory(path):
    path.mkdir()


def a_pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize("use", USES, ids=["run", "entries", "counts", "known", "resolve"])
@pytest.mark.parametrize(
    "make",
    [
        random_bytes,
        a_few_bytes,
        an_empty_file,
        a_directory,
        a_pipe,
        a_csv_file,
        another_programs_database,
        another_programs_marked_database,
        another_programs_database_with_a_log,
    ],
)
async def test_what_is_no_ledger_is_refused_and_left_as_it_is(path, make, use):
    """The error names the file; no byte of it changes, and no file appears beside it."""
    make(path)
    before = files_in(path.parent)
    with pytest.raises(LedgerError, match=r"autumn\.db.* is no ledger.*: name another file"):
        await use(Ledger(path))
    assert before == files_in(path.parent)


@pytest.mark.parametrize("use", USES[:3])
async def test_a_ledger_of_a_newer_version_is_refused(path, use):
    """It says which schema it found and which it knows, and asks for an upgrade."""
    await open_a_run(Ledger(path))
    change(path, "UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    with pytest.raises(
        LedgerError, match=rf"its schema is 99, this one knows {SCHEMA_VERSION}\): upgrade hindsight-async"
    ):
        await use(Ledger(path))
    with closing(sqlite3.connect(path)) as opened:
        assert ("99",) == opened.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()


async def test_a_ledger_says_what_it_is(path):
    """Its version and owner can be read in a table, and by `file` from its header."""
    await open_a_run(Ledger(path))
    with closing(sqlite3.connect(path)) as opened:
        assert {
            "application": "hindsight-async",
            "schema_version": str(SCHEMA_VERSION),
            "run_open": "0",
        } == dict(opened.execute("SELECT name, value FROM meta"))
        assert (0x48494C47,) == opened.execute("PRAGMA application_id").fetchone()
        assert (SCHEMA_VERSION,) == opened.execute("PRAGMA user_version").fetchone()
        assert ("wal",) == opened.execute("PRAGMA journal_mode").fetchone()


async def test_it_stores_what_an_audit_needs_and_nothing_else(path):
    """No column could hold an API key or a survey token, and the body stays empty where no queue is to send it."""
    await open_a_run(Ledger(path))
    with closing(sqlite3.connect(path)) as opened:
        columns = [name for _, name, *_ in opened.execute("PRAGMA table_info(interviews)")]
    assert [
        "key",
        "row_index",
        "contact_email",
        "address_hash",
        "sequence_id",
        "interview_type_id",
        "deal_id",
        "caller_key",
        "request",
        "status",
        "interview_request_id",
        "contact_id",
        "interview_status",
        "http_status",
        "error_code",
        "error_message",
        "received",
        "attempts",
        "planned_at",
        "sending_at",
        "finished_at",
        "due_at",
        "pauses",
        "read_at",
        "completed_at",
    ] == columns


async def test_a_commit_waits_for_the_disk(path):
    """A connection to the ledger syncs at every commit."""
    await open_a_run(Ledger(path))
    names = ("synchronous", "journal_mode", "fullfsync")
    async with aclosing(await SqliteBackend(path).open()) as connection:
        settings = [(await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in names]
    full = 2
    assert [full, "wal", 1] == settings


async def test_a_damaged_ledger_is_named(path):
    """Garbage behind a good header is an error that speaks of a copy."""
    await open_a_run(Ledger(path))
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with pytest.raises(LedgerError, match=r"autumn\.db: it is damaged: restore it from a copy"):
        await open_a_run(Ledger(path))


async def test_a_directory_that_is_not_there_is_named(path):
    """It is not made: a mistyped path shall be seen."""
    with pytest.raises(LedgerError, match=r"nowhere/autumn\.db: .*see that its directory exists"):
        await open_a_run(Ledger(path.parent / "nowhere" / "autumn.db"))
    assert [] == list(path.parent.iterdir())


async def test_a_read_only_directory_is_named(open_to_all):
    """Nothing can be made there, and the error says so."""
    await open_a_run(Ledger(open_to_all / "first.db"))
    with without_the_rights_of_root():
        with pytest.raises(LedgerError, match=r"autumn\.db: .*see that its directory exists and is writable"):
            await open_a_run(Ledger(open_to_all / "autumn.db"))
    assert not (open_to_all / "autumn.db").exists()


async def test_a_read_only_file_is_named(open_to_all):
    """It fails when the run opens, not when the first row is to leave."""
    path = open_to_all / "autumn.db"
    await open_a_run(Ledger(path))
    path.chmod(0o444)
    for each in open_to_all.iterdir():
        os.chown(each, *((NOBODY, NOBODY) if os.geteuid() == 0 else (-1, -1)))
    open_to_all.chmod(0o777)
    with without_the_rights_of_root():
        with pytest.raises(LedgerError, match=r"autumn\.db: it is not writable: allow writing"):
            await open_a_run(Ledger(path))


async def test_a_file_that_may_not_be_read_is_named(open_to_all):
    """Whose ledger it is cannot even be seen."""
    path = open_to_all / "autumn.db"
    await open_a_run(Ledger(path))
    open_to_all.chmod(0o000)
    with without_the_rights_of_root():
        with pytest.raises(LedgerError, match=r"autumn\.db: it cannot be used \(.*Permission denied"):
            await open_a_run(Ledger(path))
    open_to_all.chmod(0o755)


async def test_a_full_disk_makes_no_half_ledger(path):
    """Where there is no room to make one, nothing is left behind; with room, the same call works."""
    with full_disk(6000):
        with pytest.raises(LedgerError, match=r"autumn\.db: the disk .*: free some space"):
            await open_a_run(Ledger(path))
    assert {"autumn.db-lock"} == set(files_in(path.parent))
    await open_a_run(Ledger(path))


async def test_a_disk_that_fills_up_stops_marking_and_loses_nothing(path):
    """No row is taken for marked that is not on disk, and what left without a record becomes unknown."""
    ledger = Ledger(path)
    log = path.with_name("autumn.db-wal")
    marked = []
    async with ledger.run() as run:
        await run.claim(ROWS)
        await run.sending(ROWS[0].key)
        with full_disk(log.stat().st_size + 50_000):
            with pytest.raises(LedgerError, match=r"autumn\.db: the disk .*: free some space") as full:
                for row in ROWS[1:]:
                    await run.sending(row.key)
                    marked.append(row)
            assert Delivery.NOT_SENT is full.value.delivery
        with full_disk(0):
            with pytest.raises(LedgerError, match=r"autumn\.db: the disk ") as full:
                await run.finished(ROWS[0].key, LedgerStatus.CREATED, attempts=1, interview_request_id=1)
            assert Delivery.UNKNOWN is full.value.delivery
            with pytest.raises(LedgerError, match=r"autumn\.db: the disk "):
                await run.claim([LedgerRow(key="late", row_index=9999, contact_email="late@ours.test")])
    assert marked
    known = await ledger.known([row.key for row in ROWS])
    unknown = {key for key, found in known.items() if found.status == LedgerStatus.UNKNOWN}
    assert {row.key for row in marked} == unknown
    assert LedgerStatus.CREATED == known[ROWS[0].key].status  # there was room again when the run ended
    assert {"created", "unknown", "planned"} == {found.status for found in known.values()}


async def test_a_run_goes_on_when_there_is_room_again(path):
    """A failed mark leaves the row as it was, and the connection as good as new."""
    async with Ledger(path).run() as run:
        await run.claim(ROWS[:2])
        with full_disk(path.with_name("autumn.db-wal").stat().st_size):
            with pytest.raises(LedgerError, match="the disk "):
                await run.sending(ROWS[0].key)
        await run.sending(ROWS[0].key)
        await run.finished(ROWS[0].key, LedgerStatus.CREATED, attempts=1)
    assert LedgerStatus.CREATED == (await read_entries(Ledger(path)))[0].status


async def test_a_creation_that_was_broken_off_is_begun_anew(path):
    """Whatever a run that died while making the ledger left behind is of no account."""
    path.with_name("autumn.db-new").write_bytes(b"half")
    path.with_name("autumn.db-new-journal").write_bytes(b"half")
    await open_a_run(Ledger(path))
    assert {"autumn.db", "autumn.db-lock"} == set(files_in(path.parent))


async def test_a_kill_in_the_middle_of_a_checkpoint_loses_nothing(path, tmp_path):
    """A file whose first page already tells of pages that only the log has is opened with its log."""
    copied = tmp_path / "copied"
    copied.mkdir()
    async with Ledger(path).run() as run:
        await run.claim(ROWS[:1000])
        shutil.copy(path, copied)
        shutil.copy(f"{path}-wal", copied)
    newest, older = path.read_bytes(), (copied / "autumn.db").read_bytes()
    assert len(older) < len(newest)
    (copied / "autumn.db").write_bytes(newest[:4096] + older[4096:])
    assert 1000 == (await Ledger(copied / "autumn.db").counts())[LedgerStatus.PLANNED]


def copy_as_a_kill_leaves_it(path, directory, *, log):
    """Copy a ledger that a run has open; its lock is not held there."""
    directory.mkdir()
    shutil.copy(path, directory)
    if log:
        shutil.copy(f"{path}-wal", directory)
    return directory / path.name


def run_open_in(path):
    """Return the flag of a ledger, its log included, and leave every file as it is."""
    with tempfile.TemporaryDirectory() as other:
        for each in path.parent.glob(f"{path.name}*"):
            shutil.copy(each, other)
        with closing(sqlite3.connect(f"{other}/{path.name}")) as opened:
            return opened.execute("SELECT value FROM meta WHERE name = 'run_open'").fetchone()[0]


@pytest.mark.parametrize("use", USES, ids=["run", "entries", "counts", "known", "resolve"])
@pytest.mark.parametrize("rows", [0, 10])
async def test_a_ledger_without_the_log_of_a_dead_run_is_refused(path, tmp_path, use, rows):
    """Tables may be missing in it, so it is not used, from the first row on, and nothing in it changes."""
    async with Ledger(path).run() as run:
        await run.claim(ROWS[:rows])
        copied = copy_as_a_kill_leaves_it(path, tmp_path / "copied", log=False)
    before = files_in(copied.parent)
    with pytest.raises(
        LedgerError, match=r"copied/autumn\.db: it was moved or copied without autumn\.db-wal"
    ):
        await use(Ledger(copied))
    assert before == files_in(copied.parent)
    copied.with_name("autumn.db-wal").touch()
    await open_a_run(Ledger(copied))
    assert "0" == run_open_in(copied)


@pytest.mark.parametrize("use", [open_a_run, read_entries, lambda x: x.counts(), lambda x: x.known(["key"])])
async def test_who_comes_first_after_a_kill_clears_up(path, tmp_path, use):
    """With its log the ledger has every row; a reader, which merges the log, leaves a ledger that opens."""
    async with Ledger(path).run() as run:
        await run.claim(ROWS[:10])
        copied = copy_as_a_kill_leaves_it(path, tmp_path / "copied", log=True)
    await use(Ledger(copied))
    assert "0" == run_open_in(copied)
    assert 10 == (await Ledger(copied).counts())[LedgerStatus.PLANNED]
    await open_a_run(Ledger(copied))


async def test_a_reader_leaves_a_living_runs_flag(path):
    """Only the run itself says that it has ended."""
    async with Ledger(path).run():
        await read_entries(Ledger(path))
        assert "1" == run_open_in(path)
    assert "0" == run_open_in(path)


async def test_a_ledger_from_before_the_flag_opens(path):
    """No flag says that no run is on."""
    await open_a_run(Ledger(path))
    change(path, "DELETE FROM meta WHERE name = 'run_open'")
    assert 0 == (await Ledger(path).counts())[LedgerStatus.PLANNED]
    await open_a_run(Ledger(path))
    assert "0" == run_open_in(path)


async def test_an_end_that_cannot_be_noted_does_no_harm(path):
    """All is on disk already: the run ends without an error, and the ledger opens."""
    async with contextlib.AsyncExitStack() as disk:
        async with Ledger(path).run() as run:
            await run.claim(ROWS[:10])
            disk.enter_context(full_disk(0))
    assert "1" == run_open_in(path)
    assert 10 == (await Ledger(path).counts())[LedgerStatus.PLANNED]
    assert "0" == run_open_in(path)


async def test_an_end_is_noted_on_a_disk_that_has_filled_up(path):
    """Where the log cannot grow it starts over, and the ledger is not taken for a dead run's."""
    async with contextlib.AsyncExitStack() as disk:
        async with Ledger(path).run() as run:
            await run.claim(ROWS[:300])
            for row in ROWS[:20]:  # the log is then longer than the file that it is merged into
                await run.sending(row.key)
            disk.enter_context(full_disk(path.with_name("autumn.db-wal").stat().st_size))
            with pytest.raises(LedgerError, match="the disk "):
                await run.claim(ROWS)
    assert "0" == run_open_in(path)


async def test_a_flag_that_cannot_reach_the_file_stops_the_run(path):
    """Another program that reads an old state for long prevents it, and is named."""
    async with Ledger(path).run() as run:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM interviews").fetchall()
            await run.claim(ROWS[:1])
            async with aclosing(await SqliteBackend(path).open()) as connection:
                await connection.exec_driver_sql("PRAGMA busy_timeout=0")
                await connection.rollback()
                with pytest.raises(LedgerError, match=r"autumn\.db: another program keeps it locked"):
                    await merge_log(connection, path)


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
async def test_the_log_of_a_ledger_that_is_gone_is_not_replayed(path, suffix):
    """A new ledger is refused until the person has decided, and the log stays."""
    path.with_name(f"autumn.db{suffix}").write_bytes(b"the only copy")
    with pytest.raises(
        LedgerError, match=rf"autumn\.db is gone but autumn\.db{suffix} is there: put the ledger back"
    ):
        await open_a_run(Ledger(path))
    assert {"autumn.db-lock": b"", f"autumn.db{suffix}": b"the only copy"} == files_in(path.parent)


@pytest.mark.parametrize("name", ["autumn.db", "other.db"])
@pytest.mark.parametrize("use", USES, ids=["run", "entries", "counts", "known", "resolve"])
async def test_a_hard_link_is_refused(path, use, name):
    """Under two names one file would have two locks and two logs."""
    await open_a_run(Ledger(path))
    path.with_name("other.db").hardlink_to(path)
    with pytest.raises(LedgerError, match=rf"{name} has a second name \(a hard link\)"):
        await use(Ledger(path.with_name(name)))


async def test_a_second_run_is_refused_at_once_under_every_spelling(path, tmp_path):
    """Relative, through a link, as a URL: one file, one run; and the first goes on untouched."""
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    spellings = [
        path,
        str(path),
        "autumn.db",
        "./elsewhere/./autumn.db",
        tmp_path / "link.db",
        tmp_path / "elsewhere" / "autumn.db",
        f"sqlite+aiosqlite:///{path}",
        "sqlite:///autumn.db",
    ]
    with contextlib.chdir(tmp_path):
        async with Ledger(path).run() as run:
            for spelling in spellings:
                with pytest.raises(
                    LedgerInUseError, match=r"autumn\.db is used by another run: wait for its end"
                ):
                    await open_a_run(Ledger(spelling))
            await run.claim(ROWS[:1])
        for spelling in spellings:
            async with Ledger(spelling).run() as run:
                assert {ROWS[0].key} == set(await run.claim(ROWS[:1]))


async def test_two_ledgers_in_one_directory_do_not_meet(tmp_path):
    """The lock is one ledger's own."""
    async with Ledger(tmp_path / "a.db").run(), Ledger(tmp_path / "b.db").run():
        pass


async def test_a_lock_file_that_is_something_else_is_an_error(path):
    """It is not overwritten."""
    path.with_name("autumn.db-lock").write_bytes(b"something else" * 100)
    with pytest.raises(LedgerError, match=r"autumn\.db: it is no ledger"):
        await open_a_run(Ledger(path))
    assert b"something else" * 100 == path.with_name("autumn.db-lock").read_bytes()


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "a?b#c.db", "ü-日本.db", "file:x.db", "x"])
async def test_any_file_name_will_do(tmp_path, name):
    """No character means anything but itself."""
    await open_a_run(Ledger(tmp_path / name))
    assert {name, f"{name}-lock"} == set(files_in(tmp_path))
    assert {} == await Ledger(tmp_path / name).known(["key"])


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("mysql+aiomysql://user:secret@host/db", r"kept in SQLite or PostgreSQL: .*not mysql\+aiomysql"),
        ("postgresql+psycopg://user:secret@host/db", r"not postgresql\+psycopg"),
        ("postgresql://user:secret/db@host:secret/db", "neither a path nor a database URL"),
        ("postgresql://host/db?lease_seconds=secret", "lease_seconds in the ledger's URL must be a number"),
        ("sqlite+aiosqlite:///x.db?mode=memory", "kept in SQLite"),
        ("sqlite+aiosqlite://", "outlives its process"),
        ("sqlite+aiosqlite:///:memory:", "outlives its process"),
        (":memory:", "outlives its process"),
        ("", "outlives its process"),
        ("://", "neither a path nor a database URL"),
    ],
)
def test_a_place_that_keeps_nothing_is_a_wrong_argument(location, complaint):
    """Said when the ledger is named, and without repeating a password."""
    with pytest.raises(ValueError, match=complaint) as caught:
        Ledger(location)
    assert "secret" not in str(caught.value)


async def test_its_errors_are_the_packages(path):
    """One `except` catches them, and tells that nothing was sent."""
    with pytest.raises(HindsightError) as caught:
        await Ledger(path).counts()
    assert Delivery.NOT_SENT is caught.value.delivery


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
async def test_only_its_owner_may_read_a_ledger(path):
    """Whatever the umask, the file and all that lies beside it is nobody else's."""
    async with Ledger(path).run() as run:
        await run.claim(ROWS[:3])
        names = {f"autumn.db{suffix}" for suffix in ("", "-lock", "-wal", "-shm")}
        assert dict.fromkeys(names, OWNER_ONLY) == {
            file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()
        }


async def test_the_mode_of_a_ledger_that_is_there_is_left_alone(path):
    """Who shares a ledger with others on purpose goes on doing so."""
    await open_a_run(Ledger(path))
    for file in path.parent.iterdir():
        file.chmod(0o640)
    async with Ledger(path).run() as run:
        await run.claim(ROWS[:3])
        assert {0o640} == {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
