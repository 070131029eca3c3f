"""The slots of documents in the search index, each of which has one document."""

from __future__ import annotations

from itertools import accumulate
from operator import sub

from curio_persistence.store.search_index import Document, SearchIndex

_FARTHEST = 16
"""The slots searched for free ones in one step, for each slot that is needed."""


def placed_at_free_slots(
    index: SearchIndex, documents: list[Document], drift: int
) -> tuple[list[Document], int]:
    """Return documents of one kind at free slots, and how much later these are at most.

    A record that is already indexed gets its slot again.
    """
    slots = index.slots(documents[0].kind, [each.record_id for each in documents])
    former = [
        each._replace(slot=slots[each.record_id])
        for each in documents
        if 0 <= slots.get(each.record_id, -(2**62)) - each.slot <= drift
    ]
    known = {each.record_id for each in former}
    new = sorted(each for each in documents if each.record_id not in known)
    free = _free(index, [each.slot for each in new])
    placed = [each._replace(slot=slot) for each, slot in zip(new, free, strict=True)]
    return [*former, *placed], max(map(sub, free, (each.slot for each in new)), default=0)


def _free(index: SearchIndex, slots: list[int]) -> list[int]:
    """Return a free slot for each of these sorted slots: itself, or a later one.

    The steps grow where many records share a moment, so that few queries find the end.
    """
    step = 1
    while True:
        slots = list(accumulate(slots, lambda before, wished: max(before + 1, wished)))
        taken = index.taken(slots) if slots else ()
        if not taken:
            return slots
        slots = [slot + step if slot in taken else slot for slot in slots]
        # Not further, or each batch would double the distance of the last one.
        step = min(2 * step, _FARTHEST * len(slots))
