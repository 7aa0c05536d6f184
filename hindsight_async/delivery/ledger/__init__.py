"""The ledger: what was about to be sent, and what became of it, on disk before the bytes leave (extra `bulk`).

    entries         the statuses and which of them may be sent; what goes in and what comes out
    kept_errors     what is kept of an error, and the error that a later call raises from it
    ledger          opening one by a path or a URL, reading it, resolving what is unknown, forgetting a person
    run             a ledger while a run has it: rows claimed, marked, finished
    claims          what a claim decides of rows that nobody else has
    arguments       what calls take as `ledger=`
    contexts        the contexts that the API accepted last, to be merged into
    forgetting      what it takes to forget a person
    queue_run       what a queue does in a run
    queue_rows      rows with a body: stored, due, paused
    queue_from_outside  what is done to a queue without sending from it
    group_commit    concurrent writes that share one transaction
    run_connection  a run's connection, opened anew where the database was away, and what was lost on it
    moves           from one status to the next
    location        where a ledger is
    column_types    the types of its columns
    tables          tables and statements
    sqlite          `SqliteBackend`: the file, how it comes to be, what makes it durable, what its failures mean
    file_lock       `SqliteRunLock`: the one run on a file
    postgres        `PostgresBackend`: the database that runs share, and the same of that
    postgres_url    what may stand behind the `?` of its URL
    leases          `PostgresRunLock`: one of the runs that share it

What is on disk before a row leaves? `delivery.row` says when, `run` what, `sqlite` and
`postgres` how it is made durable.
"""
