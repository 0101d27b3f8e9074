"""`vilam predict` in a process of its own: what it imports, and that its answer is the same as with everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from PIL import Image

from vilam.inference.predictor import Predictor
from vilam.models.build import LoadedModel, save_model
from vilam.models.light import has_light_imports

HEAVY = {"deepspeed", "mlflow", "sqlalchemy", "pandas", "pyarrow", "matplotlib", "scipy", "sklearn", "accelerate"}
HEAVY |= {"peft", "dvc", "prefect", "pycocotools", "contourpy", "ruamel", "torch._dynamo", "torch.distributed.tensor"}
ASK = """
import sys
from vilam.cli import main
try:
    main()
finally:
    loaded = set(sys.modules)
    import scipy.optimize, torch._dynamo, torch.distributed.tensor  # nothing stays hidden
    assert torch._dynamo.disable and torch.distributed.is_available()
    print(*loaded, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model, and ``scene.png``."""
    folder = tmp_path_factory.mktemp("light")
    save_model(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {}), folder / "model")
    Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 50).convert("RGB").save(folder / "scene.png")
    return folder


def test_a_question_imports_what_it_needs_alone(folder):
    words = ["predict", "scene.png", "--model", "model", "--locate", "the circle", "--save", "answer.png"]
    done = subprocess.run([sys.executable, "-c", ASK, *words], cwd=folder, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "transformers" in loaded and not HEAVY & loaded
    answer = json.loads(done.stdout)
    expected = Predictor.from_pretrained(folder / "model").locate(Image.open(folder / "scene.png"), "the circle")
    assert answer["text"] == expected.text and answer["confidence"] == pytest.approx(expected.confidence, abs=1e-6)
    assert (folder / "answer.png").is_file()


@pytest.mark.parametrize(
    ("content", "is_light"),
    [
        ('{"model_type": "vilam", "lora": null}', True),
        ('{"model_type": "vilam", "lora": {"rank": 8}}', False),  # peft imports accelerate
        ('{"model_type": "llava", "lora": null}', False),
        ("[]", False),
        ("{", False),
        (None, False),
    ],
)
def test_models_that_may_need_what_is_left_out_import_everything(tmp_path, content, is_light):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert has_light_imports(tmp_path) is is_light
