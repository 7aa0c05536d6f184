"""Nobody is emailed twice: what is about to leave is on disk before, what became of it after, and no row goes twice.

    row        the life of one row, which `create_once` and bulk runs share
    bulk       many rows: read as they come, claimed, sent by a fixed set of workers
    keys       a caller's own keys, and the hashes by which the ledger knows them
    input      the rows as they come in, and which of them came before
    claimed    the rows that other runs have in hand, asked for again at the end
    network    a network that is gone for a while, waited for by all of a run
    failures   how many rows failed one after another
    outcomes   what became of a row, and which outcome ends a run
    addresses  when two spellings are one person
    queue/     what is accepted now and sent when the plan lets it
    ledger/    the memory beyond a run

What a row is, a resource says (`row_kind.RowKind`).
"""
