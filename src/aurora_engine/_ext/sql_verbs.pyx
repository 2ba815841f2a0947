"""What a program asks of a database driver all the time, with what the driver raises explained.

Mixed into classes of a driver. They are compiled, and call the driver's own class by its name
(`driver_class`) instead of super(), because a short SELECT takes little longer than such a call.
"""

from posix.types cimport pid_t

from aurora_engine._ext.handle cimport current_process

cdef pid_t first_process = current_process


class CursorVerbs:
    """What cursors do on top of a driver's own: errors say what really happened."""

    __slots__ = ()

    def execute(self, sql, parameters=(), /):
        """Runs a statement; see `sqlite3.Cursor.execute`."""
        check_process(self)
        try:
            return self.driver_class.execute(self, sql, parameters)
        except self.failure_class as failure:
            raise explained(self, failure) from failure.__cause__

    def executemany(self, sql, parameters, /):
        """Runs a statement for each set of parameters; see `sqlite3.Cursor.executemany`."""
        check_process(self)
        try:
            return self.driver_class.executemany(self, sql, parameters)
        except self.failure_class as failure:
            raise explained(self, failure) from failure.__cause__

    def executescript(self, sql_script, /):
        """Runs several statements; see `sqlite3.Cursor.executescript`."""
        check_process(self)
        try:
            return self.driver_class.executescript(self, sql_script)
        except self.failure_class as failure:
            raise explained(self, failure) from failure.__cause__

    def fetchone(self):
        """The next row; see `sqlite3.Cursor.fetchone`."""
        check_process(self)
        try:
            return self.driver_class.fetchone(self)
        except self.failure_class as failure:
            raise explained(self, failure) from failure.__cause__

    def fetchmany(self, size=None):
        """The next rows; see `sqlite3.Cursor.fetchmany`."""
        check_process(self)
        sizes = () if size is None else (size,)
        try:
            return self.driver_class.fetchmany(self, *sizes)
        except self.failure_class as failure:
            raise explained(self, failure) from failure.__cause__

    def fetchall(self):
        """The rows that are left; see `sqlite3.Cursor.fetchall`."""
        check_process(self)
        try:
            return self.driver_class.fetchall(self)
        except self.failure_class as failure:
            raise explained(self, failure) from failure.__cause__

    def __iter__(self):
        """The rows that are left."""
        check_process(self)
        return self


class StatementVerbs:
    """A connection whose cursors are its `cursor_class`, also those that its statements make."""

    __slots__ = ()

    def cursor(self, *factory, **keyword_factory):
        """A cursor; see `sqlite3.Connection.cursor`."""
        if not factory and not keyword_factory:
            return self.driver_class.cursor(self, self.cursor_class)
        return self.driver_class.cursor(self, *factory, **keyword_factory)

    def execute(self, sql, parameters=(), /):
        """Runs a statement in a new cursor; see `sqlite3.Connection.execute`."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql, parameters, /):
        """Runs a statement for each set of parameters; see `sqlite3.Connection.executemany`."""
        return self.cursor().executemany(sql, parameters)

    def executescript(self, sql_script, /):
        """Runs several statements; see `sqlite3.Connection.executescript`."""
        return self.cursor().executescript(sql_script)


# In a child of the process that connected, SQLite would answer from its cache without asking us. A
# process that no fork led to need not look.
cdef int check_process(cursor) except -1:
    if current_process != first_process:
        check = getattr(getattr(cursor, "connection", None), "check_process", None)
        if check is not None:
            check()
    return 0


# A cursor that was never initialized has no connection, and that of a user's own may be a stranger.
cdef object explained(cursor, failure):
    explain = getattr(getattr(cursor, "connection", None), "explain", None)
    return failure if explain is None else explain(failure)
