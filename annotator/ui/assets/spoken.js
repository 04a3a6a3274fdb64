// What an edit of the list changed, in a few words for a screen reader. Pure functions over drafts.

import { indexOfTag, tagKey } from "./draft.js";

/** "coffee kept, rank 3 of 3", "spoon moved, rank 2 of 3", "cat refused"; empty if nothing changed. */
export function changeText(before, after) {
  const added = after.kept.filter((tag) => indexOfTag(before.kept, tag) < 0);
  const removed = before.kept.filter((tag) => indexOfTag(after.kept, tag) < 0);
  const refused = after.dropped.filter((tag) => indexOfTag(before.dropped, tag) < 0);
  const isRefused = (tag) => indexOfTag(refused, tag) >= 0;
  const parts = [
    ...(added.length ? [`${added.join(", ")} kept, ${ranksOf(after.kept, added)}`] : []),
    ...removed.filter((tag) => !isRefused(tag)).map((tag) => `${tag} no longer kept`),
    ...refused.map((tag) => `${tag} refused for this photo`),
  ];
  if (!parts.length) {
    const moved = movedTag(before.kept, after.kept);
    if (moved) parts.push(`${moved} moved, ${ranksOf(after.kept, [moved])}`);
  }
  return parts.length ? `${parts.join("; ")}.` : "";
}

function ranksOf(kept, tags) {
  const ranks = tags.map((tag) => indexOfTag(kept, tag) + 1);
  return ranks.length > 1 ? `ranks ${ranks[0]} to ${ranks.at(-1)} of ${kept.length}` : `rank ${ranks[0]} of ${kept.length}`;
}

/** The tag whose removal makes both lists equal, if one tag was moved. */
function movedTag(before, after) {
  const rest = (tags, tag) => tags.map(tagKey).filter((key) => key !== tagKey(tag)).join("\n");
  const far = (tag) => Math.abs(indexOfTag(before, tag) - indexOfTag(after, tag));
  const movable = after.filter((tag) => rest(before, tag) === rest(after, tag) && far(tag));
  return movable.sort((one, other) => far(other) - far(one))[0] ?? null;
}
