"""Whether a folder holds a finished result, and the record that makes it one.

run.json is written last and goes first: a folder that has one holds the files that it names, all of the same run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from histocyte.core.errors import InputError
from histocyte.files.atomic import remove
from histocyte.formats.manifest import RUN_FILE, RunRecord, read_manifest, write_manifest
from histocyte.inference.plan import Plan
from histocyte.results.outputs import FILES, FORMATS
from histocyte.slides.fingerprint import are_of_one_slide

__all__ = ["earlier_record", "finished", "plain_signature", "publish_record"]


def plain_signature(plan: Plan) -> dict[str, Any]:
    """The plan's signature as it reads back from run.json."""
    return dict(json.loads(json.dumps(plan.signature())))


def finished(folder: Path, key: Mapping[str, object], formats: Iterable[str]) -> RunRecord | None:
    """The record of a finished run with the same parameters; None where nothing is finished.

    Args:
        folder: Folder of the result. Files are looked for in it by name, wherever the record was written.
        key: The signature of what is to be done.
        formats: Formats of the cells, that have to be there.

    Raises:
        InputError: A finished run with other parameters, or one whose files were changed since.
    """
    record = _record(folder)
    if record is None:
        return None
    other = _other(record, key)
    if other == ["slide"] and are_of_one_slide(str(record.signature.get("slide")), str(key["slide"])) is None:
        raise InputError(
            f"'{folder}' holds a finished result of an earlier version, which looked at less of the slide: whether the "
            "slide has changed since is not known. Pass --force to replace the result, or another -o."
        )
    if other:
        raise InputError(
            f"'{folder}' holds a finished result made with another {', '.join(other)}. "
            "Pass --force to replace it, or another -o."
        )
    there = _files(folder, record)
    changed = [FILES[what] for what, size in there.items() if size != record.output_bytes.get(what, size)]
    if changed:
        raise InputError(
            f"'{folder}' holds a finished result of which {', '.join(changed)} was changed since. "
            "Pass --force to replace it, or another -o."
        )
    wanted = (set(record.outputs) & set(FILES)) - set(FORMATS) | set(formats)
    return record.at(folder, already_done=True) if wanted <= there.keys() else None


def earlier_record(folder: Path, key: Mapping[str, object]) -> RunRecord | None:
    """The record in a folder, if it is of a run with the same signature: its files may stay where none is written."""
    record = _record(folder)
    return record if record is not None and not _other(record, key) else None


def publish_record(folder: Path, facts: Mapping[str, Any], earlier: RunRecord | None) -> RunRecord:
    """Write run.json once all files are there, which makes the result a finished one.

    Args:
        folder: Folder of the result.
        facts: What `RunRecord` holds, but the sizes of files.
        earlier: Journal of a run with the same signature whose files stay; files of any other go.

    Raises:
        DiskError: It cannot be written.
    """
    outputs = dict(facts["outputs"])
    if earlier is not None:
        outputs |= {what: FILES[what] for what in _files(folder, earlier)}
    for what, name in FILES.items():
        if what not in outputs:
            remove(folder / name)
    sizes = {what: (folder / name).stat().st_size for what, name in outputs.items()}
    record = RunRecord.of({**facts, "outputs": outputs, "output_bytes": sizes})
    write_manifest(folder / RUN_FILE, record)
    return record


def _record(folder: Path) -> RunRecord | None:
    """The record in a folder; None where there is none that can be made sense of."""
    try:
        return read_manifest(folder / RUN_FILE, RunRecord)
    except InputError:
        return None


def _other(record: RunRecord, key: Mapping[str, object]) -> list[str]:
    """What the record's signature has other than this one; of settings, each by itself."""

    def different(there: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
        return [name for name, value in here.items() if there.get(name) != value]

    there, here = record.signature.get("settings"), key.get("settings")
    found = different(record.signature, key)
    if "settings" in found and isinstance(there, Mapping) and isinstance(here, Mapping):
        place = found.index("settings")
        found[place : place + 1] = different(there, here)
    return found


def _files(folder: Path, record: RunRecord) -> dict[str, int]:
    """What the record names of our files, as far as it is in the folder → size."""
    paths = {what: folder / name for what, name in FILES.items() if what in record.outputs}
    return {what: path.stat().st_size for what, path in paths.items() if path.is_file()}
