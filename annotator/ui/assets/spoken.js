// What an edit of the list changed, in a few words for a screen reader. Pure functions over drafts.

import { indexOfTag, tagKey } from "./draft.js";
import { formatList, formatNumber } from "./formats.js";
import { phrase } from "./texts.js";

/** "coffee kept, rank 3 of 3", "spoon moved, rank 2 of 3", "cat refused"; empty if nothing changed. */
export function changeText(before, after) {
  const added = after.kept.filter((tag) => indexOfTag(before.kept, tag) < 0);
  const removed = before.kept.filter((tag) => indexOfTag(after.kept, tag) < 0);
  const refused = after.dropped.filter((tag) => indexOfTag(before.dropped, tag) < 0);
  const isRefused = (tag) => indexOfTag(refused, tag) >= 0;
  const parts = [
    ...(added.length ? [keptText(after.kept, added)] : []),
    ...removed.filter((tag) => !isRefused(tag)).map((tag) => phrase("spoken.unkept", { tag })),
    ...refused.map((tag) => phrase("spoken.refused", { tag })),
  ];
  if (!parts.length) {
    const moved = movedTag(before.kept, after.kept);
    if (moved) parts.push(phrase("spoken.moved", { tag: moved, ...rankOf(after.kept, moved) }));
  }
  return parts.length ? phrase("common.sentence", { parts: parts.join("; ") }) : "";
}

const rankOf = (kept, tag) => ({ rank: formatNumber(indexOfTag(kept, tag) + 1), all: formatNumber(kept.length) });

function keptText(kept, added) {
  const { rank, all } = rankOf(kept, added[0]);
  if (added.length === 1) return phrase("spoken.kept", { tag: added[0], rank, all });
  return phrase("spoken.kept_several", { tags: formatList(added), first: rank, last: rankOf(kept, added.at(-1)).rank, all });
}

/** The tag whose removal makes both lists equal, if one tag was moved. */
function movedTag(before, after) {
  const rest = (tags, tag) => tags.map(tagKey).filter((key) => key !== tagKey(tag)).join("\n");
  const far = (tag) => Math.abs(indexOfTag(before, tag) - indexOfTag(after, tag));
  const movable = after.filter((tag) => rest(before, tag) === rest(after, tag) && far(tag));
  return movable.sort((one, other) => far(other) - far(one))[0] ?? null;
}
