"""Base of our TFDS builders: their ArrayRecord files are written one record after the other.

TFDS's own writer gathers a split before it writes it, because it may have to shuffle it: in memory,
and above 1 GB in TensorFlow's files. Our builders keep the order their examples are made in and
know how many there will be, so nothing has to be gathered, and a set of any size is prepared in the
memory of a few images. Names, number and content of the files are those TFDS would have written.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core import example_serializer
from tensorflow_datasets.core.utils import shard_utils

_READ_SINGLY = "group_size:1"  # as TFDS does: a record is read without its neighbours


@dataclass(frozen=True)
class SplitExamples:
    """The examples of one split, made when they are asked for, and how many there will be."""

    number: int
    generator: Iterator[tuple[int, dict[str, Any]]]
    """Number of the example and its features, in the order of the split."""

    def __len__(self) -> int:
        """Return the number of examples."""
        return self.number

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the examples, once."""
        return self.generator


class InOrderBuilder(tfds.core.GeneratorBasedBuilder):
    """A builder whose `_split_generators` returns `SplitExamples`; records keep their order."""

    def _generate_splits(
        self, dl_manager: tfds.download.DownloadManager, _: tfds.download.DownloadConfig
    ) -> list[tfds.core.SplitInfo]:
        """Write all splits; called by `download_and_prepare`.

        Raises:
            OSError: a file that cannot be written.
        """
        splits: dict[str, SplitExamples] = self._split_generators(dl_manager)
        return [self._write_split(name, examples) for name, examples in splits.items()]

    def _write_split(self, name: str, examples: SplitExamples) -> tfds.core.SplitInfo:
        features = self.info.features
        serialise = example_serializer.ExampleSerializer(features.get_serialized_info())
        records: Iterator[bytes] = (
            serialise.serialize_example(features.encode_example(example)) for _, example in examples
        )
        first = next(records)
        # All records of fixed-size images are of one size. (Were they not, the files would only be
        # of less even sizes: how many records each holds is noted.)
        shards = shard_utils.ShardConfig.calculate_number_shards(
            total_size=len(first) * len(examples), num_examples=len(examples)
        )
        ends = shard_utils.get_shard_boundaries(len(examples), shards)
        lengths = [end - start for start, end in itertools.pairwise([0, *ends])]
        template = self._get_filename_template(split_name=name)
        records = itertools.chain([first], records)
        num_bytes = 0
        for number, length in enumerate(lengths):
            path = Path(template.sharded_filepath(shard_index=number, num_shards=shards))
            num_bytes += _write(path, itertools.islice(records, length), length)
        if next(records, None) is not None:  # lets the builder go on to its end, too
            raise ValueError(f"{name}: expected {len(examples)} examples, the builder made more")
        return tfds.core.SplitInfo(
            name=name, shard_lengths=lengths, num_bytes=num_bytes, filename_template=template
        )


def _write(path: Path, records: Iterator[bytes], length: int) -> int:
    """Write `length` records into one file and return how many bytes they have."""
    writer = ArrayRecordWriter(str(path), _READ_SINGLY)
    sizes = []
    for record in records:
        with _refusals_are_os_errors():
            writer.write(record)
        sizes.append(len(record))
    with _refusals_are_os_errors():
        writer.close()
    if len(sizes) != length:
        raise ValueError(f"{path.name}: expected {length} examples, the builder made {len(sizes)}")
    return sum(sizes)


@contextlib.contextmanager
def _refusals_are_os_errors() -> Iterator[None]:
    """Turn what ArrayRecord says of a full disk, or of anything the system refuses, into OSError.

    It is a RuntimeError "write() failed: No space left on device; writing PATH; at byte …".
    """
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error).split(";")[0]) from None
