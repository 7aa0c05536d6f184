"""Rows with something wrong are grouped by what it is."""

import pytest

from hindsight_async.cli.contacts import BadRow
from hindsight_async.cli.problems import GROUPS_SHOWN, ROWS_NAMED, Problems


@pytest.fixture
def said(capsys):
    def said(rows):
        problems = Problems()
        for row in rows:
            problems.add(row)
        problems.say()
        return capsys.readouterr().err

    return said


def bad(line, kind="cannot be sent", *, problem="x", value=None):
    return BadRow(line=line, cells={}, problem=problem, kind=kind, value=value)


def test_nothing_is_said_where_nothing_is_wrong(said):
    """No heading without a group."""
    assert "" == said([])


def test_the_most_frequent_problem_stands_first(said):
    """With its rows, the values of three, and what else can be done about it."""
    several = [bad(line, "not one address", value=f"a@x.test; b{line}@x.test") for line in range(3, 7)]
    expected = """\
Problems
      4  not one address
         rows 3 'a@x.test; b3@x.test', 4 'a@x.test; b4@x.test', 5 'a@x.test;
         b5@x.test', 6
         --several first takes the first of them, --several all takes each
      1  no address
         row 2
"""
    assert expected == said([bad(2, "no address"), *several])


def test_a_problem_without_a_kind_says_what_is_wrong(said):
    """Its own text is the group."""
    assert "      2  'Deal' is empty\n         rows 2, 3\n" in said(
        [bad(2, problem="'Deal' is empty"), bad(3, problem="'Deal' is empty")]
    )


def test_a_file_full_of_problems_is_cut_short(said):
    """Rows, groups and values have their limits, what is beyond is counted, and each line fits a terminal."""
    empty = [bad(line, "no address", value="z" * 500) for line in range(ROWS_NAMED + 30)]
    text = said([*empty, *(bad(line, problem=f"problem {line}") for line in range(GROUPS_SHOWN + 4))])
    assert "and 30 more\n" in text
    assert f"0 '{'z' * 40}\u2026'," in text
    assert "      5  wrong in other ways\n" in text
    assert 80 >= max(map(len, text.splitlines()))


def test_control_characters_in_a_value_do_nothing(said):
    """What stands in a cell is spelled out, not obeyed."""
    assert "\x1b" not in said([bad(2, "not an address", value="\x1b[2Jx")])


def test_row_numbers_stand_as_a_spreadsheet_writes_them(said):
    """Without commas inside, since commas stand between them; the count of a group has them."""
    assert "  1,002  no address\n         rows 1000, 1001," in said(
        [bad(line, "no address") for line in range(1000, 2002)]
    )
