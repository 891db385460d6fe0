"""The encoder study as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from histocyte.core.errors import require
from histocyte.core.plain_text import as_utf8
from histocyte.files.atomic import write_atomically
from histocyte.runs.studies.encoders.run import Failure
from histocyte.runs.studies.encoders.scores import SCORES
from histocyte.runs.studies.encoders.table import NO_INTERVAL, SEEDS, Table, as_text
from histocyte.runs.studies.encoders.weights import Ready

__all__ = ["write_page"]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Frozen encoders</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block; overflow-x: auto }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
td.n { white-space: nowrap; font-variant-numeric: tabular-nums }
td.n:first-child { white-space: normal; min-width: 9rem; overflow-wrap: anywhere }
.plot { overflow-x: auto } .plot img { max-width: 100%; min-width: 42rem }
code { font-size: 12px; overflow-wrap: anywhere } .note { color: #555 }
</style></head><body>
<h1>Frozen encoders behind one decoder</h1>
<p>Each encoder stays as it is; the same decoder ({{ settings.decoder }}) is trained over its features for
{{ settings.steps }} steps of {{ settings.batch }} crops of {{ settings.crop_px }} px at {{ settings.mpp }} µm/px, and
scored once on held-out images, {{ table.held_out() }}. Brackets and bars are 95 % intervals from
{{ table.replicates }} resamples of patients or slides; differences are on the same images,
{{ no_interval }}. {{ about_seeds }}</p>
{% for title, image in images %}
<p class="plot"><img alt="{{ title }}" src="data:image/svg+xml;base64,{{ image }}"></p>{% endfor %}
{% if table.rows %}<h2>Mean over data sets</h2>
<table><tr>{% for c in table.header() %}<th>{{ c }}</th>{% endfor %}</tr>
{% for line in table.lines() %}<tr>{% for cell in line %}<td class="n">{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
<p class="note">M: millions of weights of the encoder as it is tapped; decoder M: of what is trained, which for taps of
one grid includes what spreads them to a pyramid; crops/s: of the encoder alone, on the machine that ran
it.{% for title, about in scores %} {{ title }}: {{ about }}.{% endfor %}</p>
{% for source, lines in by_source %}<h2>{{ source }}</h2>
<table><tr><th>encoder</th><th>taps</th>{% for title, _ in scores %}<th>{{ title }}</th>{% endfor %}</tr>
{% for line in lines %}<tr>{% for cell in line %}<td class="n">{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>{% endfor %}{% endif %}
{% if failures %}<h2>Did not run</h2><table><tr><th>encoder</th><th>taps</th><th>seed</th><th>reason</th></tr>
{% for f in failures %}<tr><td>{{ f.label }}</td><td>{{ f.taps }}</td><td>{{ f.seed }}</td><td>{{ f.reason }}</td></tr>
{% endfor %}</table>{% endif %}
{% if ready %}<h2>Ready to run once their weights are here</h2>
<table><tr><th>encoder</th><th>memory, GB</th><th>missing</th><th>command</th></tr>
{% for r, command in ready %}<tr><td>{{ r.label }}</td><td>{{ "%.1f"|format(r.memory_mb / 1000) }}</td>
<td>{{ r.missing }}</td><td><code>{{ command }}</code></td></tr>
{% endfor %}</table>{% endif %}
</body></html>
"""


def write_page(
    path: Path,
    table: Table,
    plots: Mapping[str, bytes],
    failures: Sequence[Failure],
    ready: Sequence[tuple[Ready, str]],
    settings: Mapping[str, Any],
) -> None:
    """Write the page; it needs no other file.

    Args:
        path: Of the page.
        table: Of the study.
        plots: SVGs by name.
        failures: Runs without scores.
        ready: Encoders without weights, each with its command.
        settings: Of the study.

    Raises:
        MissingExtraError: jinja2 is not installed.
        DiskError: The page could not be written.
    """
    require("jinja2", extra="report")
    from jinja2 import Environment, StrictUndefined

    shown = [key for key in SCORES if any(key in row.scores for row in table.rows)]
    by_source = [
        (
            source,
            [
                (row.label, row.taps, *(as_text(row.scores.get(key, {}).get(source)) for key in shown))
                for row in table.rows
            ],
        )
        for source in table.sources
    ]
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    text = page.render(
        table=table,
        settings=settings,
        scores=[SCORES[key] for key in shown],
        about_seeds=SEEDS,
        no_interval=NO_INTERVAL,
        by_source=by_source,
        images=[(name, base64.b64encode(svg).decode()) for name, svg in plots.items()],
        failures=failures,
        ready=ready,
    )
    with write_atomically(path) as file:
        file.write(as_utf8(text))
