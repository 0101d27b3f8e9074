"""Registered versions as files in ``models/registered``, which DVC keeps: a clone imports what others registered.

    registry.json                 the aliases of each model, and the address of the server, if there is one
    ID/version.json               name, number, metrics and tags of a version, and its run: parameters, metrics, tags
    ID/model/                     the model's folder
    ID/predictions/train.parquet  the answers of its evaluation, if there are any

ID is MLflow's id of the logged model. The number of a version can be another one in another registry, its ID is not.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from vilam.errors import VilamError
from vilam.files import read_json, replace_folder, write_atomically
from vilam.layout import ANSWERS, Layout
from vilam.tracking.address import server, without_password
from vilam.tracking.connection import connect, experiment_id, mlflow_errors
from vilam.tracking.registry import (
    IMPORTED_FROM,
    REGISTERED_AT,
    Serving,
    Version,
    download_artifact,
    download_model,
    is_shared,
    log_model,
    set_alias,
    versions,
)
from vilam.tracking.runs import IMPORTED_RUN, known_run


def take_over(root: Path, name: str, serving: Serving) -> None:
    """Before a model is registered: import what others registered, and print it; a server has it already."""
    if server() is not None:
        return
    if is_shared(root) and not Layout(root).registered.is_dir() and not versions(root, name):
        print(
            "models/registered was not pulled and will lack what others registered: "
            "`git checkout dvc.lock`, `dvc pull models/registered` and `dvc repro` bring it back",
            file=sys.stderr,
        )
    for line in import_versions(root, serving):
        print(line)


def export_versions(root: Path, name: str) -> None:
    """Write every registered version of ``name`` that is not there yet, renew metrics and tags of the others.

    What others exported is kept. A version whose files are damaged is left out, with a line on stderr. If a server is
    used, only its address is written. Raises VilamError if MLflow cannot be used or registry.json cannot be written.
    """
    folder = Layout(root).registered
    registry = _read_registry(folder)
    registry["server"] = without_password(address) if (address := server()) and address.startswith("http") else None
    if server() is None:
        for version in versions(root, name):
            try:
                _export(version, name, folder / version.origin, root)
            except VilamError as error:
                print(f"{name} version {version.number} is not in models/registered: {error}", file=sys.stderr)
                continue
            registry["aliases"].setdefault(name, {}).update(dict.fromkeys(version.aliases, version.origin))
    write_atomically(folder / "registry.json", _text(registry))


def import_versions(root: Path, serving: Serving) -> list[str]:
    """Register what ``models/registered`` holds and the registry does not; returns a line for everything that was done.

    A version that was deleted here stays deleted. An alias is set if no version has it. It moves to an imported version
    only from one that was exported too: the others have moved it since. Raises VilamError if MLflow cannot be used or a
    file is broken.
    """
    folder = Layout(root).registered
    with mlflow_errors():
        connect(root)
    exported = sorted(_exported(folder).items(), key=lambda item: (item[1]["created"], item[0]))
    known = {
        name: {version.origin for version in versions(root, name)} for name in {one["name"] for _, one in exported}
    }
    done, new = [], set()
    for origin, content in exported:
        if origin in known[content["name"]]:
            continue
        if _was_here(origin):
            done.append(f"{content['name']} version {content['number']} of models/registered: deleted here, left out")
            continue
        number = _import(origin, content, folder / origin, root, serving)
        done.append(f"{content['name']} version {number}: imported")
        new.add(origin)
    for name, aliases in _read_registry(folder)["aliases"].items():
        done += _import_aliases(name, aliases, new, {origin for origin, _ in exported}, root)
    return done


def _export(version: Version, name: str, folder: Path, root: Path) -> None:
    if not folder.is_dir():
        address = f"models:/{name}/{version.number}"
        with replace_folder(folder) as made:
            shutil.copytree(download_model(address, root), made / "model", copy_function=_link)
            write_atomically(made / "version.json", _text(_described(version, name)))
    content = read_json(folder / "version.json", "register")
    tags = {key: value for key, value in version.tags.items() if key not in (IMPORTED_FROM, REGISTERED_AT)}
    write_atomically(folder / "version.json", _text({**content, "metrics": version.metrics, "tags": tags}))
    with suppress(VilamError):  # a model that was never evaluated has no answers
        answers = download_artifact(version.run_id, ANSWERS, root)
        write_atomically(folder / ANSWERS, answers.read_bytes())


def _described(version: Version, name: str) -> dict[str, Any]:
    """A version and its run, without what MLflow tells about the machine and the user."""
    with mlflow_errors():
        run = mlflow.get_run(version.run_id)
    return {
        "name": name,
        "number": version.number,
        "created": version.created.isoformat(),
        "run": {
            "id": run.info.run_id,
            "name": run.info.run_name,
            "start_time": run.info.start_time,
            "end_time": run.info.end_time,
            "params": run.data.params,
            "metrics": run.data.metrics,
            "tags": {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")},
        },
    }


def _link(source: str, target: str) -> None:
    """The same file under a second name; a copy if the file system cannot do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _import(origin: str, content: Mapping[str, Any], folder: Path, root: Path, serving: Serving) -> int:
    """Register an exported version in a run like the one that trained it; returns its number."""
    run_id = _import_run(content["run"], root)
    with mlflow_errors(), mlflow.start_run(run_id):
        if (folder / ANSWERS).is_file():
            mlflow.log_artifact(str(folder / ANSWERS), Path(ANSWERS).parent.as_posix())
        tags = {**content["tags"], IMPORTED_FROM: origin, REGISTERED_AT: content["created"]}
        own = {name: value for name, value in content["metrics"].items() if name not in content["run"]["metrics"]}
        made = log_model(folder / "model", own, content["name"], tags, serving)  # it has those of its run too
    with mlflow_errors():
        MlflowClient().set_terminated(run_id, end_time=content["run"]["end_time"])
        MlflowClient().set_tag(run_id, f"{IMPORTED_FROM}.{origin}", str(made.number))
    return made.number


def _import_run(content: Mapping[str, Any], root: Path) -> str:
    """The id of a new run with everything that the exported one had, or of the one that was imported before."""
    with mlflow_errors():
        if (known := known_run(content["id"])) is not None:
            return known
        client = MlflowClient()
        tags = {**content["tags"], IMPORTED_RUN: content["id"]}
        made: Run = client.create_run(experiment_id(root), content["start_time"], tags, content["name"])
        metrics = [Metric(name, value, content["end_time"] or 0, 0) for name, value in content["metrics"].items()]
        params = [Param(*item) for item in content["params"].items()]
        client.log_batch(made.info.run_id, metrics, params)
        return str(made.info.run_id)


def _was_here(origin: str) -> bool:
    """Whether a version was registered or imported here before, and deleted since."""
    wanted = f"tags.`{IMPORTED_FROM}.{origin}` != ''"
    if mlflow.search_runs(search_all_experiments=True, filter_string=wanted, output_format="list"):
        return True
    with suppress(MlflowException):
        return bool(mlflow.get_logged_model(origin))
    return False


def _import_aliases(
    name: str, aliases: Mapping[str, str], new: set[str], exported: set[str], root: Path
) -> Iterator[str]:
    registered = versions(root, name)
    by_origin = {version.origin: version for version in registered}
    for alias, origin in aliases.items():
        target = by_origin.get(origin)
        holder = next((version for version in registered if alias in version.aliases), None)
        if target is None or target is holder:
            continue
        if holder is None or (origin in new and holder.origin in exported):
            set_alias(root, name, alias, target.number)
            yield f"{name} version {target.number}: {alias}"
        else:
            yield (
                f"the {alias} of {name} stays version {holder.number}, as it was here; models/registered names another "
                f"one, which is version {target.number} here: move the alias in MLflow if you want that one"
            )


def _exported(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: read_json(path, "register") for path in folder.glob("*/version.json")}


def _read_registry(folder: Path) -> dict[str, Any]:
    path = folder / "registry.json"
    return read_json(path, "register") if path.is_file() else {"aliases": {}, "server": None}


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
