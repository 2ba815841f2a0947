"""Django's backend: ``"ENGINE": "aurora_engine.sql.django"``.

``NAME`` is the path of a volume, with ``?name=shop`` behind it for another database in it than
``main``. ``OPTIONS`` takes what `aurora_engine.connect` takes (``name``, ``timeout``, ``as_of``,
``read_only``, ...) and what Django's backend for SQLite does (``init_command``,
``transaction_mode``, which is IMMEDIATE here).
"""
