"""Which answer a client gets."""

from __future__ import annotations

import pytest

from harness.serve.failures import Refusal
from harness.serve.settings import AnswerFormat, chosen_format


@pytest.mark.parametrize(
    ("asked", "accept", "chosen"),
    [
        (None, None, "png"),
        (None, "*/*", "png"),
        (None, "image/jpeg", "jpeg"),
        (None, "IMAGE/JPEG", "jpeg"),
        (None, "application/json, */*;q=0.1", "json"),
        (None, "image/*;q=0.5, application/json", "json"),
        (None, "image/png;q=0.1, image/*", "jpeg"),
        (None, "text/html, application/*;q=0.2", "json"),
        (None, "image/png;q=odd", "png"),
        ("json", "image/png", "json"),
        ("png", "application/json", "png"),
    ],
)
def test_the_address_goes_before_the_header(
    asked: AnswerFormat | None, accept: str | None, chosen: str
) -> None:
    assert chosen_format(asked, accept) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "image/webp"])
def test_nothing_acceptable(accept: str) -> None:
    with pytest.raises(Refusal) as refused:
        chosen_format(None, accept)
    assert refused.value.fault.status == 406
    assert refused.value.fault.found == accept
