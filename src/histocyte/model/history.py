"""What a model has learnt from, held out and left out, and the one rule of whether it has seen an image.

An image is known by its content first (`datasets.image_print`), whatever it and its folder are called, then by its name
within its data set. A model knows all that the models before it knew, of which it goes on or by which it was taught.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from histocyte.core.errors import InputError
from histocyte.core.listener import SILENT, Listener
from histocyte.core.names import counted
from histocyte.model.learnt_set import SEEN, LearntSet, Standing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from histocyte.datasets.image_print import PrintIndex
    from histocyte.datasets.sample import Sample

__all__ = ["History", "Known", "Split", "known_by_standing", "prints_by_set"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an image.

    Attributes:
        standing: What the model has had to do with it.
        by: "content", "name" (of the image and its set), or "group": it is of the same patient or slide as one that is
            known; empty for a new one.
    """

    standing: Standing
    by: str = ""


class Split(NamedTuple):
    """Images parted so that no patient or slide is on two sides.

    Attributes:
        training: To learn from.
        validation: To choose by, or to be scored on; not learnt from before.
        left_out: Those that the history keeps for a test.
        notes: What a reader of scores has to know, in sentences.
    """

    training: list[Sample]
    validation: list[Sample]
    left_out: list[Sample]
    notes: list[str]


class History(BaseModel):
    """All that a model has seen, and what binds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sets: tuple[LearntSet, ...] = ()
    """The model's own first, then those of models before it."""
    bound_by: Mapping[str, str] = Field(default_factory=dict)
    """Licences that bind it beside its data's: of encoders' weights, and of models whose data are not known."""

    @classmethod
    def of(
        cls,
        training: Sequence[Sample],
        validation: Sequence[Sample] = (),
        left_out: Sequence[Sample] = (),
        *,
        before: Iterable[tuple[str, History]] = (),
    ) -> History:
        """The history of a model that learnt from samples, with the prints of all.

        Args:
            training: What it learnt from.
            validation: What chose its weights.
            left_out: What was kept for a test.
            before: Names and histories of models that it began with or was taught by.
        """
        from histocyte.datasets.cards import DATASETS

        learnt, held, left = map(prints_by_set, (training, validation, left_out))
        seen = [*training, *validation]
        sets = []
        for name in sorted({s.source for s in (*seen, *left_out)}):
            mine, card = [s for s in seen if s.source == name], DATASETS.get(name)
            sets.append(
                LearntSet(
                    name=name,
                    licence=card.licence if card else "not stated",
                    citation=card.citation if card else "own data",
                    images=len(mine),
                    nuclei=sum(int(s.instances.max(initial=0)) for s in mine),
                    learnt=learnt.get(name, {}),
                    held_out=held.get(name, {}),
                    left_out=left.get(name, {}),
                )
            )
        return cls(sets=tuple(sets)).after(before)

    @classmethod
    def of_earlier(cls, data: Sequence[Mapping[str, Any]], training: Mapping[str, Any]) -> History:
        """What files of earlier versions say: sets, and names of the images that were not learnt from.

        Args:
            data: A mapping a set: name, licence, citation, images, nuclei, through.
            training: With "held_out", "left_out" (names by set; the first holds the second too) and "bound_by".

        Raises:
            ValueError: That cannot be.
        """
        try:
            return cls._of_earlier(data, training)
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError("what it says of its training data cannot be") from error

    @classmethod
    def _of_earlier(cls, data: Sequence[Mapping[str, Any]], training: Mapping[str, Any]) -> History:
        held, left = training.get("held_out", {}), training.get("left_out", {})
        known = {str(entry["name"]) for entry in data}
        entries = [*data, *({"name": name} for name in sorted({*held, *left} - known))]
        sets = []
        for entry in entries:
            apart = list(left.get(entry["name"], ()))
            chose = [name for name in held.get(entry["name"], ()) if name not in apart]
            sets.append(
                LearntSet(
                    **{k: v for k, v in entry.items() if k in LearntSet.model_fields},
                    held_out=dict.fromkeys(chose, ""),
                    left_out=dict.fromkeys(apart, ""),
                )
            )
        return cls(sets=tuple(sets), bound_by=training.get("bound_by", {}))

    def after(self, before: Iterable[tuple[str, History]]) -> History:
        """This history with those of models before: what taught them has taught this one.

        Args:
            before: Names of the models and their histories.
        """
        sets = list(self.sets)
        for model, history in before:
            for entry in history.sets:
                rest: LearntSet | None = entry.model_copy(update={"through": entry.through or model})
                for mine in [s for s in sets if s.name == entry.name]:
                    rest = rest and rest.but_for(mine)
                sets += [rest] if rest is not None else []
        return self.model_copy(update={"sets": tuple(sets)})

    def names(self, *standings: Standing) -> dict[str, list[str]]:
        """Names of the images of some standings, by set; what one generation has seen more of does not count."""
        found = {}
        for name in dict.fromkeys(entry.name for entry in self.sets):
            mine = [entry for entry in self.sets if entry.name == name]
            images = dict.fromkeys(image for s in SEEN for entry in mine for image in entry.of(s))
            found[name] = sorted(i for i in images if max(entry.by_name(i) for entry in mine) in standings)
        return {name: images for name, images in found.items() if images}

    @property
    def held_out(self) -> dict[str, list[str]]:
        """Names of the images that no generation has learnt from, by set: those left out too."""
        return self.names(Standing.HELD_OUT, Standing.LEFT_OUT)

    @property
    def left_out(self) -> dict[str, list[str]]:
        """Names of the images kept for a test, by set."""
        return self.names(Standing.LEFT_OUT)

    @property
    def known_by_name(self) -> tuple[str, ...]:
        """Sets whose images are known by their names alone, so that a copy under another name is not known."""
        return tuple(dict.fromkeys(e.name for e in self.sets if not any(t for s in SEEN for t in e.of(s).values())))

    def doubts(self, model: str) -> list[str]:
        """What cannot be known of a model's images, in sentences.

        Args:
            model: Its name.
        """
        if not self.sets:
            return [f"'{model}' does not say what it has learnt from: whether it has seen an image is not known."]
        if sets := self.known_by_name:
            return [
                f"'{model}' was made by an earlier version and names its images of {', '.join(sets)} alone: a copy in "
                "a folder of another name is not known."
            ]
        return []

    def parts_may_be_missed(self, samples: Sequence[Sample], known: Sequence[Known]) -> list[str]:
        """That a folder of another name which shows what was learnt from may show more of it, in a sentence each.

        Small parts of an image are not always known by what they show.

        Args:
            samples: Images.
            known: What is known of each.
        """
        sets, notes = {entry.name for entry in self.sets}, []
        for source in sorted({s.source for s in samples} - sets):
            mine = [k for s, k in zip(samples, known, strict=True) if s.source == source]
            seen, new = sum(k.standing == Standing.LEARNT for k in mine), sum(not k.standing for k in mine)
            if seen and new:
                notes.append(
                    f"Of the {counted(len(mine), 'image')} of {source}, {counted(seen, 'shows', 'show')} what was "
                    "learnt from. "
                    "Small parts of an image are not always known by what they show: see whether the "
                    f"{counted(new, 'that is', 'that are')} taken for new come from elsewhere."
                )
        return notes

    def know(self, samples: Sequence[Sample], *, listener: Listener = SILENT) -> list[Known]:
        """What the model has had to do with each of some images.

        An image that is new itself is as known as another of the same patient or slide.

        Args:
            samples: The images.
            listener: Told how far it is.
        """
        texts, standings = self._prints()
        index = _index(texts) if texts else None
        known = []
        told = SILENT if index is None else listener  # by names alone it takes no time
        with told.task("comparing with what was learnt from", len(samples), unit="images") as task:
            for sample in samples:
                known.append(self._know(sample, index, standings))
                task.advance()
        groups: dict[tuple[str, str], Standing] = {}
        for sample, one in zip(samples, known, strict=True):
            key = (sample.source, sample.group)
            groups[key] = max(one.standing, groups.get(key, Standing.NEW))
        return [
            one if one.standing or not groups[s.source, s.group] else Known(groups[s.source, s.group], "group")
            for s, one in zip(samples, known, strict=True)
        ]

    def know_image(self, image: NDArray[np.uint8], mpp: float) -> Standing:
        """What the model has had to do with an image, by what it shows alone.

        Args:
            image: (H, W, 3) RGB.
            mpp: µm per px.
        """
        texts, standings = self._prints()
        found = _index(texts).find(image, mpp) if texts else ()
        return max((standings[n] for n in found), default=Standing.NEW)

    def unseen(self, samples: Sequence[Sample], *, test: bool = False) -> list[Sample]:
        """The images that the model has not learnt from.

        Args:
            samples: All there are.
            test: Those alone that did not choose its weights either.
        """
        most = Standing.LEFT_OUT if test else Standing.HELD_OUT
        return [s for s, known in zip(samples, self.know(samples), strict=True) if known.standing <= most]

    def split(
        self,
        samples: Sequence[Sample],
        *,
        fraction: float = 0.2,
        seed: int = 0,
        fold: tuple[int, int] | None = None,
        held_out: Sequence[Sample] = (),
        apart: Sequence[Sample] = (),
        lenient: bool = False,
        listener: Listener = SILENT,
    ) -> Split:
        """Images to learn from, and others to be scored on that the model has not learnt from.

        What it has not learnt from of a set that it knows is held out again, whatever fraction, seed and fold; images
        that it has learnt from of the same patients are in no part. Of what is new to it, whole patients or slides are
        held out. What shows the same as a held-out image, whatever its name, is not learnt from.

        Args:
            samples: From one or more data sets.
            fraction: Share of the groups of what is new.
            seed: Seed of that choice.
            fold: (k, n) in place of a fraction, as `datasets.splits.split_by_group` takes it.
            held_out: Which of what is new are held out, with all of their patients or slides, in place of a fraction.
            apart: Others that were left out before (`leave_out`).
            lenient: Hold out images that it has learnt from too where a set has no other, with a note.
            listener: Told how far it is.

        Raises:
            InputError: Nothing is left to score it on, or to learn from, or a set that is new has too few groups.
        """
        known_all = self.know(samples, listener=listener)
        standing = {id(s): known.standing for s, known in zip(samples, known_all, strict=True)}
        learnt, new = ([s for s in samples if standing[id(s)] == which] for which in (Standing.LEARNT, Standing.NEW))
        held = {(s.source, s.group) for s in samples if Standing.NEW < standing[id(s)] < Standing.LEARNT}
        kept = {source for source, _ in held}
        notes = []
        old = {s.source for s in learnt}
        if kept and old:
            notes.append(f"Of {', '.join(sorted(kept))} the images that the model has not learnt from stay held out.")
        fresh = [s for s in new if s.source not in kept]
        alone = {s for s in old if len({f.group for f in fresh if f.source == s}) == 1}
        held |= {(s.source, s.group) for s in fresh if s.source in alone}
        fresh = [s for s in fresh if s.source not in alone]
        for source in sorted(old - kept - alone - {s.source for s in fresh}):
            if lenient:
                fresh += [s for s in learnt if s.source == source]
                notes.append(
                    f"Of {source} no images are known that {self._learners(source)} did not learn from: it may score "
                    "too well on those held out here."
                )
        if held_out:
            wanted = {id(s) for s in held_out}
            held |= {(s.source, s.group) for s in fresh if id(s) in wanted}
        elif fresh:
            held |= {(s.source, s.group) for s in _by_group(fresh, fraction, seed, fold)}
        again = {id(s) for s in fresh}
        away = [s for s in samples if (s.source, s.group) in held]
        left = [s for s in away if standing[id(s)] == Standing.LEFT_OUT]
        chosen = [s for s in away if standing[id(s)] in (Standing.NEW, Standing.HELD_OUT) or id(s) in again]
        if not chosen and not left:
            raise InputError(
                "The model was trained on all of these images, so none is left to score it on. Add images it has not "
                "seen."
            )
        rest = [s for s in samples if (s.source, s.group) not in held]
        training, copies = _apart_from(rest, [*away, *apart], listener)
        if copies:
            notes.append(
                "Not learnt from, as they show the same as others that are held out or left out: "
                f"{counted(len(copies), 'image')}, e.g. {copies[0].source}/{copies[0].name}."
            )
        if not training:
            raise InputError("All of these images are held out, or show the same as one that is. Add others.")
        return Split(training, chosen, left, notes)

    def leave_out(
        self, samples: Sequence[Sample], names: Sequence[str], *, listener: Listener = SILENT
    ) -> tuple[list[Sample], list[Sample]]:
        """The images to learn from and to choose by, and those kept for a test at the end.

        What was kept so before stays kept.

        Args:
            samples: From one or more data sets.
            names: Names of the images to keep (`datasets.name_list`).
            listener: Told how far it is.

        Raises:
            InputError: No such image, one that the model has learnt from or was chosen by, or a patient or slide on
                both sides.
        """
        from histocyte.datasets.name_list import named_samples

        listed = {id(s) for s in named_samples(samples, names, where="The list of images to leave out")}
        known = self.know(samples, listener=listener)
        seen = [
            s.name for s, k in zip(samples, known, strict=True) if id(s) in listed and k.standing > Standing.LEFT_OUT
        ]
        if seen:
            raise InputError(
                f"The model before has learnt from or was chosen by {len(seen)} of the images to leave out (e.g. "
                f"'{seen[0]}'), so no score on them would be honest. Begin with another."
            )
        kept = listed | {id(s) for s, k in zip(samples, known, strict=True) if k.standing == Standing.LEFT_OUT}
        groups = {(s.source, s.group) for s in samples if id(s) in kept}
        torn = [s for s in samples if id(s) not in kept and (s.source, s.group) in groups]
        if torn:
            raise InputError(
                f"'{torn[0].name}' is of the same patient or slide ('{torn[0].group}') as an image to leave out, and "
                f"is not left out itself. Add to the list {counted(len(torn), 'such image')}."
            )
        return [s for s in samples if id(s) not in kept], [s for s in samples if id(s) in kept]

    def _know(self, sample: Sample, index: PrintIndex | None, standings: Sequence[Standing]) -> Known:
        numbers = index.find(sample.image, sample.stated_mpp) if index is not None else ()
        if numbers:
            return Known(max(standings[n] for n in numbers), "content")
        named = [entry.by_name(sample.name) for entry in self.sets if entry.name == sample.source]
        standing = max(named, default=Standing.NEW)
        return Known(standing, "name" if standing else "")

    def _prints(self) -> tuple[tuple[str, ...], tuple[Standing, ...]]:
        found = [
            (text, standing)
            for entry in self.sets
            for standing in SEEN
            for texts in entry.of(standing).values()
            for text in texts.split(" ")
            if text
        ]
        return tuple(text for text, _ in found), tuple(standing for _, standing in found)

    def _learners(self, source: str) -> str:
        return ", ".join(dict.fromkeys(e.through for e in self.sets if e.name == source and e.through)) or "the model"


def known_by_standing(samples: Sequence[Sample], known: Sequence[Known]) -> dict[str, list[dict[str, str]]]:
    """Those of some images that are not new, by standing: set, name, and what they are known by."""
    found: dict[str, list[dict[str, str]]] = {s.name.lower(): [] for s in reversed(SEEN)}
    for sample, one in zip(samples, known, strict=True):
        if one.standing:
            found[one.standing.name.lower()].append({"source": sample.source, "name": sample.name, "by": one.by})
    return found


def prints_by_set(samples: Sequence[Sample]) -> dict[str, dict[str, str]]:
    """Prints of images by data set and name; empty for one that shows nothing to tell it by."""
    from histocyte.datasets.image_print import image_print

    found: dict[str, dict[str, str]] = {}
    for sample in samples:
        one = image_print(sample.image, sample.stated_mpp)
        mine = found.setdefault(sample.source, {})
        mine[sample.name] = " ".join(filter(None, [mine.get(sample.name), one.to_text() if one.tells else None]))
    return {name: found[name] for name in sorted(found)}


def _apart_from(
    samples: Sequence[Sample], others: Sequence[Sample], listener: Listener
) -> tuple[list[Sample], list[Sample]]:
    """Samples that show nothing of others, and those that are copies or parts of one, or hold one."""
    from histocyte.datasets.image_print import PrintIndex, image_print

    shown = set()
    with listener.task("comparing with held-out images", len(others) + len(samples), unit="images") as task:
        prints = []
        for other in others:
            prints.append(image_print(other.image, other.stated_mpp))
            task.advance()
        index = PrintIndex(prints)
        for sample in samples:
            if index.find(sample.image, sample.stated_mpp):
                shown.add(id(sample))
            task.advance()
    return [s for s in samples if id(s) not in shown], [s for s in samples if id(s) in shown]


@lru_cache(maxsize=8)
def _index(texts: tuple[str, ...]) -> PrintIndex:
    from histocyte.datasets.image_print import ImagePrint, PrintIndex

    return PrintIndex([ImagePrint.from_text(text) for text in texts])


def _by_group(samples: Sequence[Sample], fraction: float, seed: int, fold: tuple[int, int] | None) -> Sequence[Sample]:
    from histocyte.datasets.splits import split_by_group

    return split_by_group(samples, fraction=fraction, seed=seed, fold=fold)[1]
