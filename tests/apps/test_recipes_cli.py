"""`histocyte recipes`: what is listed and shown."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from histocyte.apps.cli.main import app as main_app
from histocyte.apps.cli.recipes import app
from histocyte.core.errors import UnknownNameError
from histocyte.encoders.catalog.find import find_card
from histocyte.recipes.options import recipe_options
from histocyte.recipes.plans import find_plan
from histocyte.recipes.registry import RECIPES
from histocyte.runs.train.defaults import first_spec


def test_every_recipe_is_listed_with_its_parts() -> None:
    answer = CliRunner().invoke(app, ["list", "--json"])
    assert answer.exit_code == 0
    recipes = json.loads(answer.stdout)["recipes"]
    assert [r["name"] for r in recipes] == list(RECIPES)
    assert all(r["summary"] and r["encoder"]["name"] and r["representation"]["name"] for r in recipes)


def test_show_says_method_parts_and_size() -> None:
    answer = CliRunner().invoke(app, ["show", "cellvit"])
    assert answer.exit_code == 0
    for said in ("10.1016/j.media.2024.103143", "unetr", "hover 2 (linear)", "46,750,349", "--recipe cellvit"):
        assert said in answer.stdout


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_is_built_cited_and_its_losses_are_its_own(name: str) -> None:
    answer = CliRunner().invoke(app, ["show", name, "--json"])
    assert answer.exit_code == 0, answer.exception
    facts = json.loads(answer.stdout)
    assert facts["parameters"]["all"] == sum(n for part, n in facts["parameters"].items() if part != "all")
    assert facts["losses"]
    assert any(year in facts["method"] for year in map(str, range(2015, 2027))), "no source is cited"


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_commands_that_are_shown_can_be_pasted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads(CliRunner().invoke(app, ["show", name, "--json"]).stdout)
    shown = [facts["train"], *([facts["train_published"]] if facts["plans"] else [])]
    text = CliRunner().invoke(app, ["show", name]).stdout
    for command in shown:
        assert command in text
        asked: dict[str, Any] = {}
        monkeypatch.setattr(
            "histocyte.apps.cli.train.train.run_training", lambda *_, asked=asked, **given: asked.update(given)
        )
        answer = CliRunner().invoke(main_app, shlex.split(command)[1:])
        assert answer.exit_code == 0, answer.output
        spec = first_spec(asked["recipe"], asked["encoder"], options=asked["options"])
        plan = find_plan(name, asked["plan"] or "ours")
        keeps = spec.training.get("adapt") == "frozen" or plan is not None and plan.adapt == "frozen"
        weights = asked["encoder_weights"]
        assert weights is not None or not keeps
        assert weights is None or find_card(weights).name == weights
    assert ("--plan published" in shown[-1]) == ("published" in facts["plans"])


def test_options_are_shown_with_their_defaults_and_meanings() -> None:
    shown = " ".join(CliRunner().invoke(app, ["show", "hovernet"]).stdout.split())
    assert 'mode=fast: The paper\'s network ("original", 5 × 5 convolutions in the decoder) or' in shown
    assert "Args:" not in shown
    facts = json.loads(CliRunner().invoke(app, ["show", "cellvit", "--json"]).stdout)
    assert facts["options"]["shared"] == "false"
    assert facts["meanings"]["shared"] == "One way up for all maps, as in the paper's ablation."
    assert set(facts["options"]) == set(facts["meanings"]) == {o.name for o in recipe_options("cellvit")}


def test_an_unknown_recipe_is_refused_with_the_nearest() -> None:
    answer = CliRunner().invoke(app, ["show", "cellvitt"])
    assert isinstance(answer.exception, UnknownNameError)
    assert "Did you mean 'cellvit'" in str(answer.exception)


def test_show_says_how_a_recipe_is_trained_where_it_was_published() -> None:
    said = " ".join(CliRunner().invoke(app, ["show", "cellvit_stardist"]).stdout.split())
    assert "trained as 'published' (--plan published): adamw, learning rate 0.0003, betas 0.85 and 0.95" in said
    assert "the encoder stays as it is for the first 25" in said
    assert "trained as 'cppnet' (--plan cppnet): adam, learning rate 0.0001" in said
    facts = json.loads(CliRunner().invoke(app, ["show", "lightweight_teacher", "--json"]).stdout)
    assert facts["plans"]["published"]["adapt"] == "frozen"
    assert facts["plans"]["published"]["losses"]["types_ce_svls_sd"] == 1
    assert json.loads(CliRunner().invoke(app, ["show", "hover_unet", "--json"]).stdout)["plans"] == {}


def test_the_recipe_of_frozen_encoders_says_that_it_freezes_them() -> None:
    answer = CliRunner().invoke(app, ["show", "frozen_encoder"])
    assert "all but the encoder, which stays as it is; otherwise by --adapt" in answer.stdout
    assert "--recipe frozen_encoder --encoder-weights vit-s-22k -o" in answer.stdout
    facts = {name: json.loads(CliRunner().invoke(app, ["show", name, "--json"]).stdout) for name in RECIPES}
    assert {name for name, f in facts.items() if f["adapt"] != "full"} == {
        "frozen_encoder",
        "lightweight_teacher",
        "pathsegdiff",
    }
    assert "--encoder-weights h-optimus-0" in facts["lightweight_teacher"]["train"]
    assert "--encoder-weights" not in facts["cellvit"]["train"]
