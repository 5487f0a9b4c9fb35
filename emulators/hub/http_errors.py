"""The error answers of the Hub.

HubError(status, message, code)   every error answer; the client reads `code` from the header X-Error-Code
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


class HubError(Exception):
    """An error answer: its HTTP status, a message for people, and the code that the client branches on."""

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
        """Return the HTTP response: JSON, with the message also in a header for the client."""
        headers = self.headers | {"X-Error-Message": header_safe(self.message)}
        if self.code:
            headers["X-Error-Code"] = self.code
        if self.status == 401:
            # git asks for a user name and password only after this challenge.
            headers["WWW-Authenticate"] = 'Basic realm="Hub: any user name, the token as password"'
        return JSONResponse({"error": self.message, **self.body}, status_code=self.status, headers=headers)


def header_safe(text: str, limit: int = 500) -> str:
    """Return one printable ASCII line, so that text from users cannot inject a header."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:limit])


def bad_request(message: str) -> HubError:
    """Return a 400: the request is wrong."""
    return HubError(400, message)


def repo_not_found(*, anonymous: bool) -> HubError:
    """Return a 404, or a 401 to anonymous callers, for missing and invisible repos alike: private names stay secret."""
    if anonymous:
        return HubError(401, "Invalid username or password.", "RepoNotFound")
    return HubError(404, "Repository not found", "RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    """Return a 404: no branch, tag or commit has this name. The words "Invalid rev id" are the real Hub's."""
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(path: str) -> HubError:
    """Return a 404: the revision has no such file or folder."""
    return HubError(404, f"Entry not found: {path}", "EntryNotFound")


def forbidden(message: str) -> HubError:
    """Return a 403: visible, but not allowed."""
    return HubError(403, message)


def conflict(message: str) -> HubError:
    """Return a 409: the name is taken."""
    return HubError(409, message)
