"""Settings of small models of transformers, for the zoo: every kind of operator, few weights."""

from __future__ import annotations

from typing import Any

_HEADS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_BODY = {**_HEADS, "intermediate_size": 24}
_TEXT = {**_BODY, "vocab_size": 40, "max_position_embeddings": 34}
_GROUPED = {**_TEXT, "num_attention_heads": 4, "num_key_value_heads": 2}
_GEMMA = {**_TEXT, "num_key_value_heads": 1, "head_dim": 8}
_NARROW = {**_TEXT, "embedding_size": 8}
_RELATIVE = {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
_GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40, "n_positions": 32}
_VISION = {**_BODY, "image_size": 16, "patch_size": 8}
_STAGES = {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]}
_ENDS = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1}
_BOTH = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "vocab_size": 40,
}
_SPEECH = {
    **_BODY,
    "conv_dim": [8] * 7,
    "num_conv_pos_embedding_groups": 2,
    "num_conv_pos_embeddings": 4,
    "vocab_size": 12,
}

#: Model type to arguments of its configuration.
SMALL: dict[str, dict[str, Any]] = {
    "albert": _NARROW,
    "bart": {**_BOTH, "max_position_embeddings": 32},
    "beit": {**_VISION, "use_relative_position_bias": True},
    "bert": _TEXT,
    "blip": {
        "text_config": {**_TEXT, **_ENDS, "encoder_hidden_size": 16, "sep_token_id": 3},
        "vision_config": _VISION,
        "projection_dim": 8,
    },
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40},
    "clip": {
        "text_config": {**_TEXT, **_ENDS},
        "vision_config": _VISION,
        "projection_dim": 8,
    },
    "convnext": {**_STAGES, "image_size": 32},
    "convnextv2": {**_STAGES, "image_size": 32},
    "deberta": _RELATIVE,
    "deberta-v2": _RELATIVE,
    "deit": _VISION,
    "dinov2": {**_HEADS, "image_size": 28, "patch_size": 14, "mlp_ratio": 2},
    "distilbert": {
        "dim": 16,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 24,
        "vocab_size": 40,
        "max_position_embeddings": 32,
    },
    "electra": _NARROW,
    "falcon": {**_HEADS, "vocab_size": 40},
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gpt2": _GPT,
    "gpt_neo": {
        "hidden_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "vocab_size": 40,
        "attention_types": [[["global", "local"], 1]],
        "max_position_embeddings": 32,
    },
    "gpt_neox": _TEXT,
    "gptj": {**_GPT, "rotary_dim": 4},
    "hubert": _SPEECH,
    "llama": _GROUPED,
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 40},
    "mbart": {**_BOTH, "max_position_embeddings": 32},
    "mistral": {**_GROUPED, "sliding_window": 8},
    "mixtral": {**_TEXT, "num_key_value_heads": 1, "num_local_experts": 4},
    "mobilevit": {
        "hidden_sizes": [16, 20, 24],
        "neck_hidden_sizes": [8, 8, 12, 12, 16, 16, 32],
        "image_size": 64,
        "num_attention_heads": 2,
    },
    "mpt": {
        "d_model": 16,
        "n_layers": 2,
        "n_heads": 2,
        "expansion_ratio": 2,
        "vocab_size": 40,
        "max_seq_len": 32,
    },
    "opt": {
        **_HEADS,
        "ffn_dim": 24,
        "vocab_size": 40,
        "max_position_embeddings": 32,
        "word_embed_proj_dim": 16,
    },
    "pegasus": {**_BOTH, "max_position_embeddings": 32},
    "phi": _TEXT,
    "phi3": {**_TEXT, "num_key_value_heads": 2, "pad_token_id": 0},
    "qwen2": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 4},
    "resnet": {**_STAGES, "embedding_size": 8},
    "roberta": _TEXT,
    "segformer": {**_STAGES, "num_attention_heads": [1, 2, 2, 4], "decoder_hidden_size": 16},
    "siglip": {
        "text_config": {**_TEXT, **_ENDS, "projection_size": 16},
        "vision_config": _VISION,
    },
    "swin": {
        "embed_dim": 8,
        "depths": [2, 2],
        "num_heads": [2, 4],
        "window_size": 4,
        "image_size": 32,
        "patch_size": 2,
    },
    "t5": {
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 24,
        "num_layers": 2,
        "num_heads": 2,
        "vocab_size": 40,
    },
    "vit": _VISION,
    "wav2vec2": _SPEECH,
    "whisper": {
        **_BOTH,
        **_ENDS,
        "num_mel_bins": 8,
        "decoder_start_token_id": 2,
        "max_source_positions": 20,
        "max_target_positions": 20,
    },
    "xlm-roberta": _TEXT,
}
