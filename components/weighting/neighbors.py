"""The nearest concepts of a concept in WordNet's hierarchy.

Nearness is Wu and Palmer's (1994): for two concepts a and b under a common hypernym s,

    2 · depth(s) / (2 · depth(s) + edges from a to s + edges from b to s),

depth counting the nodes of the longest path from s to a root; the hypernym that gives most is
taken. NLTK's `wup_similarity` gives the same where concepts have a single path to the root. Where
they have several, it takes the s that is deepest by the *shortest* path to a root, which need not
be the nearest: as dogs are also domestic animals, "hound" has depth 10 by that way and "canine"
12, so that NLTK puts a beagle nearer to a wolf (0.84) than to a bloodhound (0.76; here 0.94).

Siblings are all equally near: among them, similar documents win, then the smaller wnid.
"""

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.stage.errors import UserError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The classes' hypernyms, direct and indirect, each concept being its own as well.

    Attributes:
        depths: (R,) int64 nodes on the longest path from each of the R concepts to a root.
        above: For each of the C classes, its hypernyms and the edges up to them.
        below: For each of the R concepts, the classes below it and the edges down to them.
    """

    depths: NDArray[np.int64]
    above: list[dict[int, int]]
    below: list[tuple[NDArray[np.int64], NDArray[np.int64]]]

    @classmethod
    def of(cls, concepts: pa.Table) -> Self:
        """Read the taxonomy of a table of concepts.

        Raises:
            UserError: A concept is its own hypernym.
        """
        rows = {wnid: row for row, wnid in enumerate(concepts["wnid"].to_pylist())}
        parents = [[rows[wnid] for wnid in wnids] for wnids in concepts["hypernyms"].to_pylist()]
        depths = np.zeros(len(parents), np.int64)
        try:
            for row in TopologicalSorter(dict(enumerate(parents))).static_order():
                depths[row] = 1 + max((depths[parent] for parent in parents[row]), default=0)
        except CycleError as error:
            names = " → ".join(concepts["wnid"][row].as_py() for row in error.args[1])
            raise UserError(f"concepts that are their own hypernyms: {names}") from None
        num_classes = len(concepts) - concepts["label"].null_count
        above = [_edges_up(row, parents) for row in range(num_classes)]
        members: list[dict[int, int]] = [{} for _ in parents]
        for row, edges in enumerate(above):
            for concept, count in edges.items():
                members[concept][row] = count
        below = [
            (np.fromiter(under, np.int64, len(under)), np.fromiter(under.values(), np.int64))
            for under in members
        ]
        return cls(depths, above, below)

    def similarities(self, label: int) -> NDArray[np.float64]:
        """Return the similarity (C,) of a class to every class; 0 without a common hypernym."""
        best = np.zeros(len(self.above))
        for concept, edges in self.above[label].items():
            classes, edges_down = self.below[concept]
            common = 2 * self.depths[concept]
            best[classes] = np.maximum(best[classes], common / (common + edges + edges_down))
        return best


def _edges_up(row: int, parents: list[list[int]]) -> dict[int, int]:
    """Return {concept: edges on the shortest path up to it}, for a concept's hypernyms."""
    found: dict[int, int] = {}
    frontier, edges = {row}, 0
    while frontier:
        found |= dict.fromkeys(sorted(frontier), edges)
        frontier = {parent for concept in frontier for parent in parents[concept]} - found.keys()
        edges += 1
    return found


def nearest(concepts: pa.Table, vectors: "csr_matrix", count: int) -> list[NDArray[np.int64]]:
    """Return the up to `count` classes nearest to each class, nearest first.

    Args:
        concepts: The classes and their ancestors.
        vectors: (C, V) the classes' documents.
        count: How many.
    """
    taxonomy = Taxonomy.of(concepts)
    wnids = concepts["wnid"].to_numpy(zero_copy_only=False)[: len(taxonomy.above)]
    wnid_order = np.argsort(np.argsort(wnids))
    found = []
    for label in range(len(taxonomy.above)):
        similarities = taxonomy.similarities(label)
        similarities[label] = 0
        near = np.flatnonzero(similarities)
        if len(near) > count > 0:
            least = np.partition(similarities[near], -count)[-count]
            near = near[similarities[near] >= least]
        resemblance = (vectors[near] @ vectors[label].T).toarray().ravel()
        order = np.lexsort((wnid_order[near], -resemblance, -similarities[near]))
        found.append(near[order[:count]])
    return found
