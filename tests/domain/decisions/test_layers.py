"""The layer that each key of a policy comes from."""

from typing import Any

import pytest

from celadon.domain.decisions.layers import layers_of
from celadon.domain.language.plan import PolicyLayer
from celadon.domain.language.policy import BlueGreenPolicy


def _policy(**given: Any) -> BlueGreenPolicy:
    return BlueGreenPolicy.model_validate(given, strict=False)


def test_every_key_is_named_with_the_layer_that_gives_it() -> None:
    layers = {one.key: one for one in layers_of(_policy(bake="1m", drain_timeout="2m"), _policy(bake="3m"))}

    assert set(layers) == set(BlueGreenPolicy.model_fields)
    assert (layers["bake"].value, layers["bake"].layer, layers["bake"].otherwise) == ("3m", PolicyLayer.REQUEST, "1m")
    assert (layers["drain_timeout"].value, layers["drain_timeout"].layer) == ("2m", PolicyLayer.DEPLOYMENT)
    assert (layers["auto_promote"].value, layers["auto_promote"].layer) == ("false", PolicyLayer.DEFAULT)
    assert [one.key for one in layers.values() if one.changes] == ["bake"]


def test_a_default_of_the_installation_gives_way_to_the_deployment_and_the_request() -> None:
    layers = layers_of(
        _policy(drain_timeout="2m"),
        _policy(bake="3m"),
        defaults=_policy(bake="1m", drain_timeout="1m", max_regressions=4),
    )

    shown = {one.key: (one.value, one.layer, one.otherwise) for one in layers}
    assert shown["bake"] == ("3m", PolicyLayer.REQUEST, "1m")
    assert shown["drain_timeout"] == ("2m", PolicyLayer.DEPLOYMENT, "2m")
    assert shown["max_regressions"] == ("4", PolicyLayer.INSTALLATION, "4")
    assert shown["min_healthy"] == ("100%", PolicyLayer.DEFAULT, "100%")


def test_a_default_that_the_deployment_makes_lapse_is_celadons_own() -> None:
    layers = layers_of(_policy(auto_promote=False), defaults=_policy(auto_promote=True, promote_after="5m"))

    [delay] = [one for one in layers if one.key == "promote_after"]
    assert (delay.value, delay.layer) == ("0s", PolicyLayer.DEFAULT)


def test_a_key_that_a_stronger_layer_makes_lapse_is_at_its_default() -> None:
    layers = layers_of(_policy(auto_promote=True, promote_after="5m"), _policy(auto_promote=False))

    [delay] = [one for one in layers if one.key == "promote_after"]
    assert (delay.value, delay.layer, delay.otherwise, delay.changes) == ("0s", PolicyLayer.DEFAULT, "5m", True)


def test_a_value_given_as_it_is_by_default_is_of_the_layer_that_gives_it() -> None:
    [bake] = [one for one in layers_of(_policy(bake="5m")) if one.key == "bake"]

    assert (bake.layer, bake.changes) == (PolicyLayer.DEPLOYMENT, False)


def test_a_policy_that_contradicts_itself_has_no_layers() -> None:
    with pytest.raises(ValueError, match="promote_after"):
        layers_of(_policy(), _policy(promote_after="5m"))
