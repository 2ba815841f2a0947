from typing import final

@final
class Listener: ...
