"""One rate budget for many processes, kept in Redis (extra `redis`).

budget          what users see: `RedisBudget`
limiter         what the scheduler asks, by what Redis has issued to this process
fleet_state     what this process has of the fleet's permits; what it may send alone while Redis is away
fleet_permits   the permits of this process, on its own clock
fleet_view      the fleet as this process sees it, on the same
fleet_log       the fleet's log, read: when a request may leave, by the rules of a process by itself
fleet_sync      what to tell Redis and when, and what its replies change
sync_task       the one task that speaks to Redis
connection      the connection: away, or saying no; ours from a URL, or over the caller's client
url             what is wrong with a URL
messages        one round trip in plain values
log_entries     an entry of the log in plain values
sync.lua        the script that Redis runs for it
timing          how long things last

The rules of when to send are written once, for a process by itself (`local_limiter`, `policy`). Redis keeps one log of
what all processes were issued and of what became of it; each process reads it, on Redis's clock, into a limiter of its
own, so that all believe the same. One that wants permits names how many the fleet may have been issued in all, and gets
what is left of that: two that have read equally far never share the same room. Who has not read yet that the server
refused somebody, or named another limit, gets none.

Why no 60 seconds at the server ever contain more than N requests of the fleet, whatever dies. A permit is in Redis from
when it was issued (g, on Redis's clock) until the moment it is scored with, and at most N are in at once; so it is
enough that a request which the server counts at s has its permit in Redis from before s until s + 60 at the earliest.

- Issued, it is scored g + lease + 60. Its process uses it only within the lease, on its own clock and from before the
  request for it left, which is earlier than g; while the request to the server is under way the process renews it, each
  time until lease + 60 from then. So s is never later than the last renewal + lease, whether the process lives or not.
- Answered at r, it is scored r + 60: told as the span that is left, so that a delay on the way only makes it later.
- Put back unsent, it is removed: nothing was counted.
- A call whose reply is lost may have been issued permits; the next call names them as unsent. A call that was delayed on
  its way and comes after a later one does nothing.

Redis finds out before the next grant where something of this was lost: with each call it compares its number of permits,
the last entry of its log and its clock with what they were at the end of the last one, and with what the process knows;
where they do not fit, a new epoch begins, in which each process tells all of its permits again, and what their answers
told.

This assumes that spans on Redis's clock and the processes' agree, that a process is never stopped for longer than the
lease between taking a permit and sending, and that Redis keeps its data. Where Redis lost them, each process tells of
its permits with its next request, at most a heartbeat later; until all have had the time for that each takes no more
than it gives back, and in the first 60 s no more than its share of the plan where the number of processes is known,
since what dead processes had sent is not. The same goes for Redis's return from an outage, and for a replica that
takes over without the last writes. One thing is left to the server's 429, which closes the cooldown for all: a process
that alone is cut off from Redis sends its share of the plan on top of what the others send.
"""
