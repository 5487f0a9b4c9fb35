"""A Hub whose one account gets another plan, as a user gets one: the same address, the same repos."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from emulators.hub.accounts import Account, Accounts
from emulators.hub.plans import PlanLimits, UserPlan
from emulators.hub.server import running
from local.child_process import free_port
from tasks.hub.rate_limits import LIMITS


class PlannedHub:
    """Hub with the account `local`.

    Args:
        root: Folder of its repos.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._port, self._server = root, free_port(0), ExitStack()
        self.url = f"http://127.0.0.1:{self._port}"

    def set(self, plan: UserPlan | None, **limits: Any) -> None:
        """Give the account a plan, some of whose limits are others; counts begin anew."""
        self.stop()
        LIMITS.forget()
        given = PlanLimits(**limits)
        writer = Account(name="local", token="hf_local", plan=plan, limits=given)
        reader = writer.model_copy(update={"token": "hf_local_read", "role": "read"})
        self._server.enter_context(running(self._root, port=self._port, accounts=Accounts([writer, reader])))

    def stop(self) -> None:
        """End the server."""
        self._server.close()
