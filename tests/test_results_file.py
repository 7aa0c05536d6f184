"""The file of results: beside that of earlier runs, whose links it takes over, and never with fewer of them on disk."""

import csv
import gc
import warnings

import pytest

from hindsight_async.cli.results import RowResult
from hindsight_async.cli.results_file import ResultsFile, results_beside

COLUMNS = ("Email",)
ANN, BEN = ({"Email": f"{name}@acme.example"} for name in ("ann", "ben"))


def made(number, *, link=True):
    url = f"https://h.test/s?t={number}" if link else None
    return RowResult(status="created", interview_request_id=number, survey_url=url)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "c.results.csv"


@pytest.fixture
def run(output):
    """Give a test one run's results, from their beginning to their end; without an end where it was killed."""

    def run(*rows, columns=COLUMNS, killed=False, output=output):
        results = ResultsFile(output, columns, apart_from=())
        results.begin()
        for cells, result in rows:
            results.write(cells, result)
        if not killed:
            results.close()
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the kernel closes it
            del results
            gc.collect()

    return run


def links(path):
    with path.open(newline="") as file:
        return {row["interview_request_id"]: row["survey_url"] for row in csv.DictReader(file)}


def names(output):
    return sorted(path.name for path in output.parent.iterdir())


def test_a_later_run_takes_over_the_links_and_the_place(run, output):
    """One file is left, with every link; nothing else lies beside it."""
    run((ANN, made(1)))
    run((ANN, made(1, link=False)), (BEN, made(2)))
    assert {"1": "https://h.test/s?t=1", "2": "https://h.test/s?t=2"} == links(output)
    assert ["c.results.csv"] == names(output)


def test_what_a_killed_run_wrote_is_taken_over_too(run, output):
    """Two killed runs leave two parts, and the first that ends has the links of both; the earlier file stays till then."""
    run((ANN, made(1)))
    run((BEN, made(2)), killed=True)
    run(({"Email": "carl@acme.example"}, made(3)), killed=True)
    assert {"1": "https://h.test/s?t=1"} == links(output)
    assert ["c.results.csv", "c.results.csv.part", "c.results.csv.part2"] == names(output)
    run(*((ANN, made(number, link=False)) for number in (1, 2, 3)))
    assert {str(number): f"https://h.test/s?t={number}" for number in (1, 2, 3)} == links(output)
    assert ["c.results.csv"] == names(output)


def test_a_row_that_broke_off_costs_no_other_one(run, output):
    """A file that ends in the middle of a cell has all links before it."""
    run((ANN, made(1)), (BEN, made(2)), killed=True)
    part = output.with_name(f"{output.name}.part")
    part.write_bytes(part.read_bytes()[:-30] + b'"half a ce')
    run((ANN, made(1, link=False)))
    assert {"1": "https://h.test/s?t=1"} == links(output)


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_links_are_read_out_of_either_format(run, output, suffix):
    """The next run writes the same kind."""
    output = output.with_suffix(f".{suffix}")
    run((ANN, made(1)), output=output)
    run((ANN, made(1, link=False)), output=output)
    assert "https://h.test/s?t=1" in output.read_text()
    assert [output.name] == names(output)


def test_links_survive_a_spreadsheet_that_saved_the_file_its_own_way(run, output):
    """Semicolons, and a byte order mark."""
    output.write_text(
        "\ufeffEmail;status;interview_request_id;survey_url;error\r\na@b.test;created;1;https://h.test/s?t=1;\r\n"
    )
    run((ANN, made(1, link=False)))
    assert {"1": "https://h.test/s?t=1"} == links(output)


@pytest.mark.parametrize(
    ("earlier", "rows"),
    [
        (
            "Email,status,interview_request_id,survey_url\na@b.test,created,7,https://h.test/s?t=7\n",
            [(ANN, made(1))],
        ),
        (
            "Email,status,interview_request_id,survey_url,My notes\na@b.test,created,1,,call her\n",
            [(ANN, made(1))],
        ),
        ("Shopping list\nmilk\n", [(ANN, made(1))]),
        ("", [(ANN, made(1))]),
    ],
    ids=["another interview", "a column of one's own", "no results", "empty"],
)
def test_what_the_new_file_lacks_is_kept_beside_it(run, output, capsys, earlier, rows):
    """Nobody's file is lost for a new one; where it went is said."""
    output.write_text(earlier)
    run(*rows)
    assert earlier == output.with_name("c.results.csv.1").read_text()
    assert "the earlier c.results.csv is now c.results.csv.1\n" == capsys.readouterr().err
    assert {"1": "https://h.test/s?t=1"} == links(output)


def test_two_runs_at_a_time_lose_nothing_of_each_other(output):
    """Each writes to a part of its own, and the later one to end keeps what the other has made meanwhile."""
    first, second = (ResultsFile(output, COLUMNS, apart_from=()) for _ in range(2))
    first.begin()
    second.begin()
    first.write(ANN, made(1))
    second.write(BEN, made(2))
    first.close()
    second.close()
    assert {"2": "https://h.test/s?t=2"} == links(output)
    assert {"1": "https://h.test/s?t=1"} == links(output.with_name("c.results.csv.1"))
    assert ["c.results.csv", "c.results.csv.1"] == names(output)


def test_a_link_to_a_file_stays_one(run, output, tmp_path):
    """The results are where it leads."""
    place = tmp_path / "elsewhere.csv"
    output.symlink_to(place)
    run((ANN, made(1)))
    assert output.is_symlink()
    assert {"1": "https://h.test/s?t=1"} == links(place)


def test_results_lie_beside_their_input(tmp_path):
    """Of stdin, and of what is no file that will be there again, they go to stdout, as they do where one asks for it."""
    (tmp_path / "c.xlsx").write_bytes(b"")
    (tmp_path / "l.csv").symlink_to("c.xlsx")
    assert tmp_path / "c.results.csv" == results_beside(str(tmp_path / "c.xlsx"), None)
    assert (tmp_path / "c.results.csv").resolve() == results_beside(str(tmp_path / "l.csv"), None).resolve()
    assert (None, None, None) == tuple(
        results_beside(file, output)
        for file, output in (
            ("-", None),
            ("/dev/stdin", None),
            (str(tmp_path / "c.xlsx"), type(tmp_path)("-")),
        )
    )
