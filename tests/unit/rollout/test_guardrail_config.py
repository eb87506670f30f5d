"""What `guardrail:` may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config import GuardrailConfig


def test_the_designs_example_is_read() -> None:
    config = GuardrailConfig.model_validate(
        {
            "min_requests": 200,
            "success_rate": 99.0,
            "duration_ratio": 1.2,
            "steps": [1, 5, 25, 50, 100],
            "interval": "60s",
        }
    )
    assert config.interval == 60
    assert list(config.steps) == [1, 5, 25, 50, 100]
    assert config.against_legacy
    assert not config.confirm


def test_without_a_key_native_is_held_against_legacy() -> None:
    assert GuardrailConfig().against_legacy
    assert GuardrailConfig(steps=(0.5, 20)).steps == (0.5, 20)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"steps": [5, 5]}, "steps must grow, found 5, 5"),
        ({"steps": [50, 5]}, "steps must grow, found 50, 5"),
        ({"steps": []}, "at least 1 item"),
        ({"steps": [0, 5]}, "greater than 0"),
        ({"steps": [5, 101]}, "less than or equal to 100"),
        ({"steps": [True, 5]}, "true is no number"),
        ({"min_requests": 0}, "greater than or equal to 1"),
        ({"duration_ratio": 0.9}, "greater than or equal to 1"),
        ({"success_rate": 100.5}, "less than or equal to 100"),
        ({"interval": "soon"}, "no duration"),
        ({"against_legacy": False}, "nothing to watch"),
        ({"steps": [100]}, "at a first step of 100 legacy has no traffic"),
        ({"steps": [100], "consistency": 99}, "at a first step of 100 legacy has no traffic"),
        ({"steps": [100], "success_rate": 99, "duration_ratio": 2}, "at a first step of 100"),
        ({"succes_rate": 99}, "not permitted"),
    ],
)
def test_what_can_not_be_meant_is_refused(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GuardrailConfig.model_validate(data)


def test_a_first_step_of_100_needs_nothing_but_a_success_rate() -> None:
    assert GuardrailConfig(steps=(100,), success_rate=99).steps == (100,)
    assert GuardrailConfig(steps=(100,), consistency=99, against_legacy=False).steps == (100,)
