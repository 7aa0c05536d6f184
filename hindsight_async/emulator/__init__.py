"""A local Hindsight over real HTTP, for tests and demonstrations: no account, no network, nobody is emailed.

    async with Emulator(plan=Plan.GROWTH) as emulator:
        ...  # point a client at emulator.base_url with emulator.api_key

It speaks the wire format by itself and shares no model with the client, so that a wrong field name fails here too.

The modules, in the order in which a request passes:

    server      the emulator: what it is built with, its life cycle
    scripting   what a test sees of it, and does to it while it runs
    settings    what of it may be changed then
    listener    the open port
    gateway     the way of one request: the key, the quota, a fault if one is due, the answer
    faults      what is scripted to go wrong
    quota       rate limit, month, and the headers that tell
    limits      the ways of counting requests, pure
    routes      from method, path and bytes to the true answer
    validation  which bodies are taken
    state       interviews, contacts, outbox
    kept        what of them is kept between two starts
    state_file  the file for that
    deals       deals, and which page of them is answered
    exports     exports of deals
    deal_filters    which deals pass the filters of either
    tools       the direct tools
    documents   uploads: which forms are taken, what is kept of them
    responses   questions, and the answers that are scripted for them
    answers     an answer as plain values, the error envelope
    wire        how an answer leaves: whole, in part, or as a cut connection

Beside the API, neither counted nor logged:

    visitors        who may use what a browser can reach
    survey          the page behind a survey link
    conversation    what is asked on it, and the transcript
    control         the remote control: its routes
    control_fields  what they take
    control_lists   the lists that they show, in pages
    control_views   what they show of each thing
    control_events  its stream: the state whenever it has changed
    activity        how many requests came in each second of the last minute
    front_page      the page at the root, whose files are in `page/`
"""

from hindsight_async.emulator.deals import Deals
from hindsight_async.emulator.documents import Upload
from hindsight_async.emulator.exports import ExportRecord, Exports
from hindsight_async.emulator.gateway import ReceivedRequest
from hindsight_async.emulator.responses import ScriptedResponses
from hindsight_async.emulator.server import Emulator
from hindsight_async.emulator.settings import Settings, SettingsChanges
from hindsight_async.emulator.state import Contact, Email, InterviewRecord, Transcript
from hindsight_async.emulator.tools import Tools

__all__ = [
    "Contact",
    "Deals",
    "Email",
    "Emulator",
    "ExportRecord",
    "Exports",
    "InterviewRecord",
    "ReceivedRequest",
    "ScriptedResponses",
    "Settings",
    "SettingsChanges",
    "Tools",
    "Transcript",
    "Upload",
]
