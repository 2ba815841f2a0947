"""The workloads, each behind the interface of `base`; `aurora_engine.bench.suite` names them."""
