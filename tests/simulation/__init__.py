"""A whole volume in one process and one thread, driven by a seed: writer, segments, disks, clock,
crashes.

It runs the production coordination code (`aurora_engine.volume`) and the C core with its MANUAL
drive over faulty
in-memory disks. Everything random comes from one generator, so a seed replays exactly.

    python -m tests.simulation --seed 17            one run, with its trace
    python -m tests.simulation --seeds 0:1000       many runs
"""
