"""The contract itself notices what breaks it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from histocyte.representations.hover.scheme import Hover
from histocyte.testing.contracts import check_representation, contract_scenes


@dataclass
class Broken:
    """Hover with one direction altered."""

    alter_maps: object = None
    alter_found: object = None
    alter_kinds: object = None
    inner: Hover = field(default_factory=lambda: Hover(2))

    @property
    def maps(self):
        return self.inner.maps

    @property
    def kinds(self):
        return self.alter_kinds(self.inner.kinds) if self.alter_kinds else self.inner.kinds

    def encode(self, labels):
        maps = self.inner.encode(labels)
        return self.alter_maps(maps) if self.alter_maps else maps

    def decode(self, maps):
        found = self.inner.decode(maps)
        return self.alter_found(found) if self.alter_found else found


def _holed(found):
    labels = found.labels.copy()
    rows, columns = np.nonzero(labels)
    if len(rows):
        labels[rows[len(rows) // 2], columns[len(rows) // 2]] = 0
    return replace(found, labels=labels)


def test_hover_keeps_it():
    check_representation(Broken())


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (Broken(alter_maps=lambda m: m | {"hover": m["hover"][::-1]}), "touching: 5 nuclei"),
        (Broken(alter_maps=lambda m: m | {"types": m["types"][[0, 2, 1]]}), "classes changed"),
        (Broken(alter_maps=lambda m: m | {"hover": m["hover"].astype(np.float64)}), "not float32"),
        (Broken(alter_maps=lambda m: {k: m[k] for k in ("nucleus", "hover")}), "maps promises"),
        (Broken(alter_maps=lambda m: m | {"hover": m["hover"][:1]}), r"not \(2, 96, 96\)"),
        (Broken(alter_found=_holed), "holes or several pieces"),
        (Broken(alter_found=lambda f: replace(f, labels=f.labels * 2)), r"not 1\.\.N"),
        (Broken(alter_found=lambda f: replace(f, scores=f.scores * 2)), r"outside 0\.\.1"),
        (Broken(alter_found=lambda f: replace(f, labels=f.labels.astype(np.int64))), "not int32"),
        (Broken(alter_kinds=lambda k: {"nucleus": k["nucleus"]}), "kinds names"),
        (Broken(alter_kinds=lambda k: k | {"types": replace(k["types"], background=3)}), "no channel 3"),
        (Broken(alter_kinds=lambda k: k | {"types": replace(k["types"], within="cell")}), "which is no map"),
        (Broken(alter_kinds=lambda k: k | {"hover": replace(k["hover"], mirror=lambda f: f)}), "hover does not turn"),
        (Broken(alter_kinds=lambda k: k | {"hover": replace(k["hover"], quarter=lambda f: f)}), "hover does not turn"),
    ],
)
def test_what_is_broken_is_named(broken, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_representation(broken)


def test_scenes_are_what_their_names_say():
    counts = {name: int(labels.max()) for name, labels in contract_scenes().items()}
    assert counts == {"empty": 0, "one": 1, "many": 25, "touching": 5, "border": 5, "thin": 3, "crescent": 2}
