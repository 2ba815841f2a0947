"""The hot verbs of a transaction, as `Lookup` has those of reading: no Python function stands
between the caller and the core.
"""

from aurora_engine._ext.engine cimport table_of
from aurora_engine._ext.lookup cimport Lookup
from aurora_engine._ext.transaction cimport Txn, commit, engine_of, put_one


cdef class Update(Lookup):
    """Writes single keys: in the transaction `_source`, and there in the table `_handle`."""

    def put(self, key, value):
        """Sets a key. Nobody else sees it before the commit.

        Parameters
        ----------
        key : bytes-like
            0 to 1024 bytes.
        value : bytes-like
            Up to 1 GiB.

        Raises
        ------
        TypeError, ValueError
            If one of them is no buffer of bytes, or too long.
        ReadOnlyError
            If the transaction is read-only.
        DatabaseClosedError
            If the transaction has ended.
        """
        set_key(self, key, value)

    def __setitem__(self, key, value):
        set_key(self, key, value)

    def delete(self, key):
        """Removes a key; whether it was there."""
        return (<Txn?>self._source).delete(self._handle, key)

    def __delitem__(self, key):
        if not (<Txn?>self._source).delete(self._handle, key):
            raise KeyError(key)


cdef int set_key(Update update, key, value) except -1:
    cdef Txn transaction = <Txn?>update._source
    return put_one(transaction, table_of(engine_of(transaction), update._handle), key, value)


cdef class Unit(Update):
    """What is committed whole: a transaction, where it is, and whether commits wait for the disk.

    A subclass says how it goes on after a refusal (`_refused`).
    """

    cdef public object _volume
    cdef public bint _waits
    cdef public bint _ended

    def __init__(self, Txn transaction not None, volume, bint waits, /):
        self._source = transaction
        self._volume = volume
        self._waits = waits
        self._ended = False

    def commit(self, *, wait=None):
        """Makes the writes visible to all, whole or not at all.

        Parameters
        ----------
        wait : bool, optional
            Return only when the commit is durable. By default what the database was opened for: yes
            with ``durability="quorum"``, no with ``"async"``. Without waiting,
            `Database.wait_durable` waits later for this and every earlier commit at once.

        Returns
        -------
        int
            The commit's LSN; without writes, the LSN of what was read.

        Raises
        ------
        ConflictError
            If a concurrent transaction changed what this one read. Run the work again, as
            `Database.transact` does.
        QuorumLostError, FencedError
            If a write quorum cannot be reached; with ``in_doubt`` set, the commit may survive all
            the same.
        DatabaseClosedError
            If the transaction has ended before.
        """
        cdef bint durable = self._waits if wait is None else wait
        self._ended = True
        try:
            return commit(<Txn?>self._source, durable)
        except BaseException as refusal:
            return self._refused(refusal, durable)
