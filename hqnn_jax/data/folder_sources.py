"""The sets of image files a person has to download: layout, classes, counts, licence, citation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FolderSource:
    """One published set of image files, one folder per class."""

    name: str
    """Name in the configuration, and of its folder below the data folder."""
    layout: tuple[str, ...]
    """Folders, as unpacked from the published archive, that lead to the parts or classes."""
    parts: Mapping[str, str]
    """Official split -> its folder. A set published in one piece has the single part `images`."""
    class_names: tuple[str, ...]
    """Folders of the classes, in the order of the labels (alphabetical)."""
    published: Mapping[str, tuple[int, ...]]
    """Part -> published number of images of each class."""
    file_mode: str
    """Pillow mode of the published files: RGB, RGBA (opaque) or L."""
    licence: str
    citation: str
    homepage: str
    download: str
    """What to download, from where: one sentence for a person."""
    copies: str = ""
    """What to know about a set with several copies of each photograph unless they are kept
    together; empty where there are none."""

    @property
    def num_channels(self) -> int:
        """Channels of the stored images: 1 for grey sets, else 3."""
        return 1 if self.file_mode == "L" else 3

    @property
    def instructions(self) -> str:
        """What to download and where to put it, below the data folder."""
        first = "/".join(part for part in (next(iter(self.parts.values())),) if part)
        folders = "/".join(filter(None, (self.name, *self.layout, first, self.class_names[0])))
        return f"{self.download} and unpack it so that {folders}/ holds images"


_PBC = FolderSource(
    name="pbc",
    layout=("PBC_dataset_normal_DIB",),
    parts={"images": ""},
    class_names=(
        "basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil",
        "platelet",
    ),
    published={"images": (1218, 3117, 1551, 2895, 1214, 1420, 3329, 2348)},
    file_mode="RGB",
    licence="CC BY 4.0",
    citation=(
        "Acevedo, A. et al. A dataset of microscopic peripheral blood cell images for development "
        "of automatic recognition systems. Data in Brief 30, 105474 (2020). "
        "doi:10.1016/j.dib.2020.105474"
    ),
    homepage="https://data.mendeley.com/datasets/snkd93bnjr/1",
    download=(
        "download PBC_dataset_normal_DIB.zip from https://data.mendeley.com/datasets/snkd93bnjr/1"
    ),
)  # fmt: skip

_BLOOD_CELL_IMAGES = FolderSource(
    name="blood_cell_images",
    layout=("dataset2-master", "dataset2-master", "images"),
    # TEST_SIMPLE holds the 71 originals that TEST was augmented from: part of neither split.
    parts={"train": "TRAIN", "test": "TEST"},
    class_names=("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL"),
    published={"train": (2497, 2483, 2478, 2499), "test": (623, 620, 620, 624)},
    file_mode="RGB",
    licence="MIT (derived from BCCD)",
    citation=(
        "Mooney, P. Blood Cell Images. Kaggle (2018), augmented from the BCCD dataset "
        "(https://github.com/Shenggan/BCCD_Dataset)"
    ),
    homepage="https://www.kaggle.com/datasets/paultimothymooney/blood-cells",
    download=(
        "download the archive of https://www.kaggle.com/datasets/paultimothymooney/blood-cells"
    ),
    copies=(
        "the images are augmented copies of few photographs, and validation images share theirs "
        "with training images: split.method=grouped keeps copies together"
    ),
)

_AML_CYTOMORPHOLOGY = FolderSource(
    name="aml_cytomorphology",
    layout=("AML-Cytomorphology_LMU",),
    parts={"images": ""},
    class_names=(
        "BAS", "EBO", "EOS", "KSC", "LYA", "LYT", "MMZ", "MOB", "MON", "MYB", "MYO", "NGB", "NGS",
        "PMB", "PMO",
    ),
    published={
        "images": (79, 78, 424, 15, 11, 3937, 15, 26, 1789, 42, 3268, 109, 8484, 18, 70)
    },
    file_mode="RGBA",
    licence="CC BY 3.0",
    citation=(
        "Matek, C. et al. A Single-cell Morphological Dataset of Leukocytes from AML Patients and "
        "Non-malignant Controls (AML-Cytomorphology_LMU). The Cancer Imaging Archive (2019). "
        "doi:10.7937/tcia.2019.36f5o9ld; Matek, C. et al. Nature Machine Intelligence 1, 538-544 "
        "(2019). doi:10.1038/s42256-019-0101-9"
    ),
    homepage="https://www.cancerimagingarchive.net/collection/aml-cytomorphology_lmu/",
    download=(
        "download the images from "
        "https://www.cancerimagingarchive.net/collection/aml-cytomorphology_lmu/"
    ),
)  # fmt: skip

_MEDICAL_MNIST = FolderSource(
    name="medical_mnist",
    layout=(),
    parts={"images": ""},
    class_names=("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT"),
    published={"images": (10000, 8954, 10000, 10000, 10000, 10000)},
    file_mode="L",
    licence="CC BY-SA 4.0",
    citation=(
        "Lozano, A. P. Medical MNIST Classification. GitHub (2017), "
        "https://github.com/apolanco3225/Medical-MNIST-Classification"
    ),
    homepage="https://www.kaggle.com/datasets/andrewmvd/medical-mnist",
    download=("download the archive of https://www.kaggle.com/datasets/andrewmvd/medical-mnist"),
)

FOLDER_SOURCES: Mapping[str, FolderSource] = {
    "pbc": _PBC,
    "blood_cell_images": _BLOOD_CELL_IMAGES,
    "aml_cytomorphology": _AML_CYTOMORPHOLOGY,
    "medical_mnist": _MEDICAL_MNIST,
}
"""The sets by their name in the configuration."""
