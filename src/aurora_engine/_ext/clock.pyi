from typing import final

@final
class VirtualClock:
    def __init__(self, now_us: int = 0) -> None: ...
    now_us: int
