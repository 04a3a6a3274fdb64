"""Small randomly initialised models, saved as the hub has them: description, safetensors, tokenizer."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import save_file
from timm.models import save_for_hf

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MEAN, STD = [0.4815, 0.4578, 0.4082], [0.2686, 0.2613, 0.2758]
CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 48, "heads": 2, "layers": 2},
}
SIGLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 24,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 48, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {
        "context_length": 12, "vocab_size": 400, "width": 24, "heads": 2, "layers": 1, "no_causal_mask": True,
        "pool_type": "last", "proj_type": "none", "hf_tokenizer_name": "org/tiny-siglip",
        "tokenizer_kwargs": {"clean": "canonicalize"},
    },
}  # fmt: skip


def write_timm(folder: Path, seed: int = 0) -> torch.nn.Module:
    """A vision transformer with a classifier of 1,000 classes."""
    torch.manual_seed(seed)
    arguments = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3}
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=1000, **arguments)
    folder.mkdir(parents=True)
    save_for_hf(network, folder, model_config={"num_classes": 1000}, model_args=arguments, safe_serialization=True)
    return network.eval()


def write_clip(folder: Path, seed: int = 0, config: dict[str, Any] = CLIP_CONFIG) -> torch.nn.Module:
    """CLIP, whose tokenizer is part of open_clip."""
    torch.manual_seed(seed)
    network = CLIP(**config)
    _write_open_clip(folder, network, config, {"resize_mode": "shortest"})
    return network.eval()


def write_siglip(folder: Path, seed: int = 0) -> torch.nn.Module:
    """SigLIP: a bias before a sigmoid, photos squashed, a tokenizer of its own."""
    torch.manual_seed(seed)
    network = CustomTextCLIP(**{name: value for name, value in SIGLIP_CONFIG.items() if name != "custom_text"})
    _write_open_clip(folder, network, SIGLIP_CONFIG, {"resize_mode": "squash"})
    write_tokenizer(folder)
    return network.eval()


def _write_open_clip(folder: Path, network: Any, config: dict[str, Any], resize: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    save_file(
        {name: value.contiguous() for name, value in network.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    about = {"model_cfg": config, "preprocess_cfg": {"mean": MEAN, "std": STD, "interpolation": "bicubic", **resize}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of pieces of words, trained on a few of them, as transformers saves it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(["a photo of a cat", "a dog on the beach", "two people at a table"], trainer)
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    made.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>",
        "model_max_length": 64,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(about))


def as_hub_cache(files: Path, cache: Path, repo: str) -> Path:
    """Copy a model's files into the layout of the hub's cache: blobs, refs and snapshots of links."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    for part in (snapshot, folder / "blobs", folder / "refs"):
        part.mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    for path in files.iterdir():
        content = path.read_bytes()
        large = path.suffix == ".safetensors"
        blob = hashlib.sha256(content).hexdigest() if large else hashlib.sha1(content).hexdigest()
        shutil.copyfile(path, folder / "blobs" / blob)
        (snapshot / path.name).symlink_to(Path("..") / ".." / "blobs" / blob)
    return folder


def clip_tokens(texts: list[str]) -> Any:
    """open_clip's own tokens of texts for the tiny CLIP."""
    return open_clip.SimpleTokenizer(context_length=16)(texts)
