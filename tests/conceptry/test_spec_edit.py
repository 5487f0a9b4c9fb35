"""Edits of concept.yaml keep what a person wrote around them."""

import pytest

from conceptry.errors import SpecError
from conceptry.spec_edit import with_release

HEAD = 'placeholder_token: "<my-cat>"\ninitializer_token: cat  # not tabby\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("release: latest", "release: v1", id="replaced"),
        pytest.param("release: 'v3'   # why\ngate: {}\n", "release: v1   # why\ngate: {}\n", id="comment"),
        pytest.param("release:\n  latest\nsuspend: false\n", "release:\n  v1\nsuspend: false\n", id="next line"),
        pytest.param("# übrigens\n", "# übrigens\nrelease: v1\n", id="added"),
        pytest.param("suspend: false", "suspend: false\nrelease: v1\n", id="added after a line without an end"),
    ],
)
def test_only_the_release_changes(before: str, after: str) -> None:
    assert with_release(HEAD + before, "v1", "concept.yaml") == HEAD + after


def test_what_cannot_be_edited_is_said() -> None:
    with pytest.raises(SpecError, match="write it yourself"):
        with_release('{placeholder_token: "<my-cat>", initializer_token: cat}\n', "v1", "concept.yaml")
    with pytest.raises(SpecError, match="relase"):
        with_release(HEAD + "relase: v2\n", "v1", "concept.yaml")
