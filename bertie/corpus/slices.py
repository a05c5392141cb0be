"""Prepare one slice of a corpus, and join all slices into the corpus; ``runners.slice`` describes their files."""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.corpus.chunks import Chunk, Encode, Encoded, chunks
from bertie.corpus.documents import Tally, read_documents, text_files
from bertie.corpus.prepare import PrepareSettings, chosen_segmentation, processes_for, words_entry, write_corpus
from bertie.corpus.sentences import check_language
from bertie.corpus.shards import TOKENIZER_FOLDER, Corpus
from bertie.errors import SettingsError
from bertie.files.atomic import atomic_folder, sha256_file
from bertie.runners import slice as slices
from bertie.runners._slices import Sealed
from bertie.runners.local import run
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.writing import save_tokenizer

COMMAND = "prepare-corpus"
_TOKENIZER, _FINGERPRINT, _SIZES, _WORDS = (
    "--tokenizer",
    "the tokenizer",
    "the sizes of the files",
    "the word segmenter",
)
_IN_WORDS = ("--words", "--user-dictionary")


def prepare_slice(
    paths: list[Path],
    *,
    tokenizer: Path,
    out: Path,
    settings: PrepareSettings,
    place: slices.Slice,
    typed: str,
    num_processes: int | None = None,
) -> bool:
    """Prepare a slice of a corpus.

    Args:
        paths: as for ``prepare``, and so are the others.
        tokenizer: its path must be the same for all slices and for `seal`.
        out: the corpus; the slice is written beside it.
        settings: how to read text and split it.
        place: which slice.
        typed: the command line, for errors.
        num_processes: number of processes of this machine.

    Returns:
        False if the slice was complete already.

    Raises:
        SettingsError: as for ``prepare``; or slices of another job are there.
        DataError: a file is damaged.
        ResourceError: the disk is full, or a process was killed.
    """
    check_language(settings.language)
    if out.exists():
        raise SettingsError(f"{out} exists already; remove it or choose another name")
    files = text_files(paths)
    sizes = [path.stat().st_size for path in files]
    chosen = chosen_segmentation(settings)
    flags = {f"--{name.replace('_', '-')}": value for name, value in asdict(settings).items()}
    origin = {
        **flags,
        _TOKENIZER: str(tokenizer),
        _FINGERPRINT: load_tokenizer(tokenizer).fingerprint,
        _SIZES: sizes,
        _WORDS: words_entry(chosen),
    }
    job = slices.Job(COMMAND, out, typed, origin, [str(path) for path in files])
    if slices.is_complete(job, place):
        return False
    parts = place.parts(sizes)
    mine = [path for path, part in zip(files, parts, strict=True) if part is not None]
    reader = _Reader(files, parts, settings)
    encode = Encode(str(tokenizer), settings.sentences, chosen)
    total = sum(path.stat().st_size for path in mine) / 1e6
    with (
        progress.bar("Preparing", total=total, unit="MB") as bar,
        closing(run(encode, reader, num_processes=processes_for(mine, num_processes))) as results,
    ):

        def shards() -> Iterator[tuple[slices.Key, bytes]]:
            shown = 0
            for encoded in results:
                yield reader.keys.popleft(), encoded.to_bytes()
                bar.advance((encoded.bytes_read - shown) / 1e6)
                shown = encoded.bytes_read

        slices.write(job, place, shards(), lambda: reader.found)
    return True


@dataclass
class _Reader:
    """Reads the chunks of a slice, and keeps their keys and what was found in each file."""

    files: list[Path]
    parts: list[range | None]
    settings: PrepareSettings
    keys: deque[slices.Key] = field(default_factory=deque)
    found: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Chunk]:
        tally = Tally()
        for number, (path, part) in enumerate(zip(self.files, self.parts, strict=True)):
            if part is None:
                continue
            before, num_chunks = replace(tally), 0
            documents = read_documents([path], **self.settings.reading(), tally=tally, may_be_empty=True)
            for index, chunk in enumerate(chunks(documents, language=self.settings.language, tally=tally)):
                num_chunks += 1
                if index in part:
                    self.keys.append((number, index))
                    yield chunk
            self.found[str(path)] = {
                "shards": num_chunks,
                "bytes": path.stat().st_size,
                "sha256": sha256_file(path),
                "replaced": tally.num_replaced - before.num_replaced,
                "wrapped": tally.num_wrapped - before.num_wrapped,
                "documents": tally.num_documents - before.num_documents,
                "empty": tally.num_empty - before.num_empty,
            }


def seal(sealed: Sealed) -> Corpus:
    """Join all slices into the corpus, which has the same bytes as one that was prepared at once.

    Raises:
        SettingsError: the corpus exists already, or the tokenizer has changed.
        DataError: a slice is damaged, or there are no tokens.
        ResourceError: the disk is full.
    """
    origin, found = sealed.origin, [sealed.read[name] for name in sealed.files]
    tokenizer = load_tokenizer(origin[_TOKENIZER])
    if tokenizer.fingerprint != origin[_FINGERPRINT]:
        raise SettingsError(
            f"{origin[_TOKENIZER]} changed since the slices were made; restore it, or remove "
            f"{slices.folder_of(sealed.out)} and make them again"
        )
    settings = {
        name[2:].replace("-", "_"): value
        for name, value in origin.items()
        if name.startswith("--") and name not in (*_IN_WORDS, _TOKENIZER)
    }
    place = str(slices.folder_of(sealed.out))
    with atomic_folder(sealed.out) as folder:
        save_tokenizer(tokenizer, folder / TOKENIZER_FOLDER)
        write_corpus(
            folder,
            (Encoded.from_bytes(content, place) for content in sealed.results()),
            fingerprint=tokenizer.fingerprint,
            vocab_size=tokenizer.vocab_size,
            settings=settings,
            words=origin[_WORDS],
            read=lambda: Tally(
                sources=[(name, one["bytes"]) for name, one in zip(sealed.files, found, strict=True)],
                num_replaced=sum(one["replaced"] for one in found),
                num_documents=sum(one["documents"] for one in found),
                num_empty=sum(one["empty"] for one in found),
                num_wrapped=sum(one["wrapped"] for one in found),
            ),
            total=sum(one["bytes"] for one in found) / 1e6,
            shown=f"{len(sealed.files)} files; the first is {sealed.files[0]}",
        )
    return Corpus.open(sealed.out)
