"""Which server and which models a command line is about: those named, or this checkout's own."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from urllib.parse import urlsplit

from console.default_names import ALIAS
from scripts.archive import mar_file
from scripts.rollout.rolling_order import Fleet
from scripts.rollout.settings import CanarySteps, Deployment
from scripts.server.addresses import Addresses
from scripts.server.client import TorchServe
from scripts.server.http_client import NotNow, get_json
from scripts.server.models import ServedModel, parse_models
from scripts.server.state import StateDir


def models(arguments: argparse.Namespace) -> tuple[ServedModel, ...]:
    """
    Return the models that a command is about, each with its alias.

    Raises:
        NotNow: All are meant, and nobody says which these are.
    """
    server = StateDir.from_environment().server() if not arguments.management_url else None
    wanted = server.wanted if server is not None else ()
    if not arguments.all:
        own = {model.name: model.alias for model in wanted}
        name = arguments.model_name
        return (ServedModel(name=name, alias=arguments.alias or own.get(name, ALIAS)),)
    named = os.environ.get("MODELS")
    if wanted:
        found = wanted
    elif named:
        found = parse_models(named, ALIAS)
    elif arguments.health_url:
        told = get_json(f"{arguments.health_url.rstrip('/')}/models")
        found = tuple(ServedModel(name=name, alias=one["alias"]) for name, one in told.items())
    else:
        raise NotNow(
            "--all: expected a server of this checkout that runs, MODELS=NAME[@ALIAS],... in the "
            "environment, or --health-url, got none of them. Name one model: --model-name NAME"
        )
    if arguments.alias:
        return tuple(dataclasses.replace(model, alias=arguments.alias) for model in found)
    return found


def about(arguments: argparse.Namespace, model: ServedModel) -> argparse.Namespace:
    """Return the arguments as if they had named this model alone."""
    own = {"model_name": model.name, "alias": model.alias, "all": False}
    return argparse.Namespace(**{**vars(arguments), **own})


def words(arguments: argparse.Namespace) -> list[str]:
    """Return the options of a background command for the same server."""
    found = ["--model-name", arguments.model_name]
    found += ["--alias", arguments.alias] if arguments.alias else []
    found += ["--longest-request-s", str(arguments.longest_request_s)]
    for kind in ("inference", "management", "metrics", "health"):
        url = getattr(arguments, f"{kind}_url")
        found += [f"--{kind}-url", url] if url else []
    if arguments.model_store is not None:
        found += ["--model-store", str(arguments.model_store.resolve())]
    return found + (["--no-standby"] if arguments.no_standby else [])


def plan(arguments: argparse.Namespace) -> Deployment:
    """
    Return what to deploy where: the server named, or else this checkout's.

    Raises:
        ValueError: Some of a server's addresses are named, and not all.
        NotNow: None is named and none runs here, or it has no such model.
    """
    urls = [arguments.inference_url, arguments.management_url, arguments.metrics_url]
    store, state = arguments.model_store, StateDir.from_environment()
    health_url = arguments.health_url
    if all(urls):
        inference, management, metrics = (url.rstrip("/") for url in urls)
        addresses = Addresses(inference=inference, management=management, metrics=metrics)
    elif any(urls):
        raise ValueError("the server: expected all three addresses or none, got some.")
    else:
        server = state.server()
        if server is None:
            raise NotNow(
                "the server: expected one that runs, got none. Start it: "
                "scripts/run_torchserve.sh --detach, or name one by --inference-url, "
                "--management-url and --metrics-url."
            )
        if arguments.model_name not in server.names:
            raise NotNow(
                f"model '{arguments.model_name}': expected one that this server was started with, "
                f"{', '.join(server.names)}. Start it with both: scripts/run_torchserve.sh "
                f"--models {','.join([*server.names, arguments.model_name])}"
            )
        addresses = server.addresses
        supervision = state.supervision()
        if supervision is not None and supervision.health_port:
            health_url = health_url or f"http://127.0.0.1:{supervision.health_port}"
        store = store or server.store
    return Deployment(
        server=TorchServe(addresses, arguments.model_name),
        store=(store or mar_file.MODEL_STORE).resolve(),
        state=state,
        is_local=not any(urls),
        health_url=health_url.rstrip("/") if health_url else None,
        alias=models(arguments)[0].alias,
        watch_s=arguments.watch_s,
        longest_request_s=arguments.longest_request_s,
        keeps_previous=not arguments.no_standby,
        canary=arguments.canary
        and CanarySteps(
            shares=arguments.canary,
            step_s=arguments.step_s,
            min_answers=arguments.min_answers,
            score_shift=arguments.score_shift / 100,
        ),
        fleet=arguments.fleet
        and Fleet(
            folder=Path(arguments.fleet).absolute(),
            model_name=arguments.model_name,
            replica=arguments.replica or urlsplit(addresses.management).netloc,
            max_unavailable=arguments.max_unavailable,
        ),
    )
