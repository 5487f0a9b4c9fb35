"""The errors that the Hub answers with.

HubError(status, message, code)   every refusal; `code` goes into X-Error-Code, where the client reads it
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


class HubError(Exception):
    """A refusal with its HTTP status, a sentence for people and the code that the client branches on."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **body: object,
    ) -> None:
        super().__init__(message)
        self.headers = dict(headers or {})
        self.status = status
        self.message = message
        self.code = code
        self.body = body

    def response(self) -> JSONResponse:
        """The answer as the Hub gives it: JSON for programs, the same sentence in a header for the client."""
        headers = self.headers | {"X-Error-Message": header_safe(self.message)}
        if self.code:
            headers["X-Error-Code"] = self.code
        if self.status == 401:
            # git asks for a user name and password only when it sees this challenge.
            headers["WWW-Authenticate"] = 'Basic realm="Hub: any user name, the token as password"'
        return JSONResponse({"error": self.message, **self.body}, status_code=self.status, headers=headers)


def header_safe(text: str, limit: int = 500) -> str:
    """One printable ASCII line: what comes from users must not be able to start a header of its own."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:limit])


def bad_request(message: str) -> HubError:
    """400: the request itself is wrong."""
    return HubError(400, message)


def repo_not_found(*, anonymous: bool) -> HubError:
    """Missing and invisible look alike, so that nobody can probe for private repos. 401 lets git ask for a token."""
    if anonymous:
        return HubError(401, "Invalid username or password.", "RepoNotFound")
    return HubError(404, "Repository not found", "RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    """404: no branch, tag or commit is called so. The words "Invalid rev id" are the Hub's own."""
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(path: str) -> HubError:
    """404: the revision holds no such file or folder."""
    return HubError(404, f"Entry not found: {path}", "EntryNotFound")


def forbidden(message: str) -> HubError:
    """403: known, visible, but not allowed."""
    return HubError(403, message)


def conflict(message: str) -> HubError:
    """409: something of that name is already there."""
    return HubError(409, message)
