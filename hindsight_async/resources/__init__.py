"""What the API does, one folder for each resource.

In each: `models`, what goes out and what comes back; `calls`, an `Endpoint` for each route and the methods that users
call, which `hindsight_async.session` offers; `rows`, where there are runs of many. Its routes in the emulator stand in
one table, `hindsight_async.emulator.routes`.
"""
