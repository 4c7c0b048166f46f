"""What `status` is told of the vote, of holdover and of the host's oscillator, from laboratories under way."""

import json

import pytest
from tests.laboratory.lying import Scene, Server, constant

from truechimer.daemon.answering import outside_words
from truechimer.laboratory.service import NO_MAJORITY_SAYS, TOO_FEW_SAYS
from truechimer.serve.clock_page import ServiceState

GOOD, LIAR = Server(), Server(constant(0.05))


def told(scene: Scene, *limits_s: float) -> dict[str, object]:
    body = outside_words.document(scene.state, scene.last, scene.config, list(limits_s))
    assert json.loads(json.dumps(body)) == body
    return body


def test_liars_are_named_and_the_oscillator_is_described() -> None:
    scene = Scene((GOOD, GOOD, GOOD, LIAR, LIAR)).run(120)
    body = told(scene, 0.01, 0.001)
    assert body["selection"] == {"state": "majority", "selected": 3, "named": ["UTC.s3", "UTC.s4"]}
    assert body["holdover_limit_s"] == 0.001, "the first door to fall is what counts"
    assert body["holdover_without"] == "sources", "the host is the scale: nobody measures it but sources"
    assert isinstance(body["holdover_remaining_s"], float)
    assert 1.0 < body["holdover_remaining_s"] < told(scene, 0.01)["holdover_remaining_s"]
    assert told(scene)["holdover_limit_s"] == outside_words.USUAL_LIMIT_S
    oscillator = body["oscillator"]
    assert isinstance(oscillator, dict)
    assert oscillator["rate_against_utc"] == pytest.approx(2.3e-5, abs=2e-7)
    sigmas = [row["u_s"] for row in oscillator["prediction"]]
    assert sigmas == sorted(sigmas)
    assert oscillator["prediction"][0]["judged"] > 10
    assert outside_words.sentence("usual", ServiceState.STEERED, scene.state, scene.config) == "usual"


@pytest.mark.parametrize(
    ("servers", "word", "says"),
    [
        ((GOOD, GOOD, LIAR, Server(constant(-0.1)), Server(constant(0.2))), "no-majority", NO_MAJORITY_SAYS),
        ((Server(answers=lambda _: False), Server(answers=lambda _: False), GOOD), "too-few", TOO_FEW_SAYS),
    ],
)
def test_why_nobody_is_followed_is_said_in_words(servers: tuple[Server, ...], word: str, says: str) -> None:
    scene = Scene(servers).run(30)
    body = told(scene)
    assert body["selection"] == {"state": word, "selected": 0, "named": [], "says": says}
    assert "holdover_remaining_s" not in body, "nothing is served, so nothing can hold over"
    usual = "learning offset and rate against UTC"
    sentence = outside_words.sentence(usual, ServiceState.ACQUIRING, scene.state, scene.config)
    assert sentence == f"{usual}; {says}"


def test_before_the_first_epoch_there_is_nothing_to_say() -> None:
    scene = Scene((GOOD, GOOD, GOOD))
    assert outside_words.document(scene.state, None, scene.config, []) == {
        "selection": {"state": "no-source", "named": []}
    }
