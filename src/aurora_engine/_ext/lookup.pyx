"""The verbs of one key, for all that can be read: databases, transactions, views, their tables.

They are the hottest calls there are, so the classes that people use inherit them from here: no
Python function stands between the caller and the core.
"""

from aurora_engine._ext.caurora cimport AUR_OK, aur_found, aur_found_release
from aurora_engine._ext.engine cimport Engine, found_value
from aurora_engine._ext.engine cimport find as find_durable
from aurora_engine._ext.transaction cimport Txn
from aurora_engine._ext.transaction cimport find as find_at

from aurora_engine._ext.records import NoTable


cdef class Lookup:
    """Looks single keys up: in `_source`, an engine or one transaction of it, and there in the
    table `_handle`, None being the database itself.
    """

    def get(self, key, default=None, *, bint as_view=False):
        """The value of a key.

        Parameters
        ----------
        key : bytes-like
            0 to 1024 bytes.
        default : object
            What to return when the key is not there.
        as_view : bool
            Return a read-only memoryview instead of bytes, to be sliced without copying. It stays
            valid for as long as it is held.

        Returns
        -------
        bytes, memoryview, or default

        Raises
        ------
        TypeError, ValueError
            If the key is no buffer of bytes, or longer than 1024 bytes.
        CorruptionError, QuorumLostError
            If no copy could serve the page.
        DatabaseClosedError
            If the database, transaction or view is closed.
        """
        cdef aur_found found
        if find(self, key, &found) != AUR_OK:
            return default
        return found_value(self._source, &found, as_view)

    def __getitem__(self, key):
        cdef aur_found found
        if find(self, key, &found) != AUR_OK:
            raise KeyError(key)
        return found_value(self._source, &found, False)

    def __contains__(self, key):
        cdef aur_found found
        if find(self, key, &found) != AUR_OK:
            return False
        aur_found_release(&found)
        return True


cdef int find(Lookup lookup, key, aur_found *found) except -1:
    try:
        return find_once(lookup, key, found)
    except NoTable as gone:
        # The handle of a table stands for its name: another table may have it now.
        lookup._find_again(gone)
        return find_once(lookup, key, found)


cdef inline int find_once(Lookup lookup, key, aur_found *found) except -1:
    source = lookup._source
    if isinstance(source, Txn):
        return find_at(<Txn>source, lookup._handle, key, found)
    if source is None:
        raise TypeError("this object was made without its constructor")
    return find_durable(<Engine?>source, lookup._handle, key, found)
