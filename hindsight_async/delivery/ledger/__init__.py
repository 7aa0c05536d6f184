"""The ledger: what was about to be sent, and what became of it, on disk before the bytes leave (extra `bulk`).

    entries        the statuses and which of them may be sent; what goes in and what comes out
    kept_errors    what is kept of an error, and the error that a later call raises from it
    ledger         opening one by a path or a URL, reading it, resolving what is unknown
    run            a ledger while a run has it: rows claimed, marked, finished
    group_commit   concurrent writes that share one transaction
    tables         tables and statements
    sqlite         the file: how it comes to be, what its failures mean
    file_lock      the one run on a file
    postgres       the database that runs share: how its tables come to be, what its failures mean
    leases         one of the runs that share it

What is on disk before a row leaves? `delivery.row` says when, `run` what, `group_commit` how.
"""
