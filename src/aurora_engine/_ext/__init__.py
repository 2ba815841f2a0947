"""The C core as Python sees it: small Cython modules that convert, call and check.

They hold no policy. Not a public interface; import from `aurora_engine`.
"""
