"""The resources that are loaded when a program first uses them: most use one or none, and each has many classes."""

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hindsight_async.call.execute import Executor
    from hindsight_async.resources.deals.calls import Deals
    from hindsight_async.resources.documents.calls import Documents
    from hindsight_async.resources.responses.calls import Responses
    from hindsight_async.resources.tools.calls import Tools


class LoadedOnFirstUse:
    """The part of a session that offers them."""

    _executor: "Executor"

    @cached_property
    def deals(self) -> "Deals":
        """Read and export deals."""
        from hindsight_async.resources.deals.calls import Deals  # noqa: PLC0415  later

        return Deals(self._executor)

    @cached_property
    def documents(self) -> "Documents":
        """Uploads to deals and to the library."""
        from hindsight_async.resources.documents.calls import Documents  # noqa: PLC0415  later

        return Documents(self._executor)

    @cached_property
    def responses(self) -> "Responses":
        """Questions, and answers with their sources."""
        from hindsight_async.resources.responses.calls import Responses  # noqa: PLC0415  later

        return Responses(self._executor)

    @cached_property
    def tools(self) -> "Tools":
        """Its direct tools."""
        from hindsight_async.resources.tools.calls import Tools  # noqa: PLC0415  later

        return Tools(self._executor)

    def _forget_used(self) -> None:
        """Make them anew, over another executor."""
        for name in ("deals", "documents", "responses", "tools"):
            vars(self).pop(name, None)
