"""Every tenant's champions, in as much memory as is allowed, and swapped while serving."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections import OrderedDict
from pathlib import Path

from serving.prediction.bundles import Bundle, BundleBroken, ModelNotTrained, load_bundle

_DIGEST = re.compile(r"[0-9a-f]{64}")
Key = tuple[uuid.UUID, str]

log = logging.getLogger(__name__)


class Champions:
    """The champions under a folder, `max_bytes` of them in memory, the least recently used evicted first.

    A champion is looked up by the state of its pointer file, so a promotion shows with the next request; requests that
    hold the bundle before go on with it. When the new bundle cannot be loaded, the old one goes on serving and the
    error is logged. Requests that miss the same bundle together load it once.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[Key, tuple[tuple[int, ...], Bundle]] = OrderedDict()
        # Whose champion speaks only because the one promoted after it cannot be loaded.
        self._outdated: set[Key] = set()
        # By state too: who asks after a promotion must not be given what was being loaded before it.
        self._loading: dict[tuple[Key, tuple[int, ...]], asyncio.Task[Bundle]] = {}

    @property
    def bytes(self) -> int:
        """What the held bundles take, as estimated."""
        return self._bytes

    async def champion(self, tenant_id: uuid.UUID, model: str) -> Bundle:
        """The tenant's promoted model. Raises: ModelNotTrained, BundleBroken."""
        key = (tenant_id, model)
        held = self._held.get(key)
        try:
            state = self._state(key)
        except OSError as error:
            self._drop(key)
            raise ModelNotTrained from error
        if held is not None and held[0] == state:
            self._held.move_to_end(key)
            return held[1]
        loading = self._loading.get((key, state))
        if loading is None:
            loading = self._loading[key, state] = asyncio.create_task(self._load(key, state))
            loading.add_done_callback(lambda _: self._loading.pop((key, state), None))
        # Shielded: the first to ask may go away while others wait for the same bundle.
        return await asyncio.shield(loading)

    def is_outdated(self, tenant_id: uuid.UUID, model: str) -> bool:
        """Whether what `champion` gave last speaks only because the one promoted after it cannot be loaded."""
        return (tenant_id, model) in self._outdated

    def _pointer(self, key: Key) -> Path:
        return self._folder / str(key[0]) / key[1] / "champion.json"

    def _state(self, key: Key) -> tuple[int, ...]:
        found = self._pointer(key).stat()
        return (found.st_mtime_ns, found.st_ino, found.st_size)

    async def _load(self, key: Key, state: tuple[int, ...]) -> Bundle:
        held = self._held.get(key)
        outdated = False
        try:
            bundle = await asyncio.to_thread(_read, self._pointer(key), key)
        except BundleBroken:
            log.exception("bundle.broken", extra={"tenant_id": str(key[0]), "model": key[1]})
            if held is None:
                raise
            bundle, outdated = held[1], True
        self._drop(key)
        self._held[key] = (state, bundle)
        if outdated:
            self._outdated.add(key)
        self._bytes += bundle.size
        while self._bytes > self._max_bytes and len(self._held) > 1:
            self._drop(next(iter(self._held)))
        return bundle

    def _drop(self, key: Key) -> None:
        self._outdated.discard(key)
        held = self._held.pop(key, None)
        if held is not None:
            self._bytes -= held[1].size


def _read(pointer: Path, key: Key) -> Bundle:
    digest = _pointed_at(pointer)
    return load_bundle(pointer.parent / digest, tenant_id=key[0], model=key[1], digest=digest)


def _pointed_at(pointer: Path) -> str:
    try:
        digest = json.loads(pointer.read_bytes())["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleBroken("its pointer cannot be read") from error
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BundleBroken("its pointer holds no digest")
    return digest
