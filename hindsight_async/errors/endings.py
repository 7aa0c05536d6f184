"""The sentences that the text of an error can end with."""

import enum


class Ending(enum.StrEnum):
    """What an error means for what was to be done: each text ends with one of these, and says it nowhere else."""

    NOTHING_SENT = "nothing was sent"
    NOT_FROM_HERE = "nothing was sent from here"
    """Another run or call may have sent it."""

    NO_EFFECT = "it had no effect"
    UNKNOWN = "it may have taken effect"
    DONE = "it took effect, and only its answer is lost"
    """The status is known to be a 2xx."""

    READ = "a read changes nothing"
    NO_FILE = "there is no file"
    GOES_ON = "it goes on, and can be waited for again"
    RUN_ENDED = "no more rows were begun, and each outcome says what became of its row"
    RUN_RECORDED = "all that was sent is recorded"
    RUN_UNRECORDED = "the next run takes what is not recorded for unknown"
    UNRECORDED = "what became of it is not recorded"
    CREATED_UNRECORDED = "it took effect, and its interview_request_id {} is not recorded"
