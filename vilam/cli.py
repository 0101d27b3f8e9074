"""The command line: a command for each stage, and commands for models, data sets and answers.

    python -m vilam prepare
    vilam models
    vilam predict photo.jpg --model models:/vilam@champion --locate "the red circle"

Nothing heavy is imported here: a command imports what it needs when it runs.
"""

from __future__ import annotations

import gc
import importlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from vilam.errors import VilamError

if TYPE_CHECKING:
    from vilam.config import Settings

STAGES = {
    "prepare": "Turn a source into image records: data/records.",
    "synthesize": "Make the instructions of all tasks from the records: data/instructions.",
    "activate": "Train phase 1, captions with coordinates: models/activate.",
    "train": "Train phase 2, all tasks and the cycle: models/train.",
    "evaluate": "Score both models on held-out images: metrics, reports, predictions.",
    "register": "Register the model as challenger, and as champion if it passes the gate.",
}
"""The stages in the order of dvc.yaml, by the name that they have everywhere, and what they do."""

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning OpenMP threads are very slow on a busy machine
    "GOMP_SPINCOUNT": "30000",  # but a short spin makes training a fifth faster on an idle one
    # Batches of varying lengths fill oneDNN's cache of 1,024 kernels with ones that are not used again: 64 halve that.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # vilam shows its own
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it may hold a password
}
"""Environment variables that every run sets, unless they are set already."""

ParamsFile = Annotated[Path, typer.Option("--params", help="The settings file.")]
RecipeName = Annotated[str, typer.Argument(help="A recipe of configs/datasets, or a recipe's file.")]
ModelName = Annotated[
    str, typer.Option("--model", help="A folder, models:/NAME@ALIAS of the registry, or a name of the hub.")
]

app = typer.Typer(
    help="Regions from words and words from regions: the vilam pipeline, one stage at a time, and its model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def stage_command(stage: str) -> Callable[[Path], None]:
    """The command that checks the settings and runs ``stage`` in the current folder, the project's."""

    def command(params: ParamsFile = Path("params.yaml")) -> None:
        from vilam.config import load_settings

        _run_stage(stage, load_settings(params))

    return command


def _run_stage(stage: str, settings: Settings) -> None:
    """Run ``stage`` in the current folder; a server that is down is reported first, not when a run is tracked."""
    from vilam.tracking.address import check_server, server

    check_server(server() or "")
    importlib.import_module(f"vilam.stages.{stage}").run(settings, Path.cwd())


def evaluate(
    params: ParamsFile = Path("params.yaml"),
    protocol: Annotated[str | None, typer.Option(help="strict or vilam-oracle; replaces the setting.")] = None,
) -> None:
    """Check the settings, with this protocol, and evaluate in the current folder, the project's."""
    from vilam.config import check_settings, load_settings, read_yaml
    from vilam.overrides import override

    settings = load_settings(params)
    if protocol is not None:
        content = read_yaml(params)
        override(content, {"evaluate.protocol": protocol}, "--protocol")
        settings = check_settings(content, "--protocol")
    _run_stage("evaluate", settings)


for _stage, _help in STAGES.items():
    app.command(_stage, help=_help)(evaluate if _stage == "evaluate" else stage_command(_stage))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder, or one that has none of the project's files.")],
) -> None:
    """Make a project: settings, stages, configs, flows and docs, under git and DVC."""
    from vilam.commands import init as command

    done = command.init(folder)
    print(f"{folder}: a new project; {done}")
    print(f"next: cd {shlex.quote(str(folder))} && dvc repro && vilam table")


@app.command()
def use(
    preset: Annotated[Path, typer.Argument(help="Settings by dotted name, such as configs/models/small.yaml.")],
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Write a preset's settings into params.yaml."""
    from vilam.commands import use as command

    changed = command.use(preset, params)
    print(f"{params}: {len(changed)} settings changed" + (": " + ", ".join(changed) if changed else ""))


datasets = typer.Typer()
app.add_typer(datasets, name="datasets")


@datasets.callback(invoke_without_command=True)
def list_datasets(context: typer.Context) -> None:
    """List the data sets that vilam can read; show one, check its files."""
    from vilam.commands.datasets import show_recipes

    if context.invoked_subcommand is None:
        show_recipes(Path.cwd())


@datasets.command("show")
def show_dataset(recipe: RecipeName) -> None:
    """Show where a data set's files come from, their layout, and known leakage."""
    from vilam.commands.datasets import show_recipe

    show_recipe(recipe, Path.cwd())


@datasets.command("check")
def check_dataset(
    files: Annotated[list[str], typer.Argument(help="A folder or file, or a recipe or format and its folder.")],
) -> None:
    """Read a whole data set; say what it is, what is in it, and all of its problems."""
    from vilam.commands.datasets import check

    if len(files) > 2:
        raise VilamError(f"datasets check: expected a folder, or a recipe and its folder, not {len(files)} names")
    check(files[0] if len(files) == 2 else "auto", Path(files[-1]), Path.cwd())


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="The new folder.")],
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="Also as yolo, ms_swift, odvg or labelstudio; repeat for more."),
    ] = None,
) -> None:
    """Write the prepared data set and its instructions for publication: Parquet, COCO, a card, checksums."""
    from vilam.commands.publish import publish
    from vilam.layout import Layout

    layout = Layout(Path())
    card = publish(layout.records, layout.instructions, folder, formats or ())
    print(f"{folder}: {card.name}, {', '.join(card.splits)}: README.md says how to load it")


@app.command()
def models(
    params: ParamsFile = Path("params.yaml"),
    take_over: Annotated[
        bool, typer.Option("--import", help="First register what others registered: models/registered.")
    ] = False,
) -> None:
    """Compare the registered versions."""
    from vilam.commands.models import import_models, show_models
    from vilam.config import load_settings

    if take_over:
        import_models(Path.cwd())
    show_models(load_settings(params).register_, Path.cwd())


@app.command()
def experiments(params: ParamsFile = Path("params.yaml")) -> None:
    """List the DVC experiments: the settings that differ, the main metrics, the registered versions."""
    from vilam.commands.experiments import show_experiments
    from vilam.config import load_settings

    show_experiments(load_settings(params).register_, Path.cwd())


@app.command()
def ui(
    mlflow_port: Annotated[int, typer.Option(envvar="MLFLOW_PORT", help="MLflow's port.")] = 5000,
    prefect_port: Annotated[int, typer.Option(envvar="PREFECT_PORT", help="Prefect's port.")] = 4200,
) -> None:
    """Serve the pages of MLflow and Prefect on this machine until ctrl-C."""
    from vilam.commands.ui import show

    show(Path.cwd(), mlflow_port, prefect_port)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A run's id, a registry address, a project folder or a Parquet file.")],
    second: Annotated[str, typer.Argument(help="The same; differences are second minus first.")],
) -> None:
    """Compare two evaluated models by their answers to the same questions, with intervals."""
    from vilam.commands.compare import compare

    compare(first, second, Path.cwd())


@app.command()
def table(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print only the table and its protocol, in Markdown.")
    ] = False,
) -> None:
    """Print every task's metric after activate and after train, and where to find the report."""
    from vilam.commands.table import show_table

    show_table(Path.cwd(), markdown)


@app.command()
def plots(
    revisions: Annotated[
        list[str] | None,
        typer.Argument(help="Experiments or git revisions to compare; one is compared with the working tree."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="A folder for a PNG of each plot.")] = None,
) -> None:
    """Draw all plots of dvc.yaml on one page that opens without a network."""
    from vilam.commands.plots import plots

    plots(Path.cwd(), revisions or (), images)


@app.command()
def ablate(
    file: Annotated[Path, typer.Argument(help="Arms, seeds and fractions, such as configs/ablations/scenes.yaml.")],
    table: Annotated[bool, typer.Option("--table", help="Run nothing; show the finished results.")] = False,
    docs: Annotated[Path | None, typer.Option(help="A folder for copies of the tables and the plot.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Run only this arm and the baseline; repeat for more.")] = None,
    fraction: Annotated[
        list[float] | None, typer.Option(help="Run only with this described fraction; repeat for more.")
    ] = None,
) -> None:
    """Train arms with equal budgets and compare their answers, paired, with intervals."""
    from vilam.ablation.command import Part, ablate

    ablate(file, Path.cwd(), run=not table, docs=docs, part=Part(arm or (), fraction or ()))


@app.command()
def predict(
    image: Annotated[Path, typer.Argument(help="The image: PNG or JPEG.")],
    model: ModelName = "models:/vilam@champion",
    locate: Annotated[str | None, typer.Option(help="An expression; prints its box.")] = None,
    segment: Annotated[str | None, typer.Option(help="An expression; prints its mask as polygons.")] = None,
    keypoints: Annotated[str | None, typer.Option(help="An expression; prints its keypoints.")] = None,
    find_all: Annotated[
        str | None, typer.Option(help="An expression; prints the boxes of everything that fits it.")
    ] = None,
    presence: Annotated[str | None, typer.Option(help="An expression; prints whether anything fits it.")] = None,
    classify: Annotated[str | None, typer.Option(help="A box x1,y1,x2,y2 in pixels; prints its category.")] = None,
    describe: Annotated[
        str | None, typer.Option(help="A box x1,y1,x2,y2 in pixels; prints an expression for it.")
    ] = None,
    then: Annotated[str | None, typer.Option(help="classify or describe the box that --locate found.")] = None,
    save: Annotated[Path | None, typer.Option(help="Draw the answer on the image and save it here.")] = None,
) -> None:
    """Ask a trained model about an image; the answer is printed as JSON."""
    options = {"locate": locate, "segment": segment, "keypoints": keypoints, "find_all": find_all, "presence": presence}
    options |= {"classify": classify, "describe": describe}
    questions = [(task, text) for task, text in options.items() if text is not None]
    if len(questions) != 1:
        raise VilamError("predict: ask one thing: --" + ", --".join(options).replace("_", "-"))
    task, text = questions[0]
    if then is not None and (task != "locate" or then not in ("classify", "describe")):
        raise VilamError(f"--then {then}: expected classify or describe, after --locate")
    box = parse_box(text, task) if task in ("classify", "describe") else None
    with _without_garbage_collection():
        from vilam.commands import predict as command

        command.predict(model, image, task, None if box else text, box, save, then)


@app.command()
def serve(
    model: Annotated[str, typer.Option(help="A version or an alias of the registry.")] = "models:/vilam@champion",
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for other machines too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 5001,
) -> None:
    """Serve a registered model over HTTP; ctrl-C ends it."""
    from vilam.commands import serve as command

    command.serve(model, host, port, Path.cwd())


@app.command()
def plan(
    params: ParamsFile = Path("params.yaml"),
    given: Annotated[
        list[str] | None, typer.Option("--set", "-S", help="NAME=VALUE in place of a setting; repeat for more.")
    ] = None,
    phase: Annotated[str, typer.Option(help="activate or train.")] = "train",
    picture: Annotated[str, typer.Option(help="WIDTHxHEIGHT of pictures, if no data is prepared.")] = "640x480",
    speed: Annotated[
        float | None, typer.Option(help="Floating-point operations a second, for the time of a step.", min=1)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, in bytes.")] = False,
) -> None:
    """Compute what a run will need: parameters, memory, operations. It loads no weights and needs no GPU."""
    from vilam.commands import plan as command

    command.plan(params, given or (), phase, picture, speed, as_json)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A model folder or a registry address, of a Hugging Face VLM.")],
    folder: Annotated[Path, typer.Argument(help="The new folder.")],
) -> None:
    """Merge the adapters of a Hugging Face VLM, so that transformers alone can open it."""
    from vilam.commands import export as command

    command.export(model, folder, Path.cwd())


@app.command()
def conventions(
    folder: Annotated[Path | None, typer.Argument(help="The folder of a Hugging Face VLM, trained or not.")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture of the size to try; without one, 1333 x 800.")] = None,
    save: Annotated[Path, typer.Option(help="The file of the drawing.")] = Path("conventions.png"),
) -> None:
    """List how Hugging Face VLMs write places, or draw boxes through a model's convention and back."""
    from vilam.commands import conventions as command

    if folder is None:
        command.show_conventions(Path.cwd())
    else:
        command.draw_convention(folder, image, save)


def parse_box(text: str, option: str) -> tuple[float, float, float, float]:
    """``x1,y1,x2,y2`` as numbers; raises VilamError if it is not four numbers with x1 < x2 and y1 < y2."""
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise VilamError(f"--{option} {text}: expected x1,y1,x2,y2 in pixels, such as 10,20,110,90") from None
    if not (x1 < x2 and y1 < y2):
        raise VilamError(f"--{option} {text}: the box is empty: x1 must be below x2 and y1 below y2")
    return x1, y1, x2, y2


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """For a short command: imports make few circles, and looking for them takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as ctrl-C does, but once: what closes is not interrupted again."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; a VilamError is one line on stderr and exit status 1, anything else keeps its traceback.

    SIGTERM and a closed terminal end it as ctrl-C does: what is open, such as a run of MLflow, is closed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, _interrupt)
    try:
        app()
    except VilamError as error:
        print(f"vilam: {error}", file=sys.stderr)
        sys.exit(1)
    finally:
        gc.freeze()  # all ends with the process: no last look for garbage
