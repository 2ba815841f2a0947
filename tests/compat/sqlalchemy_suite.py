"""SQLAlchemy's own suite for dialects; collected only by the session that the test starts."""

from sqlalchemy.testing.suite import *  # noqa: F403
