"""Clock of the Hub, for decisions about age: this machine's clock may be years off, and deletions are for ever."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from huggingface_hub import get_session
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_raise_for_status

from tasks.hub.client import translate_errors
from tasks.hub.session import HubSession


def hub_time(session: HubSession) -> datetime:
    """Return the time in the header of an answer of the Hub; this machine's time if a proxy removed the header.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    target = session.target
    token = target.token.get_secret_value() if target.token else False
    with translate_errors(target, "asking for its time"):
        response = get_session().get(f"{target.endpoint}/api/models?limit=1", headers=build_hf_headers(token=token))
        hf_raise_for_status(response)
    try:
        return parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)
