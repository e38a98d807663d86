"""
Adapters of the sets that models are compared on across data sets.

LIVE-C and SPAQ hold photographs as they were taken, KADID-10k and TID2013 photographs that were
distorted on purpose. None has an official split: each gets one by a hash, noted as
`split=custom`, for the distorted ones by reference. Whoever only measures takes
`training.evaluate --split all`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from training.data.dataset_layouts import (
    Layout,
    Options,
    first_file,
    split_by_reference,
    split_of_name,
)
from training.data.ratings_table import read_ratings, read_sheet
from training.data.text_files import decoded

CUSTOM_BY_NAME: Final = "split=custom: by a hash of the name, 70/10/20"
CUSTOM_BY_REFERENCE: Final = "split=custom: by a hash of the reference, 70/10/20"

LIVE_C_TRAINED_WITH: Final = 7
"""Pictures that the raters of LIVE-C were shown first, to learn the scale."""


def livec(data_dir: Path, options: Options) -> Layout:
    """
    Read LIVE In the Wild (LIVE-C): `ChallengeDB_release/` with `Images/` and `Data/*.mat`.

    MOS is 0-100. The first 7 of the 1,169 pictures taught the raters the scale and are left
    out, as everybody does: 1,162 remain.
    """
    roots = [data_dir / "ChallengeDB_release", data_dir]
    files = [
        _required([root / "Data" for root in roots], f"{variable}.mat", "LIVE-C", data_dir)
        for variable in ("AllImages_release", "AllMOS_release")
    ]
    names, mos = (_mat_vector(path, path.stem) for path in files)
    if len(names) != len(mos):
        raise ValueError(
            f"{files[1]}: expected a rating for each of the {len(names)} pictures of "
            f"{files[0].name}, got {len(mos)}. Unpack the archive again."
        )
    table = pd.DataFrame({"image_name": [str(name) for name in names], "mos": mos.astype(float)})
    table = table.iloc[LIVE_C_TRAINED_WITH:].reset_index(drop=True)
    return Layout(
        table=table.assign(split=[split_of_name(name) for name in table["image_name"]]),
        image_dirs=[root / "Images" for root in roots],
        mos_range=(0.0, 100.0),
        notes=(f"without the first {LIVE_C_TRAINED_WITH} pictures", CUSTOM_BY_NAME),
    )


def spaq(data_dir: Path, options: Options) -> Layout:
    """
    Read SPAQ: `TestImage/` and `Annotations/MOS and Image attribute scores.xlsx`.

    MOS is 0-100. The 11,125 photographs are as large as telephones took them and are resampled
    in one step, as served; the authors shrink the short side to 512 pixels first.
    """
    roots = [data_dir, data_dir / "SPAQ"]
    name = "MOS and Image attribute scores.xlsx"
    path = _required([root / "Annotations" for root in roots], name, "SPAQ", data_dir)
    found = read_sheet(path, ["Image name", "MOS"])
    names = found.names("Image name")
    splits = [split_of_name(name) for name in names]
    return Layout(
        table=pd.DataFrame({"image_name": names, "mos": found.numbers("MOS"), "split": splits}),
        image_dirs=[root / "TestImage" for root in roots],
        mos_range=(0.0, 100.0),
        notes=(CUSTOM_BY_NAME,),
    )


def kadid10k(data_dir: Path, options: Options) -> Layout:
    """
    Read KADID-10k: `images/` and `dmos.csv`; 81 references, 25 distortions, 5 levels.

    Its column `dmos` is 1-5 and, in spite of its name, higher is better.
    """
    roots = [data_dir, data_dir / "kadid10k"]
    path = _required(roots, "dmos.csv", "KADID-10k", data_dir)
    found = read_ratings(path, ["dist_img", "ref_img", "dmos"])
    return Layout(
        table=pd.DataFrame(
            {
                "image_name": found.names("dist_img"),
                "mos": found.numbers("dmos"),
                "split": split_by_reference(found.texts("ref_img")),
            }
        ),
        image_dirs=[root / "images" for root in roots],
        mos_range=(1.0, 5.0),
        notes=("column dmos is read as it is: higher is better", CUSTOM_BY_REFERENCE),
    )


def tid2013(data_dir: Path, options: Options) -> Layout:
    """
    Read TID2013: `distorted_images/` and `mos_with_names.txt`; 25 references, 24 x 5 distortions.

    MOS is 0-9. The letter case of a name differs between file and list.
    """
    roots = [data_dir, data_dir / "tid2013"]
    path = _required(roots, "mos_with_names.txt", "TID2013", data_dir)
    rows = []
    for number, line in enumerate(decoded(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            mos, image_name = words
            rows.append((image_name, float(mos)))
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: expected a rating and a name, got {line!r}. "
                "Correct the file."
            ) from error
    table = pd.DataFrame(rows, columns=["image_name", "mos"])
    # i03_08_4.bmp: reference, distortion, level.
    references = [str(name).split("_")[0] for name in table["image_name"]]
    return Layout(
        table=table.assign(split=split_by_reference(references)),
        image_dirs=[root / "distorted_images" for root in roots],
        mos_range=(0.0, 9.0),
        notes=(CUSTOM_BY_REFERENCE,),
    )


def _required(roots: list[Path], name: str, title: str, data_dir: Path) -> Path:
    path = first_file(roots, name)
    if path is None:
        places = " or ".join(str((root / name).relative_to(data_dir)) for root in roots)
        raise FileNotFoundError(
            f"{data_dir}: expected {places}, got neither. Unpack {title} there."
        )
    return path


def _mat_vector(path: Path, variable: str) -> np.ndarray[tuple[int], np.dtype[Any]]:
    """Return one variable of a MATLAB file as a vector; cells become their content."""
    from scipy.io import loadmat  # only where a data set has such files
    from scipy.io.matlab import MatReadError

    try:
        return np.ravel(loadmat(path, simplify_cells=True)[variable])
    except (ValueError, KeyError, TypeError, NotImplementedError, MatReadError) as error:
        raise ValueError(
            f"{path}: expected a MATLAB file with the variable {variable}, "
            f"got {type(error).__name__}: {error}. Unpack the archive again."
        ) from error
