// Names that people gave: tags, files, other people. They keep their own script and direction, and are not read aloud as
// words of the page's language. Knows nothing of what they name.

import { make } from "./elements.js";
import { phrase } from "./texts.js";

/** A name as an element that is set off from the text around it. */
export const own = (name) => make("bdi", { lang: "" }, name);

/** Tags in one line, as elements; "no tags" where there are none. */
export function tagNodes(tags) {
  if (!tags.length) return [phrase("common.no_tags")];
  return tags.flatMap((tag, index) => [...(index ? [phrase("list.separator")] : []), own(tag)]);
}
