"""A queue on disk: what is put is kept, sent at the speed of the plan, and never twice, whoever dies meanwhile.

    queue        what a program has: put, drain, snapshot
    queued_row   a row on its way, and when it is tried again
    sender       what goes on in the background while the block is open
    pauses       how long until a row is tried again, and what pauses the whole queue

The rows are a ledger's (`ledger.queue_rows`), and each is sent as in `row`.
"""
