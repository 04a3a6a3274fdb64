"""Installs a model of timm or open_clip as a backbone: fetch, build, export to ONNX, check against torch, write.

Imports torch, timm, open_clip and onnxruntime's quantisation when it is called. Knows nothing of projects.
"""

import logging
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from annotator.datasets.vocabulary import everyday_words
from annotator.errors import BackboneError
from annotator.models.backbones import installed
from annotator.models.backbones.backbone import open_session
from annotator.models.backbones.hub import SPACE_FACTOR, HubModel, Progress, check_space, fetch, safe_copy
from annotator.models.backbones.installed import InstalledModel, installed_path, write_installed
from annotator.models.backbones.text_tower import TextSettings, TextTokenizer
from annotator.models.backbones.towers import TextModel, Towers, build

if TYPE_CHECKING:
    import torch

MAX_DISAGREEMENT = 2e-4
"""Largest accepted difference between ONNX Runtime and torch, relative to the largest value."""
SAMPLE_TEXTS = (
    "a photo of a cat.", "Golden Retriever", "Z\u00fcrich", "\u72ac", "rock 'n' roll", "it's 3D, isn't it?",
    "caf\u00e9 & bar", "snake_case", "  two   spaces ", "A" * 300, "one two three four five six seven " * 30, "\u00e9",
    "100%", "50,000", "", "\u0441\u043e\u0431\u0430\u043a\u0430", "\u0643\u0644\u0628", "\u0e2b\u0e21\u0e32",
    "\u0915\u0941\u0924\u094d\u0924\u093e", "\uac1c", "\U0001f415 \U0001f1e8\U0001f1ed", "\uff23\uff21\uff26\uff25",
    "rock \u2019n\u2019 roll", "Zu\u0308rich", "\ufb01sh", "stra\u00dfe \u0130stanbul", "fish &amp; chips",
    "caf\u00c3\u00a9",
)  # fmt: skip
"""With the everyday words, texts on which the tokenizers must agree."""
NUM_TIMED = 16
"""Crops by which the speed is measured."""


def install(
    name: str, progress: Progress = lambda text: None, *, image_only: bool = False, endpoint: str | None = None
) -> InstalledModel:
    """Install a model, in place of an earlier installation only once the new one is complete and checked.

    Args:
        name: As `hub.fetch` takes it.
        progress: Called with a line of text for each step.
        image_only: Leave out a text tower.
        endpoint: Address of the hub; None is the environment's.

    Raises:
        BackboneError: The model cannot be fetched, is damaged, refused or not supported, ONNX Runtime and torch
            disagree, or the disk is full.
    """
    try:
        model = fetch(name, progress, endpoint)
        check_space(installed_path(), SPACE_FACTOR * model.num_bytes)
        with (
            tempfile.TemporaryDirectory(prefix="annotator-backbone-") as work,
            safe_copy(model, Path(work)) as folder,
        ):
            progress(f"Building {model.repo} in torch.")
            towers = build(model, folder, image_only=image_only)
            return _install(model, towers, folder, Path(work), progress)
    except OSError as error:
        raise BackboneError(f"The backbone {name} cannot be installed: {error.strerror or error}.") from error


def _install(model: HubModel, towers: Towers, folder: Path, work: Path, progress: Progress) -> InstalledModel:
    out = work / "out"
    out.mkdir()
    crops = example_crops(towers.architecture.image_size, NUM_TIMED)
    progress("Exporting the image tower to ONNX, and checking it against torch.")
    export(towers.module, crops[:2], "crops", "features", out / installed.IMAGE)
    disagreement = compare(towers.module, out / installed.IMAGE, "crops", crops[:3], model.repo)
    speeds = {"fp32": _speed(out / installed.IMAGE, crops)}
    if quantise(out / installed.IMAGE, out / installed.IMAGE_INT8):
        speeds["int8"] = _speed(out / installed.IMAGE_INT8, crops)
    if towers.class_weight.size:
        np.savez(out / installed.HEAD, weight=towers.class_weight, bias=towers.class_bias)
    text = None
    if towers.text is not None:
        progress("Exporting the text tower to ONNX, and checking it and its tokenizer.")
        text = _install_text(towers.text, folder, out)
        tokens = TextTokenizer((out / installed.TOKENIZER).read_text(encoding="utf-8"), text).tokens(SAMPLE_TEXTS[:5])
        export(towers.text.module, tokens[:2], "tokens", "embeddings", out / installed.TEXT)
        disagreement = max(
            disagreement, compare(towers.text.module, out / installed.TEXT, "tokens", tokens, model.repo)
        )
    progress(f"They differ by at most {disagreement:.1e} of the largest value.")
    about = {
        "architecture": asdict(towers.architecture),
        "repo": model.repo,
        "licence": model.licence,
        "commit": model.commit,
        "weights_sha256": model.weights_sha256,
        "num_bytes": model.num_bytes,
        "disagreement": disagreement,
        "text": None if text is None else asdict(text),
        "photos_per_second": speeds,
    }
    return write_installed(model.name, about, lambda target: _move(out, target))


def _move(source: Path, target: Path) -> None:
    for path in source.iterdir():
        with path.open("rb") as one, (target / path.name).open("wb") as other:
            while block := one.read(1 << 22):
                other.write(block)


def _install_text(text: TextModel, folder: Path, out: Path) -> TextSettings:
    """Write the tokenizer, check it against the library's, and return the settings."""
    if text.is_hub_tokenizer:
        definition = (folder / "tokenizer.json").read_text(encoding="utf-8")
        pad_id = int(text.tokenizer.tokenizer.pad_token_id or 0)
    else:
        definition, pad_id = clip_tokenizer(text.tokenizer), 0
    settings = TextSettings(text.context_length, text.clean, pad_id, text.logit_scale, text.logit_bias)
    texts = [*SAMPLE_TEXTS, *everyday_words()]
    found = TextTokenizer(definition, settings).tokens(texts)
    wanted = text.tokenizer(texts).numpy()
    if not np.array_equal(found, wanted):
        place = int(np.flatnonzero((found != wanted).any(axis=1))[0])
        raise BackboneError(
            f"The tokenizer of this model gives other tokens than its library, for instance for {texts[place][:40]!r}; "
            "install its image tower alone with --image-only."
        )
    (out / installed.TOKENIZER).write_text(definition, encoding="utf-8")
    return settings


def clip_tokenizer(tokenizer: Any) -> str:
    """Return CLIP's tokenizer, which is part of open_clip, as a `tokenizer.json`."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    start, end = "<start_of_text>", "<end_of_text>"
    bpe = models.BPE(
        vocab=dict(tokenizer.encoder), merges=list(tokenizer.bpe_ranks), end_of_word_suffix="</w>", unk_token=end
    )
    made = Tokenizer(bpe)
    pattern = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    ids = [(start, tokenizer.sot_token_id), (end, tokenizer.eot_token_id)]
    made.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}", special_tokens=ids)
    return str(made.to_str())


def example_crops(size: int, num: int) -> npt.NDArray[np.uint8]:
    """Return (N, S, S, 3) smooth colours with noise."""
    from PIL import Image

    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (num, 8, 8, 3), dtype=np.uint8)
    smooth = [
        np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC), np.int16) for one in small
    ]
    noisy = np.stack(smooth) + rng.integers(-20, 20, (num, size, size, 3))
    crops: npt.NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return crops


def export(module: "torch.nn.Module", example: npt.NDArray[Any], name: str, output: str, path: Path) -> None:
    """Export a module with one input to ONNX, with a batch of any size.

    Raises:
        BackboneError: torch cannot export it.
    """
    import torch

    try:
        program = torch.onnx.export(
            module, (torch.from_numpy(np.ascontiguousarray(example)),), input_names=[name], output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},), dynamo=True, optimize=True,
            verbose=False,
        )  # fmt: skip
    except Exception as error:  # the exporter raises many types
        raise BackboneError(f"torch cannot export this network to ONNX ({type(error).__name__}).") from error
    if program is None:
        raise BackboneError("torch exported nothing for this network.")
    path.write_bytes(program.model_proto.SerializeToString())


def compare(module: "torch.nn.Module", path: Path, name: str, values: npt.NDArray[Any], repo: str) -> float:
    """Return the largest difference between torch and ONNX Runtime, relative to the largest value.

    Raises:
        BackboneError: It is above `MAX_DISAGREEMENT`, or a value is not finite.
    """
    import torch

    session, worst = open_session(path.read_bytes()), 0.0
    for num in (1, len(values)):
        with torch.inference_mode():
            wanted = module(torch.from_numpy(np.ascontiguousarray(values[:num]))).numpy()
        found = session.run(None, {name: values[:num]})[0]
        worst = max(worst, float(np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1e-6)))
    if not worst <= MAX_DISAGREEMENT:
        raise BackboneError(
            f"ONNX Runtime and torch disagree on {repo} by {worst:.1e} of the largest value; at most "
            f"{MAX_DISAGREEMENT:.0e} is right."
        )
    return worst


def quantise(source: Path, target: Path) -> bool:
    """Write a network with weights of 8 bits in its matrix products; return False if it has none."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

    graph = onnx.load(source).graph
    if not any(node.op_type in ("MatMul", "Gemm") for node in graph.node):
        return False
    logging.getLogger().addFilter(_no_advice)
    try:
        quantize_dynamic(source, target, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8)
    finally:
        logging.getLogger().removeFilter(_no_advice)
    return True


def _no_advice(record: logging.LogRecord) -> bool:
    """Leave out onnxruntime's advice to run a step that brings nothing for matrix products."""
    return "pre-processing before quantization" not in record.getMessage()


def _speed(path: Path, crops: npt.NDArray[np.uint8], seconds: float = 0.5) -> float:
    """Return photos a second of a network alone."""
    session, num = open_session(path.read_bytes()), 0
    session.run(None, {"crops": crops[:8]})
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        session.run(None, {"crops": crops[:8]})
        num += len(crops[:8])
    return round(num / (time.monotonic() - began), 1)
