"""The C core as Python sees it: small Cython modules that convert, call and check.

They hold no policy. Not a public interface; import from `aurora_engine`.
"""

try:
    import aurora_engine._ext.handle  # noqa: F401
except ModuleNotFoundError as missing:
    raise ImportError(
        "the C core of aurora_engine is not built: install the package (pip install .), "
        "or run `make setup` in a checkout"
    ) from missing
