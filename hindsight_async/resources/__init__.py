"""What the API does, one folder for each resource.

What a new endpoint changes:

    resources/<resource>/models.py  what goes out and what comes back; the codec reads any attrs class, and plain values
    resources/<resource>/calls.py   its `Endpoint`, and the method that users call
    extras.py                       new public names, which `hindsight_async.__init__` lists, as it does new files
    emulator/routes.py              its line in the table of handlers, from which faults, 405s and paths come
    emulator/<resource>.py          what the server answers; of interviews that stands in routes.py itself, validation.py
                                    and state.py
    cli/<resource>.py               its command, if it has one; a new one is entered in the table of `cli.__init__`

and a new resource:

    resources/on_first_use.py       its attribute of the session
    emulator/state.py               what the server stores of it, which a test sees by emulator/scripting.py
    emulator/kept.py                what of that outlasts the emulator
    emulator/control_lists.py       what its remote control and its page show of it, if anything, with control_views.py,
                                    control_fields.py and page/kinds.js

`call` and `rate` know no endpoint: an `Endpoint` says all that they ask. Interviews alone have `rows`, for runs of many, and
stand in `hindsight_async.session` itself.
"""
