"""How texts and concepts are compared."""

from dataclasses import dataclass
from typing import Annotated, Literal

from components.shared.stage.errors import UserError
from components.shared.stage.interface import Location, check_fields


@dataclass(frozen=True, kw_only=True, slots=True)
class SimilaritySettings:
    """How texts and concepts are compared.

    Attributes:
        similarity: Whether texts and concepts are compared by their words (tf-idf) or by their
            sentence embeddings.
        embedding_model: A folder of sentence-transformers', local or s3://, for embedding; or none.
        naming: Whether a name in a text, such as mule deer, counts for the class that it is a kind
            of in WordNet; for tf-idf alone.
    """

    similarity: Literal["tf-idf", "embedding"] = "tf-idf"
    embedding_model: Annotated[str, Location(other="none")] = "none"
    naming: bool = True

    def __post_init__(self) -> None:
        """Refuse an embedding without a model, and what nothing uses.

        Raises:
            UserError: The settings do not go together.
        """
        check_fields(self)
        if self.similarity == "embedding" and self.embedding_model == "none":
            raise UserError(
                "similarity=embedding needs a model: set embedding_model to a folder in "
                "sentence-transformers' format, local or s3://"
            )
        if self.similarity == "tf-idf" and self.embedding_model != "none":
            raise UserError(
                f"embedding_model={self.embedding_model} is not used by similarity=tf-idf: "
                "set similarity=embedding, or embedding_model=none"
            )
