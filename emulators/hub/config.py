"""What the starter of a Hub may add to it: views of files that it publishes, and the environment of its apps.

The Hub itself knows no file names, metadata or variables of any application. `python -m emulators.hub --config FILE`
reads them from a YAML (or JSON) file:

    pages:
      manifest: manifest.json               # compared key by key between two revisions
      picture: samples/grid.png             # compared side by side; the cover of a repo whose card shows none
      verdicts: {list: app.versions, revision: "v{number}", verdict: gate, shown: [passed, rejected, undecided]}
      empty: Published models appear here.
    apps:
      inherit: [APP_CACHE]                  # variables of the Hub's own environment that apps also get
      variables: {APP_API: "{hub}/v2"}      # set for every app; {hub} is this Hub's address
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Verdicts(_Part):
    """Where the card of a repo's main branch keeps a verdict on each of its revisions."""

    list: str = Field(description="Keys of the card's metadata, joined by dots, that lead to a list of mappings")
    revision: str = Field(description="Name of the branch that an entry is about; {key} stands for the entry's value")
    verdict: str = Field(description="Key of an entry that holds its verdict")
    shown: tuple[str, ...] = Field(description="Verdicts that the pages show; others are left out")

    def of(self, card: Mapping[str, Any]) -> dict[str, str]:
        """Read the verdicts of a card's metadata, by branch; entries of another form are skipped."""
        found: Any = card
        for key in self.list.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        verdicts = {}
        for entry in found if isinstance(found, list) else []:
            if isinstance(entry, Mapping) and entry.get(self.verdict) in self.shown:
                verdicts[self._name(entry)] = str(entry[self.verdict])
        return verdicts

    def _name(self, entry: Mapping[str, Any]) -> str:
        name = self.revision
        for key, value in entry.items():
            name = name.replace(f"{{{key}}}", str(value))
        return name


class PagesConfig(_Part):
    """What the pages show of a revision besides its card, files and commits."""

    manifest: str | None = Field(default=None, description="JSON file that comparisons show key by key")
    picture: str | None = Field(default=None, description="Picture file that comparisons and covers show")
    verdicts: Verdicts | None = Field(default=None, description="Verdicts shown beside branches")
    empty: str = Field(default="Repos appear here.", description="Sentence of the front page while there is no repo")


class AppsConfig(_Part):
    """The environment of Spaces and Inference Endpoints, besides what the Hub gives to every app."""

    inherit: tuple[str, ...] = Field(default=(), description="Variables passed on from the Hub's own environment")
    variables: Mapping[str, str] = Field(default_factory=dict, description="Variables to set; {hub} is this address")


class HubConfig(_Part):
    """Everything that a starter may give to a Hub; the default adds nothing."""

    pages: PagesConfig = Field(default_factory=PagesConfig)
    apps: AppsConfig = Field(default_factory=AppsConfig)

    @classmethod
    def load(cls, path: Path) -> HubConfig:
        """Read a config file.

        Raises:
            ValueError: the file cannot be read, or its content is not a config.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"{path}: {problems}") from None
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from None
