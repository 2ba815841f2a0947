"""The hot verbs of writing, as `Lookup` has those of reading: no Python function stands between the
caller and the core.
"""

from aurora_engine._ext.engine cimport Engine, delete_now, put_now, table_of
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


cdef class Autocommit(Lookup):
    """Writes single keys, each in a transaction of its own: in the engine `_source`, and there in
    the table `_handle`.

    `_volume` is where it is, `_waits` whether a write is durable when it returns. A subclass says
    how a write goes on after a refusal (`_put_again`, `_delete_again`).
    """

    cdef public object _volume
    cdef public bint _waits

    def put(self, key, value):
        """Sets a key.

        Parameters
        ----------
        key : bytes-like
            0 to 1024 bytes.
        value : bytes-like
            Up to 1 GiB.

        Returns
        -------
        int
            The commit's LSN. With ``durability="quorum"`` it is durable when the call returns.

        Raises
        ------
        TypeError, ValueError
            If one of them is no buffer of bytes, or too long.
        QuorumLostError, FencedError
            If a write quorum cannot be reached; with ``in_doubt`` set, the write may survive all
            the same.
        VolumeFullError
            If there is no space left.
        DatabaseClosedError
            If the database is closed.
        """
        return put_alone(self, key, value)

    def __setitem__(self, key, value):
        put_alone(self, key, value)

    def delete(self, key):
        """Removes a key; whether it was there. Raises as `put` does."""
        return delete_alone(self, key)

    def __delitem__(self, key):
        if not delete_alone(self, key):
            raise KeyError(key)


cdef object put_alone(Autocommit writes, key, value):
    try:
        return put_now(<Engine?>writes._source, writes._handle, key, value, writes._waits)
    except BaseException as refusal:
        return writes._put_again(refusal, key, value)


cdef object delete_alone(Autocommit writes, key):
    try:
        return delete_now(<Engine?>writes._source, writes._handle, key, writes._waits)
    except BaseException as refusal:
        return writes._delete_again(refusal, key)


cdef class Unit(Update):
    """What is committed whole: a transaction of the database that `writes` belongs to, or a blind
    one, which reads nothing; where it is, and whether commits wait for the disk, as there.

    A subclass says how it goes on after a refusal (`_refused`).
    """

    cdef public object _volume
    cdef public bint _waits
    cdef public bint _ended

    def __init__(self, Autocommit writes not None, bint read_only=False, bint blind=False, /):
        self._source = Txn(<Engine?>writes._source, read_only, None, blind)
        self._volume = writes._volume
        self._waits = writes._waits
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
