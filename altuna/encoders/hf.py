"""Encode pictures, clips, sound or text with any Hugging Face model, by hub id or from a local folder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from altuna.data.readers import Reader
from altuna.data.readers.tokens import TokenReader
from altuna.encoders.base import HF_PREFIX, Encoder, OverTime, Transform
from altuna.encoders.frontends import IMAGENET, Pixels, Tokens, until_end, until_longest
from altuna.errors import UserError

# In models with several towers (CLIP, SigLIP, CLAP), the attributes of each type's tower, and of the
# projection from its pooled features to the common space.
TOWERS = {"image": "vision_model", "video": "vision_model", "text": "text_model", "audio": "audio_model"}
PROJECTIONS = {"image": "visual_projection", "text": "text_projection", "audio": "audio_projection"}


class Backbone(nn.Module):
    """Use a Hugging Face model as a network: from inputs of one type to pooled features [n, out_features].

    Args:
        kind: ``image``, ``video``, ``audio`` or ``text``.
        model: A model of ``AutoModel``.
        shape: Shape of an input, to find out the feature size.
        pooling: ``cls``, the first position; ``mean`` over all positions without padding; ``pooled``, the
            model's own pooling; ``projected``, followed by the projection of CLIP or CLAP.
        tuning: ``frozen``; ``tuned``, all weights; or ``lora``, low-rank updates of all linear layers (Hu et
            al., 2022, arXiv 2106.09685) by peft.
        rank: Rank of the low-rank updates.

    Example:
        >>> config = transformers.ViTConfig(hidden_size=12, num_hidden_layers=1, image_size=32)
        >>> vit = transformers.ViTModel(config)
        >>> Backbone("image", vit, (3, 32, 32), pooling="cls", tuning="frozen", rank=8).out_features
        12
    """

    def __init__(
        self, kind: str, model: Any, shape: tuple[int, ...], *, pooling: str, tuning: str, rank: int
    ) -> None:
        super().__init__()
        tower = getattr(model, TOWERS[kind], model)
        if getattr(tower.config, "is_encoder_decoder", False):
            tower = tower.get_encoder()
        self.kind, self.pooling, self.frozen = kind, pooling, tuning == "frozen"
        self.argument = "input_ids" if kind == "text" else tower.main_input_name
        self.projection: nn.Module | None = None
        if pooling == "projected":
            self.projection = getattr(model, PROJECTIONS.get(kind, ""), None)
            if self.projection is None:
                raise ValueError("it has no projection")
            self.projection.requires_grad_(tuning == "tuned")
        if tuning == "lora":
            tower = _lora(tower, rank)
        elif self.frozen:
            tower.requires_grad_(False)
        for name, parameter in tower.named_parameters():
            # The model's own pooling layer, which is not used.
            if ".pooler." in f".{name}" and pooling in ("mean", "cls"):
                parameter.requires_grad_(False)
        # Augmentations by NumPy's random numbers, which torch's seed does not control.
        for name, off in {"apply_spec_augment": False, "layerdrop": 0.0}.items():
            if hasattr(tower.config, name):
                setattr(tower.config, name, off)
        self.model = tower
        with torch.no_grad():
            example = torch.ones(1, *shape, dtype=torch.int64 if kind == "text" else torch.float32)
            self.out_features: int = self.eval()(example).shape[-1]
        self.train()

    def train(self, mode: bool = True) -> Backbone:
        """Set training mode; a frozen model stays in eval mode (no dropout)."""
        return super().train(mode and not self.frozen)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self.kind == "audio" and inputs.dim() == 2:
                return self._of_waves(inputs)
            if self.kind != "text":
                return self._pool(self.model(**{self.argument: inputs}))
            mask = inputs > 0
            longest = until_longest(mask)
            inputs, mask = inputs[:, :longest], mask[:, :longest]
            given = self.model(input_ids=(inputs - 1).clamp_min(0).long(), attention_mask=mask.long())
            return self._pool(given, mask)

    def _of_waves(self, waves: Tensor) -> Tensor:
        """Pool over the frames of the sound, without those of the padding."""
        mask = until_end(waves).long()
        takes_mask = getattr(self.model.config, "feat_extract_norm", "") == "layer"
        given = {"attention_mask": mask} if takes_mask else {}
        output = self.model(**{self.argument: waves}, **given)
        # Convolutions have reduced the samples to fewer frames; the first is always one of the sound.
        frames = output.last_hidden_state.shape[1]
        ends = (mask.sum(1, keepdim=True) * frames / waves.shape[1]).ceil().clamp_min(1)
        return self._pool(output, torch.arange(frames, device=waves.device) < ends)

    def _pool(self, output: Any, mask: Tensor | None = None) -> Tensor:
        if self.pooling in ("pooled", "projected"):
            pooled: Tensor | None = getattr(output, "pooler_output", None)
            if pooled is None:
                raise ValueError("it does not pool its features itself")
            pooled = pooled.flatten(1)
            return pooled if self.projection is None else self.projection(pooled)
        hidden: Tensor = output.last_hidden_state
        if hidden.dim() == 4:  # of a convolutional network
            return hidden.mean((2, 3))
        if self.pooling == "cls":
            return hidden[:, 0]
        if mask is None:
            return hidden.mean(1)
        weights = mask.to(hidden).unsqueeze(-1)
        return (hidden * weights).sum(1) / weights.sum(1)


def _lora(model: Any, rank: int) -> Any:
    try:
        import peft
    except ImportError:
        raise UserError("tuning 'lora' requires peft: pip install 'altuna[hf]'") from None
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", lora_dropout=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of peft on future renames in transformers
        return peft.get_peft_model(model, config)


class Waves(nn.Module):
    """Convert int16 waveforms [n, T] to floats, if asked with mean 0 and variance 1; the padding stays 0.

    Example:
        >>> waves = torch.tensor([[16384, -16384]], dtype=torch.int16)
        >>> Waves(normalise=False, shape=(2,))(waves).tolist()
        [[0.5, -0.5]]
    """

    small = False

    def __init__(self, normalise: bool, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.normalise, self.shape = normalise, shape

    def forward(self, wave: Tensor) -> Tensor:
        there = until_end(wave)
        x = wave.float() / 32768
        if not self.normalise:
            return x
        number = there.sum(1, keepdim=True).clamp_min(1)
        mean = x.sum(1, keepdim=True) / number
        variance = ((x - mean).square() * there).sum(1, keepdim=True) / number
        return (x - mean) * (variance + 1e-7).rsqrt() * there


class Extracted(nn.Module):
    """Convert int16 waveforms [n, T] with a Hugging Face feature extractor, by NumPy on the CPU.

    Example:
        >>> extractor = transformers.WhisperFeatureExtractor(chunk_length=1)
        >>> Extracted(extractor, (16_000,)).shape
        (80, 100)
    """

    small = False

    def __init__(self, extractor: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.extractor = extractor
        self.shape = tuple(self(torch.zeros(1, *shape, dtype=torch.int16)).shape[1:])

    def forward(self, wave: Tensor) -> Tensor:
        waves = [*(wave.cpu().numpy().astype(np.float32) / 32768)]
        given = self.extractor(waves, sampling_rate=self.extractor.sampling_rate, return_tensors="pt")
        inputs: Tensor = given[self.extractor.model_input_names[0]]
        return inputs.to(wave.device)


def reader_options(kind: str, name: str) -> tuple[str, dict[str, Any]]:
    """Return the name of the reader for a Hugging Face encoder of ``kind``, and options of the reader.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> transformers.ViTConfig(image_size=32).save_pretrained(folder)
        >>> reader_options("image", f"hf:{folder}")
        ('image', {'size': 32})
    """
    source = _source(name)
    if kind == "text":
        tokenizer = _loaded(source, transformers.AutoTokenizer)
        config = _loaded(source, transformers.AutoConfig)
        config = getattr(config, "text_config", config)
        most = getattr(config, "max_position_embeddings", None) or 512
        most -= (config.pad_token_id or 0) + 1 if config.model_type in _OFFSET else 0
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise UserError(f"{name}: its tokenizer is not one of the tokenizers library")
        return "tokens", {"tokenizer": tokenizer.backend_tokenizer.to_str(), "most": most}
    if kind == "audio":
        return kind, {"rate": _loaded(source, transformers.AutoFeatureExtractor).sampling_rate}
    config = _loaded(source, transformers.AutoConfig)
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", None) or _sides(_preprocessor(source)) or 224
    options = {"size": size if isinstance(size, int) else size[0]}
    if kind == "video" and hasattr(config, "num_frames"):
        options["frames"] = config.num_frames
    return kind, options


# Models whose position numbers start after that of the padding token.
_OFFSET = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer", "data2vec-text")


def build(
    kind: str,
    reader: Reader,
    name: str,
    transforms: Callable[[tuple[int, ...]], tuple[list[Transform], tuple[int, ...]]],
    lr: float | None,
    *,
    pooling: Literal["mean", "cls", "pooled", "projected"] = "mean",
    tuning: Literal["frozen", "tuned", "lora"] = "frozen",
    rank: int = 8,
    dropout: float = 0.5,
    saved: Mapping[str, Any] | None = None,
) -> Encoder:
    """Build an encoder around a Hugging Face model.

    Args:
        kind: Type of the modality.
        reader: Its reader.
        name: ``hf:`` and a hub id or a local folder.
        transforms: From the shape of a cell to the transforms, and the shape after them.
        lr: Peak learning rate of this encoder; that of the training if None.
        pooling: See ``Backbone``.
        tuning: See ``Backbone``.
        rank: See ``Backbone``.
        dropout: Dropout before the layer that is trained after a frozen model.
        saved: ``Encoder.saved`` of an earlier run, to build with random weights, without the source.

    Raises:
        UserError: No such model, or not one for this type.

    Example:
        >>> import tempfile
        >>> from altuna.data.readers import READERS
        >>> folder = tempfile.mkdtemp()
        >>> config = transformers.ViTConfig(hidden_size=12, num_hidden_layers=1, image_size=32)
        >>> transformers.ViTModel(config).save_pretrained(folder)
        >>> encoder = build("image", READERS["image"](32), f"hf:{folder}", lambda shape: ([], shape), None)
        >>> encoder(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).shape
        torch.Size([2, 12])
    """
    try:
        model, preprocessor = _model(_source(name), kind, saved)
        steps, shape = transforms(reader.shape)
        front_end = _front_end(kind, reader, shape, preprocessor)
        of_videos = hasattr(model.config, "num_frames")
        over_time = kind == "image_list" or (kind == "video" and not of_videos)
        network = Backbone(
            "image" if over_time else kind,
            model.float(),
            front_end.shape[1:] if over_time else front_end.shape,
            pooling=pooling,
            tuning=tuning,
            rank=rank,
        )
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        reason = " ".join(f"{error}".split())[:300]
        raise UserError(f"{name}: cannot be used as an encoder of {kind}: {reason}") from None
    tail = _tail(network.out_features, dropout) if tuning == "frozen" else None
    applied = OverTime(network, distinct=kind == "image_list") if over_time else network
    encoder = Encoder(front_end, applied, steps, tail=tail, lr=lr)
    config = json.loads(model.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)  # may be a local folder, which should not be published with the model
    encoder.depends = f"{pooling} {tuning}"
    encoder.saved = {"saved": {"config": config, "preprocessor": preprocessor}}
    return encoder


def _model(source: str, kind: str, saved: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """Return a model, with random weights if it was ``saved``, and the settings of its preprocessor."""
    if not saved:
        return _loaded(source, transformers.AutoModel), _preprocessor(source, kind)
    settings = dict(saved["config"])
    config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    model = transformers.AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    return model, saved["preprocessor"]


def _tail(size: int, dropout: float) -> nn.Sequential:
    tail = nn.Sequential(nn.LayerNorm(size), nn.Dropout(dropout), nn.Linear(size, size), nn.ReLU())
    tail.out_features = size  # type: ignore[assignment]
    return tail


def _front_end(kind: str, reader: Reader, shape: tuple[int, ...], preprocessor: Mapping[str, Any]) -> Any:
    if kind == "text":
        assert isinstance(reader, TokenReader)
        return Tokens(reader, shape)
    if kind == "audio":
        extractor = getattr(transformers, preprocessor["feature_extractor_type"])
        if not issubclass(extractor, transformers.FeatureExtractionMixin):
            raise ValueError(f"no feature extractor {preprocessor['feature_extractor_type']}")
        made = extractor.from_dict(dict(preprocessor))
        if isinstance(made, transformers.Wav2Vec2FeatureExtractor):
            return Waves(made.do_normalize, shape)
        return Extracted(made, shape)
    mean, std = (preprocessor.get(f"image_{part}") for part in ("mean", "std"))
    if preprocessor.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Pixels(reader, shape, mean=mean or IMAGENET[0], std=std or IMAGENET[1])


def _preprocessor(source: str, kind: str = "image") -> dict[str, Any]:
    """Return the settings of a model's preprocessor; none for text, for which the reader does it."""
    if kind == "text":
        return {}
    if kind == "audio":
        settings: dict[str, Any] = json.loads(
            _loaded(source, transformers.AutoFeatureExtractor).to_json_string()
        )
        return settings
    try:
        found: dict[str, Any] = transformers.ImageProcessingMixin.get_image_processor_dict(source)[0]
    except (OSError, ValueError):
        return {}
    return {
        name: found[name]
        for name in ("do_normalize", "image_mean", "image_std", "size", "crop_size")
        if name in found
    }


def _sides(preprocessor: Mapping[str, Any]) -> int | None:
    size = preprocessor.get("crop_size") or preprocessor.get("size")
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge")
    return size


def _source(name: str) -> str:
    source = name.removeprefix(HF_PREFIX)
    if not source:
        raise UserError(f"{name}: write hf:FOLDER or hf:HUB_ID")
    return str(Path(source).absolute()) if Path(source).is_dir() else source


def _loaded(source: str, kind: Any) -> Any:
    log = transformers.utils.logging
    bars = log.is_progress_bar_enabled()
    log.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return kind.from_pretrained(source)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        what = "" if Path(source).is_dir() else " (neither a local folder nor found on the hub)"
        raise UserError(f"hf:{source}: cannot be loaded{what}: {reason}") from None
    finally:
        if bars:
            log.enable_progress_bar()  # type: ignore[no-untyped-call]
