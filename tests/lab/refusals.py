"""What a deployment that must not happen looks like."""

from __future__ import annotations

from deployment import Run, Stack


def refused(stack: Stack) -> Run:
    """A deployment that must not happen."""
    run = stack.attempt("up", "--yes", "--skip-preview")
    assert run.status != 0
    assert "Traceback" not in run.output
    return run


def no_host_was_begun(stack: Stack) -> None:
    """Nothing is in the state but what looks at servers."""
    found = [one["urn"].split("::")[-1] for one in stack.state() if one["type"].startswith("command:remote:")]
    assert [name for name in found if not name.endswith("-preflight")] == []


# With these the engine says that there was an error, after that has been told.
SUMMARIES = ("update failed", "an unhandled error occurred: program exited with non-zero exit code: 1")


def one_error(run: Run, *words: str) -> str:
    """The only error that was told, the engine's own summaries left out; it has each of ``words``."""
    errors = [text for text in run.errors() if text.strip() not in SUMMARIES]
    assert len(errors) == 1, errors
    for word in words:
        assert word in errors[0]
    return errors[0]
