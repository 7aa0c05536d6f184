"""Server-sent events are read by the rules of the HTML standard, however the network cuts them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from hindsight_async.resources.responses.event_stream import EventStreamParser

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
LINE = TEXT.map(lambda text: text.replace("\r", "").replace("\n", ""))
LINES = st.one_of(
    LINE,
    LINE.map("data:{}".format),
    LINE.map("data: {}".format),
    LINE.map("event: {}".format),
    LINE.map("id: {}".format),
    LINE.map(":{}".format),
    st.sampled_from(["", "", "data", "retry: 10", "\ufeffdata: x"]),
)
STREAMS = st.tuples(
    st.booleans(), st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r", "\r\n"])), max_size=12), LINE
).map(
    lambda parts: (
        b"\xef\xbb\xbf" * parts[0] + ("".join(line + end for line, end in parts[1]) + parts[2]).encode()
    )
)


def events_in(*pieces):
    parser = EventStreamParser()
    return [(event.name, event.data) for piece in pieces for event in parser.feed(piece)]


def read_whole(stream):
    """Read a stream that is here as a whole, the way the standard tells it, one line at a time."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _unfinished = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    events, data, name = [], "", ""
    for line in lines:
        field, colon, value = line.partition(":")
        value = value[1:] if value[:1] == " " else value
        if line == "":
            if data:
                events.append((name, data[:-1]))
            data, name = "", ""
        elif colon and not field:
            continue
        elif field == "data":
            data += value + "\n"
        elif field == "event":
            name = value
    return events


@given(STREAMS, st.data())
def test_a_stream_says_the_same_however_it_is_cut(stream, data):
    """At any byte: in the middle of a character, between CR and LF, in a field's name."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read_whole(stream) == events_in(*pieces)
    assert read_whole(stream) == events_in(*(bytes([byte]) for byte in stream))


@given(st.binary(max_size=60), st.integers(1, 5))
def test_no_bytes_are_too_odd(stream, size):
    """What is no UTF-8 becomes the replacement character, as browsers have it."""
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert read_whole(stream) == events_in(*pieces)


@given(st.lists(st.dictionaries(TEXT, TEXT, max_size=3), max_size=5), st.sampled_from(["\n", "\r", "\r\n"]))
def test_json_comes_through_as_it_was_sent(documents, end):
    """One event for each, in their order."""
    stream = "".join(f"data: {json.dumps(one, ensure_ascii=False)}{end}{end}" for one in documents).encode()
    assert documents == [json.loads(data) for _, data in events_in(stream)]


def test_several_data_lines_are_one_event():
    """Joined by line feeds, whatever ended them."""
    assert [("", "a\nb\n\nc")] == events_in(b"data: a\r\ndata:b\rdata\ndata: c\n\n")


def test_comments_ids_and_waits_are_no_events():
    """Nor are blank lines without data before them."""
    assert [("", "x")] == events_in(b": keep alive\n\n\n\nid: 7\nretry: 10\n\n:\ndata: x\nid\n\n")


def test_a_name_belongs_to_its_event_alone():
    """The last one counts, and one without data is forgotten."""
    assert [("b", "1"), ("", "2")] == events_in(b"event: a\nevent: b\ndata: 1\n\nevent: c\n\ndata: 2\n\n")


def test_one_space_after_the_colon_is_no_data():
    """Only the first, and no other white space."""
    assert [("", " x "), ("", "\tx")] == events_in(b"data:  x \n\ndata:\tx\n\n")


def test_a_byte_order_mark_is_dropped_at_the_beginning_alone():
    """Also where it comes byte by byte; later it is part of a field's name."""
    assert [("", "x")] == events_in(b"\xef", b"\xbb", b"\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n")


def test_what_ends_without_a_blank_line_is_no_event():
    """The standard drops it."""
    assert [("", "x")] == events_in(b"data: x\n\ndata: y\n")


def test_a_line_that_comes_in_very_many_pieces_is_read_in_time():
    """Its cost grows with its length, and not with that times its pieces."""
    parser = EventStreamParser()
    assert [] == [event for _ in range(200_000) for event in parser.feed(b"x" * 20)]
    assert [] == parser.feed(b"\ndata: y\n")
    assert ["y"] == [event.data for event in parser.feed(b"\n")]
