"""The macro benchmarks: this engine beside others, on the machine at hand.

``aurora-engine bench`` runs them; ``pip install 'aurora-engine[bench]'`` brings what they need. The
library itself never imports anything from here. To read: `engines.base` (what an engine offers),
`workloads.base` (what is asked of it), `worker` (one engine in a process of its own), `run` (who
takes turns), `suite` (which workloads, how large), `targets` (what we hold ourselves to), `report`.
"""
