"""Fetches one file from the first mirror that has it, and keeps it only if its checksum fits."""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from disttrain.data.importers.source import open_source
from disttrain.errors import DataError

__all__ = ["download", "unzipped_sha256"]

SECONDS_TO_WAIT = 15.0
CHUNK = 1 << 20
MAX_BYTES = 1 << 30


def download(
    name: str, sha256: str, mirrors: Sequence[str], folder: Path, timeout: float = SECONDS_TO_WAIT
) -> Path:
    """Put the file `name` into `folder` from one of `mirrors` and return its path.

    `sha256` is that of the unzipped file; a file already there that fits is used as it is. Nothing
    half-loaded stays. Raises DataError with what each mirror said.
    """
    path = folder / name
    if path.is_file() and _fits(path, sha256):
        return path
    failures = []
    for mirror in mirrors:
        draft = folder / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(f"{mirror.rstrip('/')}/{name}", draft, timeout)
            if _fits(draft, sha256):
                os.replace(draft, path)
                return path
            failures.append(f"{mirror}: wrong checksum")
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{mirror}: {getattr(error, 'reason', None) or error}")
        finally:
            with suppress(OSError):
                draft.unlink()
    raise DataError(f"{name} can't be downloaded ({'; '.join(failures)})")


def unzipped_sha256(path: Path) -> str:
    """Return the SHA-256, in hexadecimal, of what `path` holds once unzipped."""
    digest = hashlib.sha256()
    with open_source(path) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fits(path: Path, sha256: str) -> bool:
    try:
        return unzipped_sha256(path) == sha256
    except DataError:  # truncated or not gzip: a login page of a hotel, for one
        return False


def _fetch(url: str, draft: Path, timeout: float) -> None:
    with urllib.request.urlopen(url, timeout=timeout) as answer, draft.open("wb") as file:
        size = 0
        while chunk := answer.read(CHUNK):
            size += len(chunk)
            if size > MAX_BYTES:
                raise OSError("the file has no end")
            file.write(chunk)
