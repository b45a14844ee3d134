"""A seeded simulation of connections between two cores, in virtual time.

A seed decides everything about one connection: the options of both sides, the network between them, what
both applications do, and what goes wrong: :mod:`.scenario`. Two endpoints (:mod:`.endpoint`) drive the
protocols over that network (:mod:`.network`), two applications (:mod:`.application`) use them, and faults
(:mod:`.faults`) happen to them. :mod:`.connection` lets the time pass. What must hold while it does, and what
must hold in the end, is in :mod:`.checks`: what each side may see is derived from what has happened.

The adapters of asyncio, trio and anyio, unmodified, run on simulated sockets (:mod:`.sockets`), in the event
loop of asyncio (:mod:`.on_asyncio`) and in the scheduler of trio (:mod:`.on_trio`), with another clock and
another selector: :mod:`.conversations`, each with many seeds.

Usage: ``python -m tests.simulation --runs 1000000 --processes 2``; a failure prints its seed, and
``python -m tests.simulation --seed N`` runs that seed alone and tells what happens in it.
"""
