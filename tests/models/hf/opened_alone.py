"""Opens exported models with transformers alone and asks them: a program that cannot import vilam.

python opened_alone.py FOLDER...

Each folder holds ``model``, an export; ``checkpoint``, what was trained; and asked.json, a list of an image's file, a
question as the model writes it, and the prompt around it (null: the chat template). The answers go to answered.json and
the first question's tensors to inputs.safetensors.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.models.smolvlm import processing_smolvlm
from transformers.utils import is_num2words_available, is_torchvision_available

sys.modules["vilam"] = None  # nothing can be imported from it


def images_only(name, settings):
    """The processor class of a model for videos as one may write it without torchvision: the third part is left out."""
    whole, more = getattr(transformers, name), [settings["image_seq_len"]] if "image_seq_len" in settings else []
    processing_smolvlm.num2words = processing_smolvlm.num2words or str

    class ImagesOnly(whole):
        video_processor = SimpleNamespace(num_frames=None, fps=None)

        def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
            super().__init__(image_processor, tokenizer, None, *more, chat_template=chat_template)

    return ImagesOnly


def open_processor(folder):
    """The processor of a folder's model, and the error of AutoProcessor if it needs a package that is missing."""
    try:
        return AutoProcessor.from_pretrained(folder / "model"), None
    except ImportError as error:
        try:
            AutoProcessor.from_pretrained(folder / "checkpoint")
        except ImportError as same:
            assert str(same) == str(error)
        else:
            raise
        settings = json.loads((folder / "model" / "processor_config.json").read_text())
        return images_only(settings["processor_class"], settings).from_pretrained(folder / "model"), str(error)


def ask(model, processor, image, question, prompt):
    """The tensors of a question and the text of the greedy answer."""
    if prompt is None:
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    else:
        text = prompt.format(question)
    inputs = processor(text=text, images=[image], return_tensors="pt")
    inputs.pop("labels", None)
    ids = model.generate(**inputs, max_new_tokens=64, do_sample=False)[0].tolist()
    before = inputs["input_ids"][0].tolist()
    answer = ids[len(before) :] if ids[: len(before)] == before else ids
    ends = model.generation_config.eos_token_id
    left_out = {*processor.tokenizer.all_special_ids, *(ends if isinstance(ends, list) else [ends])}
    return inputs, processor.tokenizer.decode([token for token in answer if token not in left_out]).strip()


transformers.logging.set_verbosity_error()
for folder in map(Path, sys.argv[1:]):
    model = AutoModelForImageTextToText.from_pretrained(folder / "model").eval()
    processor, error = open_processor(folder)
    asked = [(Image.open(folder / image), *rest) for image, *rest in json.loads((folder / "asked.json").read_text())]
    found = [ask(model, processor, *each) for each in asked]
    save_file({key: value.contiguous() for key, value in found[0][0].items()}, folder / "inputs.safetensors")
    about = {
        "answers": [answer for _, answer in found],
        "error": error,
        "torchvision": is_torchvision_available(),
        "num2words": is_num2words_available(),
    }
    (folder / "answered.json").write_text(json.dumps(about))
