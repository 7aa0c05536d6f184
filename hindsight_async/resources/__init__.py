"""What the API does, one folder for each resource.

What a new endpoint changes:

    resources/<resource>/models.py  what goes out and what comes back; the codec reads any attrs class
    resources/<resource>/calls.py   its `Endpoint`, and the method that users call
    emulator/routes.py              its line in the table of handlers, from which faults, 405s and paths come
    emulator/<resource>.py          what the server answers; with validation.py and state.py where it stores something

and a new resource:

    resources/on_first_use.py       its attribute of the session
    extras.py                       its public names, which `hindsight_async.__init__` lists
    cli/<resource>.py               its command, if it has one, with an entry in the table of `cli.__init__`
    emulator/kept.py                what of it outlasts the emulator, if anything does
    emulator/control_lists.py       what its remote control and its page show of it, if anything, with control_views.py,
                                    control_fields.py and page/kinds.js

`call` and `rate` know no endpoint: an `Endpoint` says all that they ask. Interviews alone have `rows`, for runs of many, and
stand in `hindsight_async.session` itself.
"""
