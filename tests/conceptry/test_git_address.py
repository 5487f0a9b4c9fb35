"""Pages of commits on the hosts of git repositories."""

import pytest

from conceptry.git_address import commit_page


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("https://github.com/anna/concepts", "https://github.com/anna/concepts/commit/abc"),
        ("https://github.com/anna/concepts.git", "https://github.com/anna/concepts/commit/abc"),
        ("git@github.com:anna/concepts.git", "https://github.com/anna/concepts/commit/abc"),
        ("ssh://git@GitHub.com/anna/concepts.git/", "https://github.com/anna/concepts/commit/abc"),
        ("ssh://git@gitlab.com:22/team/sub/concepts", "https://gitlab.com/team/sub/concepts/-/commit/abc"),
        ("https://git.example.org/anna/concepts", None),
        ("/srv/git/github.com/concepts", None),
        ("file:///srv/git/concepts", None),
        ("../concepts", None),
    ],
)
def test_page_of_a_commit(address: str, page: str | None) -> None:
    assert commit_page(address, "abc") == page
