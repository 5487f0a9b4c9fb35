"""Settings of one installation, built once at an entry point (a command, a flow or a server) and then passed on.

No other code reads the environment or constructs settings.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from conceptry.errors import SettingsError
from conceptry.mirror import Mirror
from conceptry.settings import Settings
from conceptry.vertex_settings import VertexBasics, VertexSettings
from conceptry.work_folder import WorkFolder


@dataclass(frozen=True)
class HubTarget:
    """The repos of one owner on one Hub.

    Attributes:
        endpoint: Address of the Hub, without a slash at the end.
        owner: User or organization that owns the concepts' repos.
        token: Access token; None reads what is public. Never printed.
        installation: Id of the installation, by which it recognises its repos; empty in tools that only read.
        renew: Returns the token as it is set now, after the Hub refused `token`; None if it cannot change.
    """

    endpoint: str
    owner: str
    token: SecretStr | None = None
    renew: Callable[[], SecretStr | None] | None = field(default=None, repr=False, compare=False)
    installation: str = ""

    def repo(self, name: str) -> str:
        """Return the id of a concept's model repo, which is that of its Space, too."""
        return f"{self.owner}/{name}"

    def url(self, name: str) -> str:
        """Return the address of a concept's model repo."""
        return f"{self.endpoint}/{self.repo(name)}"


@dataclass(frozen=True)
class Installation:
    """Configuration of one installation.

    Attributes:
        settings: CONCEPTRY_... variables, or those of a set-up's folder.
        hub: The repos that this installation publishes to, with the token resolved.
        vertex_basics: Vertex AI settings that need no project; every one of them has a default.
        vertex: CONCEPTRY_VERTEX_... variables; None if none is set, the error if they are not usable.
    """

    settings: Settings
    hub: HubTarget
    vertex_basics: VertexBasics
    vertex: VertexSettings | SettingsError | None = None

    @property
    def work(self) -> WorkFolder:
        """The scratch folder."""
        return WorkFolder(self.settings.work.absolute())

    @property
    def mirror(self) -> Mirror:
        """The mirror of the origin, with the registry's folder in it."""
        return Mirror(self.work.mirror, self.settings.path)

    @property
    def id(self) -> str:
        """Id by which this installation recognises what it made, see `conceptry.installation_id`."""
        return self.settings.installation_id

    @property
    def base_dir(self) -> Path | None:
        """Folder of base model weights; None if only presets with shipped weights can be used."""
        return self.settings.base_dir

    def vertex_settings(self) -> VertexSettings:
        """Return the settings of Vertex AI.

        Raises:
            SettingsError: these settings are missing or not usable.
        """
        if isinstance(self.vertex, VertexSettings):
            return self.vertex
        raise self.vertex or SettingsError(
            "Vertex AI is not configured", next_step="set CONCEPTRY_VERTEX_PROJECT and CONCEPTRY_VERTEX_IMAGE"
        )
