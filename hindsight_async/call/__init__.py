"""The way of one call, in reading order.

request          a call and a reply, plain values: what it carries, and how its answer is read
execute          the one loop: budget, send, judge, then return, raise, or wait and try again
retry            what became of a request by its status, and whether it may be sent again
transport        a call to a reply over aiohttp, at most once
middlewares      no request sent again by aiohttp itself, and no key for other origins
body             what leaves, and the moment at which it does
failure          what the network did, in words and as an error
reading          an answer's body, up to a limit and unpacked
answer           what a reply means
streaming        an answer that is read as it comes
codec            JSON bytes to models and back
converter        models and what JSON holds, by what each class says of itself
values           the plain values in them
connections      the connections: for one event loop of one process at a time
connector        connections that carry no answer that nobody asked for
deadline_timer   one timer for the deadlines of all requests
access           where requests go and with which key
proxy            a proxy, out of its URL
"""
