"""Id of an installation: which Hub account follows which branch of which git repository.

Everything that an installation makes outside of its scratch folder carries this id, so that two installations which
share an account, a bucket, a project or a Prefect server do not take each other's things for their own.
"""

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

_SCP = re.compile(r"(?:[^@/\s]+@)?(?P<host>[^:/\s]+):(?!//)(?P<path>.+)")
_DIGITS = 10


def installation_id(endpoint: str, owner: str, repo: str, branch: str, *, path: str = "") -> str:
    """Return the id: the owner, and a hash of endpoint, owner, repository, branch, and folder, unless it is the top.

    Owners compare as on the Hub, without case. The address of the repository compares without its scheme, user and
    ending, so that one repository has one id over https and over ssh.
    """
    parts = (endpoint.rstrip("/").lower(), owner.lower(), repo_identity(repo), branch, *([path] if path else []))
    return f"{owner.lower()}-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:_DIGITS]}"


def repo_identity(url: str) -> str:
    """Return what identifies a repository: `host/path`, or the absolute path of a folder."""
    if "://" in url:
        parts = urlsplit(url)
        if parts.scheme == "file":
            return _folder(parts.path)
        port = f":{parts.port}" if parts.port else ""
        return _trimmed(f"{(parts.hostname or '').lower()}{port}/{parts.path.lstrip('/')}")
    if scp := _SCP.fullmatch(url):
        return _trimmed(f"{scp['host'].lower()}/{scp['path'].lstrip('/')}")
    return _folder(url)


def _folder(path: str) -> str:
    return _trimmed(str(Path(path).expanduser().absolute()))


def _trimmed(path: str) -> str:
    return path.rstrip("/").removesuffix(".git").rstrip("/")
