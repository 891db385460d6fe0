"""A hub without a network."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants, errors


class Hub:
    """Repositories as folders; asking for a file fails as the real hub's answer would.

    Attributes:
        error: Class of the error that every request ends in; None for a hub in order.
        asked: (repository, file, revision) of each request.
    """

    def __init__(self, cache: Path) -> None:
        self.cache, self.files = cache, dict[str, dict[str, bytes]]()
        self.error: type[Exception] | None = None
        self.asked: list[tuple[str, str, str]] = []

    def put_into_cache(self, repository: str, files: dict[str, bytes], *, revision: str = "main") -> Path:
        """As hf_hub_download leaves a repository behind."""
        commit = hashlib.sha1(repository.encode()).hexdigest() if revision == "main" else revision
        folder = self.cache / f"models--{repository.replace('/', '--')}"
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True, exist_ok=True)
        (folder / "refs").mkdir(exist_ok=True)
        if revision == "main":
            (folder / "refs" / "main").write_text(commit)
        for name, content in files.items():
            (snapshot / name).write_bytes(content)
        return snapshot

    def _ask(self, repository: str, name: str, revision: str) -> bytes:
        self.asked.append((repository, name, revision))
        answer = SimpleNamespace(headers={}, request=None, status_code=403)
        if self.error is not None:
            http = issubclass(self.error, errors.HfHubHTTPError)
            raise self.error("refused", response=answer) if http else self.error("no route to host")
        if repository not in self.files:
            raise errors.RepositoryNotFoundError("404", response=answer)  # type: ignore[arg-type]
        if name not in self.files[repository]:
            raise errors.RemoteEntryNotFoundError("404", response=answer)  # type: ignore[arg-type]
        return self.files[repository][name]

    def download(self, repository: str, name: str, *, revision: str) -> str:
        content = self._ask(repository, name, revision)
        return str(self.put_into_cache(repository, {name: content}, revision=revision) / name)

    def head(self, url: str, **_options: Any) -> SimpleNamespace:
        repository, _, rest = url.split("//")[1].partition("/")[2].partition("/resolve/")
        revision, _, name = rest.partition("/")
        return SimpleNamespace(size=len(self._ask(repository, name, revision)))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, its cache empty, and the user without a token."""
    found = Hub(tmp_path / "hub")
    found.cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(found.cache))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", found.download)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", found.head)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    return found
