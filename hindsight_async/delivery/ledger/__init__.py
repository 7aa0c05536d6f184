"""The ledger: what was about to be sent, and what became of it, on disk before the bytes leave (extra `bulk`).

    ledger    opening one, reading it, resolving what is unknown
    journal   a ledger as the journal of a bulk run
    once      one create, made once however often it is asked for
    run       a ledger while a run has it: rows claimed, marked, finished
    writer    concurrent writes that share one transaction
    place     a path or a URL to the store that it names
    server    the PostgreSQL database: its tables, how they come to be, what its failures mean
    leases    a run that shares a ledger with others
    file      the SQLite file: how it comes to be, its run lock, what its failures mean
    sole      the run that has a file to itself
    store     what the two kinds of ledger have in common
    rows      tables and statements

Import from here.
"""
