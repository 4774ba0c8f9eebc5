"""Where the evidence for a class lies: class activation maps, occlusion, attention, and how far to believe them."""

from napari_medssl.classify.explain.attention import attention_volume, exam_attention, slice_drops, slice_drops_steps
from napari_medssl.classify.explain.cam import activation_maps
from napari_medssl.classify.explain.explain import Explanation, explain, explain_steps
from napari_medssl.classify.explain.faithfulness import Faithfulness, faithfulness, faithfulness_steps
from napari_medssl.classify.explain.integrated import integrated_gradients
from napari_medssl.classify.explain.layers import default_layer, map_layers
from napari_medssl.classify.explain.occlusion import occlusion_map
from napari_medssl.classify.explain.sanity import Sanity, explain_sanity, explain_sanity_steps
from napari_medssl.classify.explain.settings import ExplainSettings
from napari_medssl.classify.explain.shown import Shown, as_bag, framed_slices, given_slices, resampled_box
from napari_medssl.classify.explain.slice_head import check_head_steps, explain_head_steps, head_network

__all__ = [
    "ExplainSettings",
    "Explanation",
    "Faithfulness",
    "Sanity",
    "Shown",
    "activation_maps",
    "as_bag",
    "attention_volume",
    "check_head_steps",
    "default_layer",
    "exam_attention",
    "explain",
    "explain_head_steps",
    "explain_sanity",
    "explain_sanity_steps",
    "explain_steps",
    "faithfulness",
    "faithfulness_steps",
    "framed_slices",
    "given_slices",
    "head_network",
    "integrated_gradients",
    "map_layers",
    "occlusion_map",
    "resampled_box",
    "slice_drops",
    "slice_drops_steps",
]
