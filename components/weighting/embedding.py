"""Similarity by meaning: the cosine of a text's and a concept's sentence embeddings.

torch and sentence-transformers are imported by what needs them: the image `text` has neither.

Legend: B images of a batch, C classes, K candidates of a label, D values of an embedding.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.stage.boundary import is_transient
from components.shared.stage.errors import UserError
from components.shared.stage.parallel import cores
from components.shared.storage import filesystem, formats
from components.weighting.candidates import Candidates, Pairs
from components.weighting.documents import concept_texts
from components.weighting.terms import readable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

logger = logging.getLogger(__name__)
_TEXTS_AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class EmbeddingSimilarity:
    """The embeddings of the classes, and the model that embeds texts.

    Attributes:
        model: Makes an embedding of a text.
        concepts: (C, D) the classes' documents, each of norm 1.
        candidates: Which concepts a label makes possible.
        most: Concepts outside WordNet given of a text, besides its label; of equal ones all.
    """

    model: "SentenceTransformer"
    concepts: "Tensor"
    candidates: Candidates
    most: int

    @classmethod
    def of(
        cls, model: "SentenceTransformer", concepts: pa.Table, candidates: Candidates, most: int
    ) -> Self:
        """Embed the classes among the concepts."""
        documents = concept_texts(concepts)[: len(candidates.classes)]
        return cls(model, _embedded(model, documents), candidates, most)

    def similarities(self, texts: Sequence[str], labels: NDArray[np.int64]) -> Pairs:
        """Compare the texts of B images with the candidates of their given labels (B,)."""
        cleaned = [readable(text) for text in texts]
        says = np.array([text != "" for text in cleaned], bool)
        outside = self.candidates.outside[labels]
        near, anywhere = np.flatnonzero(says & ~outside), np.flatnonzero(says & outside)
        said = [cleaned[image] for image in (*near, *anywhere)]
        texts_BD = _embedded(self.model, said) if said else self.concepts[:0]
        parts = [
            (near, self._near(texts_BD[: len(near)], labels[near])),
            (anywhere, self._anywhere(texts_BD[len(near) :], labels[anywhere])),
        ]
        return Pairs(
            np.concatenate([images[part.images] for images, part in parts]),
            np.concatenate([part.classes for _, part in parts]),
            np.concatenate([part.cosines for _, part in parts]),
        )

    def _near(self, texts_BD: "Tensor", labels: NDArray[np.int64]) -> Pairs:
        """Compare with the candidates only, a column of them at a time."""
        import torch

        classes_BK = torch.from_numpy(self.candidates.classes[labels]).to(texts_BD.device)
        columns = [(texts_BD * self.concepts[each]).sum(dim=1) for each in classes_BK.T]
        cosines_BK = torch.stack(columns, dim=1)
        images, positions = torch.where((classes_BK >= 0) & (cosines_BK > 0))
        return _pairs(images, classes_BK[images, positions], cosines_BK[images, positions])

    def _anywhere(self, texts_BD: "Tensor", labels: NDArray[np.int64]) -> Pairs:
        """Compare with all classes; most of them are a little similar to any text."""
        import torch

        given_B = torch.from_numpy(labels).to(texts_BD.device)
        cosines_BC = texts_BD @ self.concepts.T
        number = min(self.most, cosines_BC.shape[1])
        kept_BC = cosines_BC >= cosines_BC.topk(number, dim=1).values[:, -1:]
        kept_BC.scatter_(1, given_B[:, None], True)
        images, classes = torch.where(kept_BC & (cosines_BC > 0))
        return _pairs(images, classes, cosines_BC[images, classes])


def load(embedding_model: str) -> "SentenceTransformer":
    """Load a model from its folder, local or `s3://`; no network, no pickles, no code from there.

    Raises:
        UserError: There is no such folder, it holds something else or unsafe weights, or
            sentence-transformers is not installed.
    """
    try:
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError(
            f"similarity=embedding: {error}: run `pip install '.[embedding]'`, or on a cluster set "
            "WEBLY_IMAGE_WEIGHTING to an image of the Dockerfile's target `embedding`"
        ) from None
    if not filesystem.is_s3(embedding_model) and not Path(embedding_model).is_dir():
        raise UserError(
            f"embedding_model={embedding_model}: no such folder; models are not downloaded here: "
            "save one on a machine with a network, by SentenceTransformer(NAME).save(FOLDER), and "
            "give its folder or s3:// prefix"
        )
    with filesystem.local_folder(embedding_model) as folder:
        _check(folder, embedding_model)
        try:
            model = SentenceTransformer(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                # Whatever it was saved in: half precision is only chosen where it is faster.
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
        except (ImportError, OSError, SafetensorError, ValueError) as error:
            if is_transient(error):
                raise
            said = formats.in_a_line(error)
            raise UserError(f"embedding_model={embedding_model}: {said}") from None
    torch.set_num_threads(min(torch.get_num_threads(), cores()))
    logger.info(
        "%s on %s: %s values, texts of up to %s tokens",
        embedding_model,
        model.device,
        model.get_embedding_dimension(),
        model.max_seq_length,
    )
    return model


def _check(folder: Path, embedding_model: str) -> None:
    if not (folder / "modules.json").is_file():
        raise UserError(
            f"embedding_model={embedding_model}: has no modules.json, so it is not a folder of "
            "sentence-transformers; make one with SentenceTransformer(NAME).save(FOLDER)"
        )
    for pickled in folder.rglob("pytorch_model*.bin"):
        safe = ("model.safetensors", "model.safetensors.index.json")
        if not any((pickled.parent / name).is_file() for name in safe):
            raise UserError(
                f"embedding_model={embedding_model}: {pickled.relative_to(folder)} is a pickle, "
                "which may hold code, and there is no model.safetensors beside it; if you trust "
                "it, save it again by SentenceTransformer(FOLDER).save(OTHER_FOLDER)"
            )


def _embedded(model: "SentenceTransformer", texts: list[str]) -> "Tensor":
    """Return embeddings (B, D) of norm 1 on the model's device, in fp32; computed in bf16 there."""
    import torch
    import torch.nn.functional as F

    on_gpu = model.device.type == "cuda"
    has_bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=has_bf16):
        embeddings_BD = model.encode(
            texts, batch_size=_TEXTS_AT_ONCE, convert_to_tensor=True, show_progress_bar=False
        )
    return F.normalize(embeddings_BD.float())


def _pairs(images: "Tensor", classes: "Tensor", cosines: "Tensor") -> Pairs:
    return Pairs(*(each.cpu().numpy() for each in (images, classes, cosines)))
