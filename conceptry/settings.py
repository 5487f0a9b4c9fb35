"""Settings of one installation, from CONCEPTRY_... environment variables.

A `.env` file is deliberately not read: a cloned repository must not be able to send the user's token to another host.
"""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from conceptry.errors import SettingsError
from conceptry.git_address import split_login
from conceptry.installation_id import installation_id

PREFIX = "CONCEPTRY_"
_PATH = (
    "Folder of that repo with concepts/ in it, relative to its top; left out or `.`, the top. DVC is initialised there "
    "(`dvc init --subdir`) or above it."
)


def _folder(path: str) -> str:
    """Return a folder in a repository without superfluous parts."""
    names = path.strip().replace("\\", "/").split("/")
    if path.startswith("/") or ".." in names:
        raise ValueError("is a folder inside the repo, relative to its top, for example ml/concept-library")
    return "/".join(name for name in names if name not in ("", ".")) or ("." if path else "")


RegistryPath = Annotated[str, AfterValidator(_folder)]
"""Folder with concepts/ in it, relative to the top of the repo, with /; "." is the top, too."""


class BaseWeightsSettings(BaseSettings):
    """Settings that the download of base model weights needs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    base_dir: Path | None = Field(None, description="Folder of base model weights, for presets that do not ship them.")


class OriginSettings(BaseSettings):
    """Repository of a new set-up; None for a variable that is not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    repo: str | None = Field(None, description="URL or path of the git repo that holds concepts/.", repr=False)
    repo_login: SecretStr | None = Field(None, description="Login for that repo, if it is at an http(s) address.")
    branch: str | None = Field(None, description="Branch of that repo that says what should exist.")
    path: RegistryPath | None = Field(None, description=_PATH)


class ServingSettings(BaseSettings):
    """Settings of a Space or an endpoint that runs on this machine."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    base_url: str | None = Field(None, description="Address that base model weights are fetched from.")


class DeploymentSettings(BaseSettings):
    """Settings that name the deployments of an installation on a Prefect server."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    deployment_suffix: str = Field(
        "",
        pattern=r"^(-[a-z0-9]+)*$",
        description="Added to the names of deployments, work pool and artifacts, and of blocks without a name of "
        "their own, for example `-second`, so that several installations can use one Prefect server.",
    )


class CodeSettings(BaseSettings):
    """Settings of the code that a worker runs, if not the one that is installed beside it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    code: str | None = Field(
        None,
        repr=False,
        description="URL of a git repo with Conceptry's code, which a worker clones for every run; left out, a run "
        "uses the code that is installed beside the worker.",
    )
    code_branch: str = Field("main", description="Branch of that repo, or a tag.")
    code_login: SecretStr | None = Field(
        None, description="USER:PASSWORD, percent-encoded, for that repo if it is at an http(s) address. Never printed."
    )


class Settings(BaseWeightsSettings, DeploymentSettings, CodeSettings):
    """Settings of one installation. Arguments win over the environment.

    Raises:
        SettingsError: settings are missing or wrong; the message names all of them and contains no value.
    """

    repo: str = Field(description="URL or path of the git repo that holds concepts/.")
    repo_login: SecretStr | None = Field(
        None,
        description="USER:PASSWORD, percent-encoded, for a repo at an http(s) address; a login in repo is moved here. "
        "Never printed.",
    )
    branch: str = Field("main", description="Branch of that repo that says what should exist.")
    path: RegistryPath = Field("", description=_PATH)
    installation: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]+$",
        description="Id of the installation, to keep it after the repo, the branch or the Hub got another address; "
        "left out, it is made of these. Whatever it made on the Hub carries it.",
    )
    work: Path = Field(
        Path(".conceptry/work"),
        validate_default=False,
        description="Scratch folder for mirrors, images and runs; an absolute path. A worker has no default.",
    )
    hub_endpoint: str = Field("https://huggingface.co", description="Address of the Hub.")
    hub_owner: str = Field(description="User or organization on the Hub that owns the concepts' repos.")
    hub_token: SecretStr | None = Field(None, description="Hub token that may write; never printed.")
    hub_token_block: str | None = Field(
        None, description="Name of a Prefect Secret block that holds the Hub token, instead of hub_token."
    )
    space_token: SecretStr | None = Field(
        None,
        description="Hub token with which private Spaces read their model; it should only read. Left out, they get no "
        "token: hub_token never goes to a Space. Never printed.",
    )
    results_bucket: str | None = Field(
        None,
        description="Name of a Prefect block GcsBucket whose bucket keeps what finished steps of a training made, so "
        "that a retry on another machine goes on at the step that failed; left out, the work folder alone keeps it.",
    )
    results_folder: Path | None = Field(
        None,
        description="Folder that all workers share, which keeps the same instead of a bucket; an absolute path.",
    )
    backend: Literal["local", "vertex"] = Field("local", description="Where training runs.")
    max_parallel: int = Field(1, ge=1, description="Trainings at the same time on one machine.")
    trainer_idle_seconds: float = Field(
        300.0,
        ge=0,
        description="Seconds that a trainer's process stays for the next training on its machine, with the base model "
        "in memory; it ends with the worker in any case. 0: every training has a process of its own.",
    )
    start_minutes: float = Field(
        20.0,
        gt=0,
        description="Minutes in which a worker has to start a training; more where a machine has to start first.",
    )
    run_folder_days: float = Field(
        30.0,
        ge=1,
        description="Days after which the scratch folder loses what a training left that failed, or that git no longer "
        "asks for; a failed training that the plan still shows keeps its folder, to be retried.",
    )
    poll_seconds: float = Field(
        5.0, ge=0.5, description="Seconds between two requests to the origin for the head of its branch."
    )
    watch_seconds: float = Field(10.0, gt=0, description="Seconds between two watches of a serving process.")
    notification_block: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+/[a-z0-9-]+$",
        description="TYPE/NAME of a notification block on the Prefect server, for example `slack-webhook/team`, to "
        "which `conceptry deploy` lets the automations of the installation send. Left out, they only show in the event "
        "feed.",
    )
    gpu_usd_per_hour: float | None = Field(
        None, ge=0, description="Price of the accelerator per hour, for estimates; left out, the list price."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = [f"{_variable(detail['loc'])}: {_words(detail)}" for detail in error.errors(include_url=False)]
        else:
            return
        raise SettingsError(
            "settings are not usable: " + "; ".join(problems),
            next_step="set these environment variables, or name the folder of `conceptry up` with --root",
        )

    @property
    def installation_id(self) -> str:
        """Id by which the installation recognises what it made, see `conceptry.installation_id`."""
        path = "" if self.path == "." else self.path
        made = installation_id(self.hub_endpoint, self.hub_owner, self.repo, self.branch, path=path)
        return self.installation or made

    @model_validator(mode="before")
    @classmethod
    def _separate_logins(cls, values: Any) -> Any:
        """Move the login of the repos' addresses to `repo_login` and `code_login`, so that addresses can be printed."""
        for name in ("repo", "code"):
            if isinstance(values, dict) and isinstance(values.get(name), str):
                address, login = split_login(values[name])
                values = {**values, name: address, **({f"{name}_login": login} if login else {})}
        return values

    @field_validator("work")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        if not folder.is_absolute():
            raise ValueError("must be an absolute path, for example /var/lib/conceptry/work")
        return folder

    @field_validator("hub_endpoint")
    @classmethod
    def _http_address(cls, address: str) -> str:
        if not address.startswith(("https://", "http://")):
            raise ValueError("must start with https:// or http://")
        if not _host_of(address) or any(character.isspace() for character in address):
            raise ValueError("must name a host, for example https://huggingface.co")
        return address.rstrip("/")

    @field_validator("repo", "code")
    @classmethod
    def _git_address(cls, address: str | None) -> str | None:
        if address is not None and "://" in address:
            _host_of(address)
        return address


def _host_of(address: str) -> str | None:
    """Return the host of a URL.

    Raises:
        ValueError: host or port are no such.
    """
    try:
        parts = urlsplit(address)
        return parts.hostname if parts.port is None or parts.port else None
    except ValueError as error:
        raise ValueError(f"is no address: {error}") from None


def _variable(location: tuple[int | str, ...]) -> str:
    return PREFIX + str(location[0]).upper() if location else PREFIX + "*"


def _words(detail: Any) -> str:
    if detail["type"] == "missing":
        name = str(detail["loc"][0])
        return f"is missing ({Settings.model_fields[name].description})"
    return str(detail["ctx"]["error"]) if detail["type"] == "value_error" else str(detail["msg"])
