"""Async Python SDK for the Hindsight win-loss interview API.

Creating an interview emails a real person, and the API has no idempotency key, no list and no
undo. So each request goes out at most once unless it provably never happened, as fast as the plan
allows and no faster, and the caller can always tell what became of it.

Users import from here, from `hindsight_async.emulator` and from `hindsight_async.testing`, and from
nowhere else. Inside, in reading order:

    session.py                  opens and closes the parts that a call passes
    resources/                  what the API does
        interviews/             create, read and update, one or many
            models.py           requests and responses
            arguments.py        what they take, checked
            calls.py            typed arguments to calls, and to runs of many
            updates.py          overwrites, or merges into what a ledger remembers
            queueing.py         typed arguments to a queue
            recipients.py       who may be emailed, and when two rows mean the same interview
            rows.py             a create as a row of a run and of the ledger
            context.py          a contact's notes, merged
            waiting.py          until they are completed
            poller.py           reads them now and then
            poll_schedule.py    when which is read again
        deals/                  read, filter and export deals
            models.py           a deal with its heavy parts, and an export
            calls.py            pages, walks over all of them, and the count
            filters.py          which deals are meant, by the names of either route
            filter_encoding.py  filters as they are sent
            exports.py          started, waited for, downloaded
            export_file.py      a file that is there whole or not at all
            export_link.py      what of a link is secret, and when it is too old
        anything.py             what is new in the API
        on_first_use.py         session.deals and such, loaded when they are first used
        tools/                  the direct tools
            models.py           their answers
            arguments.py        what each of them takes
            calls.py            typed arguments to calls
        documents/              uploads
            models.py           their answers, and the words that the API takes
            source.py           what is uploaded, checked and named
            calls.py            typed arguments to calls
        responses/              questions and answers
            models.py           what is asked, what is answered, and the events of an answer
            event_stream.py     server-sent events out of bytes
            stream.py           an answer as its words come
            calls.py            typed arguments to calls
    delivery/                   nobody is emailed twice
        bulk.py                 a run of many: reads, plans, sends by a fixed set of workers
        input.py                its rows as they come in, and which stood in it before
        claimed.py              its rows that other runs have in hand, asked for again at its end
        row.py                  one row on its way to its verdict
        row_kind.py             what a resource says about its rows
        options.py              what can be said of runs
        keys.py                 a caller's own keys, and their hashes
        outcomes.py             the verdict on a row, and which verdicts end the run
        addresses.py            when two spellings are one person, and the hash that stands for them
        queue/                  what is accepted now and sent when the plan lets it
            queue.py            put, drain, snapshot
            sender.py           what goes on in the background
            queued_row.py       a row on its way, and when it is tried again
            pauses.py           how long until then, and what pauses the whole queue
            models.py           what it tells
        failures.py             how many rows failed one after another
        network.py              a network that is gone for a while, waited for
        ledger/                 what was about to be sent and what became of it, on disk
            entries.py          what is known of a row, and which rows may be sent
            ledger.py           opening one, reading it, resolving what is unknown
            location.py         where one is: a file or a database
            run.py              rows claimed, marked before they leave, and finished
            moves.py            from one status to the next
            contexts.py         the contexts that the API accepted last, to be merged into
            forgetting.py       what it takes to forget a person
            readings.py         what reading interviews has told of them
            resolving.py        what a person found out about rows
            queue_run.py        what a queue does in it
            queue_from_outside.py  what is done to a queue without sending from it
            queue_rows.py       rows with a body: stored, due, paused
            claims.py           which claimed rows are new, free again, or held back
            arguments.py        what calls take as `ledger=`
            kept_errors.py      what is kept of an error, to be raised again
            group_commit.py     concurrent writes that share one transaction
            run_connection.py   a run's connection, opened anew where the database was away
            tables.py           the tables and their statements
            column_types.py     the types of their columns
            sqlite.py           `SqliteBackend`: a file, and what makes writes to it durable
            file_lock.py        `SqliteRunLock`: the one run on a file
            postgres.py         `PostgresBackend`: a database, and what makes writes to it durable
            postgres_url.py     what may stand behind the `?` of its URL
            leases.py           `PostgresRunLock`: one of several runs, which leases its rows
    call/                       the way of one call
        request.py              what any call and any reply are, as plain values
        options.py              what can be said of calls
        streaming.py            an answer that is read piece by piece
        execute.py              the loop of a call: permit, send, judge, then wait or return
        events.py               what happens to a call, as small values
        trace.py                follows a call and tells what happens to it
        observer.py             who listens to that
        event_log.py            what the log says of it
        log_output.py           how a script turns the log on, and where it goes
        retry.py                whether to send again, and after how long
        transport.py            sends at most once, and knows whether the bytes left
        middlewares.py          keeps aiohttp from sending a GET twice, and the key to its origin
        body.py                 bodies that note when they begin to leave
        failure.py              what the network did to a call, as an error
        deadline_timer.py       one timer for the deadlines of all requests
        connections.py          opens and closes the pool, for one event loop at a time
        connector.py            connections that carry no answer that nobody asked for
        proxy.py                a proxy out of its URL
        access.py               where requests go and with which key
        reading.py              an answer's body, up to a limit and unpacked
        answer.py               what a reply means: a value or an error
        codec.py                models to JSON and back
        answered.py             what models of answers have in common
        converter.py            models to plain values and back, nothing coerced
        values.py               what JSON's plain values stand for
    rate/                       when a request may leave
        plan.py                 the tiers
        budget.py               the rate budget as users see it
        client.py               a session's side of the budget: passes all on to the scheduler
        scheduler.py            gives a permit at once, or when its turn comes
        wait_queue.py           who waits, whose turn it is, and what keeps one back alone
        wait_reports.py         what is told of waiting
        limiter.py              what both limiters offer the scheduler, and their errors
        local_limiter.py        what is in a request's way, by this process's own count
        policy.py               how many may leave under one limit: the rules, with the proof
        belief.py               how the server counts, and how much is left to others
        others_use.py           how much others use, and what of that is expected again
        counting.py             the ways in which servers count
        own_requests.py         our own requests of the last minutes
        server_clock.py         what the server's clock shows
        cooldown.py             closed by a 429, opening behind a probe
        token_bucket.py         the pace
        limits.py               the limits that the server names
        headers.py              what the server's headers say
        redis/                  one budget for a whole fleet; with the proof
            budget.py           the fleet's budget as users see it
            limiter.py          what is in a request's way, by the count in Redis
            fleet_state.py      what this process has, and what it may send alone
            fleet_permits.py    the permits that it has
            fleet_view.py       the fleet as this process sees it
            fleet_log.py        the fleet's log, read by the rules of a process by itself
            fleet_sync.py       what there is to say to Redis, and what the reply changes
            sync_task.py        the one task that speaks to Redis
            messages.py         one round trip, as plain values
            log_entries.py      an entry of the log, as plain values
            sync.lua            the script: one log for all, and no more permits than may be
            connection.py       the connection: there, away, or saying no
            url.py              what is wrong with a URL
            timing.py           how long things last
    after_fork.py               what a child process does with the state of its parent
    shielding.py                work that is finished also where its caller is cancelled
    errors/                     the error tree
        root.py                 its root, and whether a request may have taken effect
        api.py                  what the server answers with instead of a success
        http_info.py            the answer that a value or an error came of
        endings.py              the sentences that an error's text can end with
    redaction.py                what stays out of error texts, logs and files
    extras.py                   the public names that are loaded on first use, and their extras

Each folder imports only from those below it. On top of them, and imported by none of them:

    emulator/                   a local Hindsight, with no code of resources, delivery and call
        server.py               what it is built with, its life cycle
        scripting.py            what a test sees of it, and does to it while it runs
        settings.py             what of it may be changed then
        listener.py             its socket and its connections
        gateway.py              the way of one request through it
        routes.py               from method, path and bytes to the true answer
        validation.py           which bodies are taken
        answers.py              an answer and an error, as plain values
        wire.py                 how an answer leaves: whole, in part, or cut off
        faults.py               what is scripted to go wrong
        quota.py                the rate limit and the month
        limits.py               the ways of counting
        state.py                interviews, contacts, outbox
        kept.py                 what of them is kept between two starts, as lines of JSON
        state_file.py           the file for that
        deals.py                deals, and which page of them is answered
        deal_filters.py         which deals pass the filters of a page or an export
        exports.py              exports of deals
        tools.py                the direct tools
        documents.py            uploads
        responses.py            questions, and scripted answers
        visitors.py             who may use what a browser can reach
        survey.py               the page behind a survey link
        conversation.py         what is asked on it, and the transcript
        control.py              the remote control: its routes
        control_fields.py       what they take
        control_lists.py        the lists that they show, in pages
        control_views.py        what they show of each thing
        control_events.py       its stream: the state whenever it has changed
        activity.py             how many requests came in each second of the last minute
        front_page.py           the page at the root: its files
        page/                   these files; the browser makes the page, of the remote control
            index.html          what is there before anything is known
            page.css            how it looks: light and dark, wide and narrow
            page.js             what it knows, kept up to date; where it is; the rate strip
            list.js             a long list, of which only what is seen is fetched
            kinds.js            what there is to look at: a row of each, and all of one
            dialogs.js          reset, settings, faults
            elements.js         elements and texts, never HTML
            icon.svg            its icon
    testing.py                  the pytest plugin
    otel/                       OpenTelemetry, where somebody asks for it
        instrument.py           the one way in
        conventions.py          what OpenTelemetry calls things
        origin.py               what all that is told of one session has in common
        spans.py                a span of each call
        measures.py             how long calls, requests and waits took
        gauges.py               how budgets and queues stand
    cli/                        the command line, whose `__init__` has the table of commands
        enroll.py               `enroll`
        update.py               `update`
        queue.py                `queue`
        get.py                  `get`
        records.py              `ledger`
        resolutions.py          the facts that `ledger resolve` is given
        deals.py                `deals`
        demo.py                 `demo`
        emulate.py              `emulate`
        fault_words.py          its faults, as they are typed
        shells.py               its variables, as the shells take them
        request_log.py          its log, a line for each request
        documents.py            `documents upload`
        status.py               `status`: created, sent, completed
        transcripts.py          `transcripts`: what was said, as files
        which_interviews.py     which interviews these two are about
        followed.py             what is known of them, read at plan speed and noted
        check.py                `check`: key, host, plan, ledger and extras
        ask.py                  `ask`
        help.py                 how `--help` looks
        json_lines.py           what other programs read of them
        shared_options.py       the plan, other processes, and the log
        file_arguments.py       what `enroll` and `update` are given
        ledger_beside.py        where the ledger of a file is
        before_sending.py       what `enroll` checks, shows and refuses before it sends
        selection.py            a first careful step: some rows, or some to oneself
        preflight.py            what a file amounts to before anything is sent
        preview.py              what was understood of it: its columns, its first rows
        problems.py             the rows with something wrong, grouped by what it is
        question.py             what is about to be sent, and the question before it
        changes.py              what updates overwrite, and the question before it
        row_keys.py             the keys of rows on their way into a run
        file_run.py             the run over a file's rows
        remaining_rows.py       those that it did not get to
        survey_links.py         links that are read back from the API
        progress.py             how far it is
        causes.py               why rows failed, folded
        run_failures.py         what ended a run, with the advice that fits it
        summary.py              what a person reads when it is over
        enroll_endings.py       what `enroll` advises then
        steps.py                what is being done, where that takes a while
        results.py              what became of each row, beside the row
        results_file.py         the file of them, beside the one of earlier runs
        earlier_results.py      what that has
        signals.py              what Ctrl-C and its like do meanwhile
        terminal.py             what a person is told and asked, and the exit codes
        contacts/               files of people
            file_format.py      which kind of file it is
            workbook.py         the rows of an Excel workbook
            json_objects.py     the objects of JSON Lines
            report_layout.py    titles above the headings, footers below
            tables.py           its rows, with their line numbers
            headings.py         what columns are called
            columns.py          which column feeds which field
            products.py         which product wrote a file
            address_cell.py     one address in a cell, or several
            rows.py             rows to requests
            exclusions.py       people who are not to be written to
        sample_contacts.csv     25 made-up contacts
    __main__.py                 starts it: `hindsight-async`, or `python -m hindsight_async`

The way of one call:

    1. `Interviews.create` in resources/interviews/calls.py checks what it is given.
    2. `Executor.run` in call/execute.py takes it through the next four as often as that is safe.
    3. `BudgetClient.acquire` in rate/client.py waits for a permit, which rate/scheduler.py gives.
    4. `Transport.send` in call/transport.py sends it once.
    5. `judge` in call/answer.py turns the reply into a model or an error.
    6. `BudgetClient.release` in rate/client.py lets go of the permit and learns from the headers.
    7. `pause_before_next` in call/retry.py says, after an error, when to go on with 3, if at all.

The way of one row of a bulk run:

    1. `Interviews.create_many` in resources/interviews/calls.py makes the run.
    2. `IncomingRows` in delivery/input.py reads it with others: those with a place, and some ahead.
    3. `SeenKeys` in delivery/input.py says whether it stood in the input before.
    4. `LedgerRun.claim` in delivery/ledger/run.py writes it down, or says what it became.
    5. `deliver` in delivery/row.py has it sent, in the way of one call. Between 3 and 4 of that
    6. `LedgerRun.sending` in delivery/ledger/run.py marks it on disk, before its first byte leaves.
    7. `LedgerRun.finished` in delivery/ledger/run.py writes down what became of it.
    8. `BulkRun.__anext__` in delivery/bulk.py tells the caller.

Five questions, and where each is answered:

    When may a create be repeated?
        In its call where nothing of it left, or after a 429: call/retry.py, by what call/failure.py
        made of the failure. In a later run by what its row says: delivery/ledger/entries.py.
    When does a request leave, once its call was checked?
        When its session has a place in flight and it is its turn: rate/wait_queue.py. When nothing
        is in the way of all or of its route (a cooldown, a pace, a window): rate/local_limiter.py.
        When the count allows it: rate/policy.py, with the proof. Then a row's mark gets on disk.
    What is on disk before it leaves?
        Its row, in a run with a ledger, marked `sending`: delivery/ledger/run.py says what is
        written when, delivery/ledger/sqlite.py and delivery/ledger/postgres.py how that is durable.
    What happens after a 429?
        All wait, then one goes, and the rest behind its answer: rate/cooldown.py. Who goes first:
        rate/wait_queue.py.
    What does a new endpoint change?
        What resources/__init__.py lists; nothing in call/ and rate/.
"""

from typing import TYPE_CHECKING, Any

from hindsight_async.call.options import Timeouts
from hindsight_async.call.retry import RetryPolicy
from hindsight_async.errors import (
    APIError,
    BadRequestError,
    BulkAbortedError,
    CreateLimitReachedError,
    DeadlineExceededError,
    DecodeError,
    Delivery,
    ExportExpiredError,
    ExportFailedError,
    ForbiddenError,
    HindsightError,
    HTTPInfo,
    InternalServerError,
    LedgerError,
    LedgerInUseError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    QueuePausedError,
    QuotaExceededError,
    RateLimitExceededError,
    RecipientNotAllowedError,
    RedisRefusedError,
    SessionClosedError,
    UnauthorizedError,
    WaitTimeoutError,
    WrongEventLoopError,
)
from hindsight_async.extras import ON_FIRST_USE, load_on_first_use
from hindsight_async.rate import BudgetSnapshot, Lane, Plan, RateBudget
from hindsight_async.resources.interviews.calls import Interviews
from hindsight_async.resources.interviews.context import merge_context
from hindsight_async.resources.interviews.models import (
    CreatedInterview,
    CreateInterview,
    Interview,
    InterviewStatus,
    Transcript,
    UpdatedInterview,
    UpdateInterview,
)
from hindsight_async.session import HindsightSession

if TYPE_CHECKING:
    from hindsight_async.call.events import (
        AttemptEnded,
        AttemptSent,
        CallEnded,
        CallStarted,
        OutcomeUnknown,
        Paused,
        WaitingForBudget,
    )
    from hindsight_async.delivery.bulk import BulkRun
    from hindsight_async.delivery.ledger.entries import Forgotten, LedgerEntry, LedgerRow, LedgerStatus
    from hindsight_async.delivery.ledger.ledger import Ledger
    from hindsight_async.delivery.ledger.run import LedgerRun
    from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
    from hindsight_async.delivery.queue.models import Accepted, QueueSnapshot
    from hindsight_async.delivery.queue.queue import DurableQueue
    from hindsight_async.otel.instrument import instrument
    from hindsight_async.rate.redis.budget import RedisBudget
    from hindsight_async.resources.deals.calls import DealList, Deals, DealSort, SortOrder
    from hindsight_async.resources.deals.filters import (
        CRMFilter,
        CRMOperator,
        DateRange,
        DealFilters,
        ExportFilters,
        ExportFilterType,
        FilterType,
        NumberRange,
        SegmentFilterType,
    )
    from hindsight_async.resources.deals.models import (
        CustomAnswer,
        CustomMetric,
        Deal,
        DealCompetitor,
        DealDriver,
        DealFeature,
        Export,
        ExportStatus,
    )
    from hindsight_async.resources.documents.calls import Documents
    from hindsight_async.resources.documents.models import Document, UploadedDocument
    from hindsight_async.resources.interviews.poller import InterviewPoller
    from hindsight_async.resources.responses.calls import Responses
    from hindsight_async.resources.responses.models import (
        AssistantMessage,
        Citation,
        CitationEvent,
        ContentDelta,
        Message,
        Response,
        UnknownEvent,
    )
    from hindsight_async.resources.responses.stream import ResponseStream
    from hindsight_async.resources.tools.calls import Tools
    from hindsight_async.resources.tools.models import (
        CompetitorPositioning,
        DealDetails,
        DetailedDeal,
        SelectedDeal,
    )

__all__ = [
    "APIError",
    "Accepted",
    "AssistantMessage",
    "AttemptEnded",
    "AttemptSent",
    "BadRequestError",
    "BudgetSnapshot",
    "BulkAbortedError",
    "BulkRun",
    "CRMFilter",
    "CRMOperator",
    "CallEnded",
    "CallStarted",
    "Citation",
    "CitationEvent",
    "CompetitorPositioning",
    "ContentDelta",
    "CreateInterview",
    "CreateLimitReachedError",
    "CreatedInterview",
    "CustomAnswer",
    "CustomMetric",
    "DateRange",
    "DeadlineExceededError",
    "Deal",
    "DealCompetitor",
    "DealDetails",
    "DealDriver",
    "DealFeature",
    "DealFilters",
    "DealList",
    "DealSort",
    "Deals",
    "DecodeError",
    "Delivery",
    "DetailedDeal",
    "Document",
    "Documents",
    "DurableQueue",
    "Export",
    "ExportExpiredError",
    "ExportFailedError",
    "ExportFilterType",
    "ExportFilters",
    "ExportStatus",
    "FilterType",
    "ForbiddenError",
    "Forgotten",
    "HTTPInfo",
    "HindsightError",
    "HindsightSession",
    "InternalServerError",
    "Interview",
    "InterviewPoller",
    "InterviewStatus",
    "Interviews",
    "Lane",
    "Ledger",
    "LedgerEntry",
    "LedgerError",
    "LedgerInUseError",
    "LedgerRow",
    "LedgerRun",
    "LedgerStatus",
    "Message",
    "NotFoundError",
    "NotSentError",
    "NumberRange",
    "Outcome",
    "OutcomeStatus",
    "OutcomeUnknown",
    "OutcomeUnknownError",
    "Paused",
    "Plan",
    "QueuePausedError",
    "QueueSnapshot",
    "QuotaExceededError",
    "RateBudget",
    "RateLimitExceededError",
    "RecipientNotAllowedError",
    "RedisBudget",
    "RedisRefusedError",
    "Response",
    "ResponseStream",
    "Responses",
    "RetryPolicy",
    "SegmentFilterType",
    "SelectedDeal",
    "SessionClosedError",
    "SortOrder",
    "Timeouts",
    "Tools",
    "Transcript",
    "UnauthorizedError",
    "UnknownEvent",
    "UpdateInterview",
    "UpdatedInterview",
    "UploadedDocument",
    "WaitTimeoutError",
    "WaitingForBudget",
    "WrongEventLoopError",
    "instrument",
    "merge_context",
]


def __getattr__(name: str) -> Any:
    value = globals()[name] = load_on_first_use(name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *ON_FIRST_USE})
