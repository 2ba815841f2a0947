from typing_extensions import disjoint_base

@disjoint_base
class Handle:
    @property
    def closed(self) -> bool: ...
    @property
    def forked(self) -> bool: ...
