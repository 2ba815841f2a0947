from typing import Final

STATUSES: Final[dict[str, int]]
CLASSES: Final[dict[int, type[Exception]]]

def status_text(status: int) -> str: ...
def exception_for(
    status: int,
    message: str,
    *,
    errno: int = 0,
    group: int | None = None,
    copy: int | None = None,
    file: str | None = None,
    offset: int | None = None,
    lsn: int | None = None,
) -> Exception: ...
