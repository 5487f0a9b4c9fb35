"""docs/reference.md says what the code does."""

from pathlib import Path

from cli.exit_codes import EXIT_CODES
from cli.reference import reference
from conceptry.reasons import ActionReason, DeferralReason, DriftReason, GateReason


def test_the_committed_reference_is_the_current_one(repo_root: Path) -> None:
    assert (repo_root / "docs" / "reference.md").read_text(encoding="utf-8") == reference(), "run `make reference`"


def test_the_reference_holds_every_kind_of_fact() -> None:
    page = reference()
    for words in ("conceptry hub serve", "`CONCEPTRY_HUB_OWNER`", "`CONCEPTRY_VERTEX_PROJECT`", "`training.max_steps`"):
        assert words in page
    assert "`max_failures`" in page
    assert "`conceptry.concept.rejected`" in page
    for enumeration in (ActionReason, DeferralReason, DriftReason, GateReason):
        assert all(f"| `{reason}` | " in page for reason in enumeration)
    assert all(f"| `{command}` | " in page for command in EXIT_CODES)
