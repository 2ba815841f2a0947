"""The offline inspector: reads and checks the files of a volume without the C core.

It is a second implementation of docs/format, written from those documents, so it finds what is
wrong with files, with the documents, or with the core. It imports nothing of aurora_engine outside
of this folder, and where the core cannot be loaded the folder runs by itself:
``python …/aurora_engine/inspector PATH``. It needs the packages xxhash and zstandard.
"""
