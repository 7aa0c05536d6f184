"""One rate budget for many processes, kept in Redis (extra `redis`).

    redis_budget  what sessions see of it
    limiter     what stands in a request's way, on the word of Redis
    state      how this process stands with its fleet
    sync  what there is to say to Redis, and what its word changes
    sync_task        the one task that speaks to Redis
    connection          the connection
    sync          one round trip in plain values; sync.lua is the script, with all the rules
    permits      the permits of this process, on its own clock
    view       what it knows of the fleet
    outage        what it may send while Redis is away
    timing        how long things last

Import from here.

Why no 60 seconds at the server ever hold more than N requests of the fleet, whatever dies. A permit is in Redis from
its permit (g, on Redis's clock) until the moment it is scored with, and at most N are in at once; so it is enough
that a request which the server counts at s has its permit in Redis from before s until s + 60 at the earliest.

- Granted, it is scored g + lease + 60. Its holder uses it only within the lease, on its own clock from before the
  question was sent, which is earlier than g; while the request is under way the holder renews it, each time until
  lease + 60 from then. So s is never later than the last renewal + lease, whether the holder still lives or not.
- Answered at r, it is scored r + 60: told as the span that is left, so that a late word only makes it later.
- Given back unsent, it is removed: nothing was counted.
- A call whose reply is lost may have been granted permits; the next call names them as unsent. A call that was held up
  on its way and comes after a later one does nothing.

What it takes for granted: spans on Redis's clock and the processes' agree; a process is never stopped for longer
than the lease between taking a permit and sending; and Redis keeps its data. Where Redis lost them, each process tells
what it holds at its next word, at most a heartbeat later; until all have had the time for that each takes no more
than it gives back, and in the first 60 s no more than its share of the plan where the number of processes is known,
since what dead processes hold is not. The same goes for Redis's return from an outage, and for a replica that
takes over without the last writes. One thing is left to the server's 429, which closes the cooldown for all: a process
that alone is cut off from Redis sends its share of the plan on top of what the others send.
"""
