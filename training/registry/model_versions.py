"""
The model registry: find a version, download it, move an alias.

An alias is resolved once per command; from then on the version's number is used. This module
imports MLflow and little else, so that a start of the server does not wait for torch.
New versions come from `training.registry.promotion`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from console import default_names
from training.registry.address import tracking_uri
from training.registry.availability import asks_registry, unavailable

CHECKPOINT: Final = "checkpoint"
"""Folder of a logged model that holds its checkpoint."""
FLAVOR: Final = "iqa"
"""The flavor of this project's versions, see `training.registry.flavor`."""
CARD_KEYS: Final = ("metrics", "data", "training")
"""What training adds to a card, beside what `iqa.network.checkpoint` asks for."""
DISK_IS_FULL: Final = ("No space left on device", "File too large", "Disk quota exceeded")
"""The operating system's words for a full disk, which MLflow quotes in its own messages."""
MODEL_NAME: Final = default_names.MODEL_NAME
ALIAS: Final = default_names.ALIAS
_NO_SUCH: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's codes for what it does not have; any other one says nothing of it."""
_WHAT_TO_DO: Final = (
    "Use a version that training.train registered: python -m scripts.model_info --all lists them, "
    "python -m scripts.set_alias moves the alias."
)


@asks_registry
def has_versions(name: str) -> bool:
    """Tell whether a model has a version; False also where there is no such model."""
    return bool(mlflow.MlflowClient().search_model_versions(f"name='{name}'", max_results=1))


def resolve(name: str, alias: str) -> ModelVersion:
    """
    Return the version that an alias names.

    Raises:
        ValueError: The model or the alias does not exist.
        RegistryUnavailable: No answer.
    """
    found = holder_of(name, alias)
    if found is None:
        raise ValueError(
            f"alias '{alias}' of model '{name}': expected a model version, found none in "
            f"{tracking_uri()}. "
            f"Run: python -m scripts.set_alias {name} VERSION --alias {alias}, or, where there is "
            "no version yet, python -m scripts.register_pretrained"
        )
    return found


@asks_registry
def holder_of(name: str, alias: str) -> ModelVersion | None:
    """
    Return the version that an alias names, or None.

    Raises:
        RegistryUnavailable: No answer.
    """
    try:
        return mlflow.MlflowClient().get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in _NO_SUCH:
            return None
        raise unavailable(error.message) from error


@asks_registry
def get(name: str, version: str) -> ModelVersion:
    """
    Return a version.

    Raises:
        ValueError: It does not exist.
        RegistryUnavailable: No answer.
    """
    try:
        return mlflow.MlflowClient().get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in _NO_SUCH:
            raise unavailable(error.message) from error
        raise ValueError(
            f"model '{name}': expected a version, got {version!r}: {error.message} "
            "List them: python -m scripts.model_info --all"
        ) from error


@asks_registry
def download(name: str, version: str, directory: Path) -> Path:
    """
    Copy a version's checkpoint into a folder, and check it; the only way to a version's files.

    Returns:
        The folder that holds `model.safetensors` and `model.json`, byte for byte as logged.

    Raises:
        ValueError: The version is of another flavor, its files are gone or damaged, or they are
            of another format. The message names the version and says what to do.
        RegistryUnavailable: No answer.
    """
    # It loads torch: whoever wants a version's files has it loaded.
    from iqa.network import checkpoint

    what = f"model '{name}' version {version}"
    try:
        folder = Path(
            mlflow.artifacts.download_artifacts(
                f"models:/{name}/{version}/{CHECKPOINT}", dst_path=str(directory)
            )
        )
    except (MlflowException, OSError) as error:
        full = next((words for words in DISK_IS_FULL if words in str(error)), None)
        if full is not None:
            raise ValueError(f"{what}: expected room for its files, got: {full}") from error
        raise ValueError(f"{what}: {_why_not(name, version)} {_WHAT_TO_DO}") from error
    files = (checkpoint.WEIGHTS_FILE, checkpoint.CARD_FILE)
    if missing := [file for file in files if not (folder / file).is_file()]:
        raise ValueError(
            f"{what}: expected {' and '.join(files)} in its folder {CHECKPOINT}, got no "
            f"{' and no '.join(missing)}. {_WHAT_TO_DO}"
        )
    try:
        card = checkpoint.load_card(folder)
        if absent := [key for key in CARD_KEYS if not isinstance(card.get(key), dict)]:
            raise ValueError(f"{checkpoint.CARD_FILE}: expected {absent[0]!r} in it, got none.")
        digest = checkpoint.sha256_of(folder / checkpoint.WEIGHTS_FILE)
        if digest != card["weights_sha256"]:
            raise ValueError(
                f"{checkpoint.WEIGHTS_FILE}: expected sha256 {card['weights_sha256']} as in its "
                f"card, got {digest}."
            )
    except (ValueError, AttributeError) as error:
        said = str(error).replace(f"{folder}/", "")  # a temporary folder tells nobody anything
        raise ValueError(f"{what}: {said} {_WHAT_TO_DO}") from error
    return folder


def _why_not(name: str, version: str) -> str:
    """
    Say what a version is, where its checkpoint cannot be had.

    Raises:
        RegistryUnavailable: No answer.
    """
    try:
        registered = mlflow.MlflowClient().get_model_version(name, version)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return "expected it in the registry, got none: it was deleted meanwhile."
        raise unavailable(error.message) from error
    try:
        flavors = set(mlflow.models.get_model_info(f"models:/{name}/{version}").flavors)
    except Exception:  # no file MLmodel, or whatever a damaged one makes MLflow raise
        return (
            f"expected its files in {registered.source}, got none that MLflow can read"
            f"{_run_words(registered)}."
        )
    if FLAVOR in flavors:
        return (
            f"expected the folder {CHECKPOINT} among its files in {registered.source}, got none"
            f"{_run_words(registered)}."
        )
    return (
        f"expected the flavor {FLAVOR}, as training.train logs it, got "
        f"{', '.join(sorted(flavors)) or 'none'}: another program logged it."
    )


def _run_words(registered: ModelVersion) -> str:
    """Say why a version's files may be gone (its run was deleted); empty if the run exists."""
    if not registered.run_id:
        return "; it has no run"
    try:
        stage = mlflow.MlflowClient().get_run(registered.run_id).info.lifecycle_stage
    except MlflowException:
        return f"; its run {registered.run_id} is gone as well"
    return "" if stage == "active" else f"; its run {registered.run_id} was {stage}"


@asks_registry
def versions(name: str) -> list[ModelVersion]:
    """
    Return all versions of a model, oldest first.

    Raises:
        ValueError: There is no such model, or it has none.
    """
    found = list(mlflow.MlflowClient().search_model_versions(f"name='{name}'"))
    if not found:
        raise ValueError(f"model '{name}': expected versions in {tracking_uri()}, found none.")
    return sorted(found, key=lambda version: int(version.version))


@asks_registry
def aliases_of(version: ModelVersion) -> list[str]:
    """Return the aliases that name a version; a search leaves them out, so they are asked for."""
    aliases = mlflow.MlflowClient().get_registered_model(str(version.name)).aliases
    return sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))


def version_of_uri(uri: str) -> ModelVersion:
    """
    Return the version that `models:/NAME/VERSION` or `models:/NAME@ALIAS` names.

    Raises:
        ValueError: Another form, or no such version.
    """
    rest = uri.removeprefix("models:/")
    name, at, alias = rest.partition("@")
    if uri.startswith("models:/") and at:
        return resolve(name, alias)
    name, slash, version = rest.partition("/")
    if not uri.startswith("models:/") or not slash:
        raise ValueError(
            f"model: expected a folder with a checkpoint, models:/NAME/VERSION or "
            f"models:/NAME@ALIAS, got {uri}."
        )
    return get(name, version)


@asks_registry
def move_alias(name: str, alias: str, version: str, reason: str) -> str | None:
    """
    Point an alias at a version and remember the holder before it.

    MLflow keeps no history of an alias, so the version carries it: tags `previous_<alias>` and
    `<alias>_reason`.

    Returns:
        The previous holder's version, or None.
    """
    client = mlflow.MlflowClient()
    before = holder_of(name, alias)
    previous = None if before is None else str(before.version)
    if previous is not None and previous != version:
        client.set_model_version_tag(name, version, f"previous_{alias}", previous)
    client.set_model_version_tag(name, version, f"{alias}_reason", reason)
    client.set_registered_model_alias(name, alias, version)
    return previous
