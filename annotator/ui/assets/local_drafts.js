// Lists that the server does not have yet, stored in the browser so that a reload during an outage loses nothing.
// An entry exists only while the server has not confirmed the same list, so any entry is newer than its draft.
// Knows nothing of the DOM or of calls.

const PREFIX = "annotator/draft/";

export function createLocalDrafts(storage) {
  const name = (project, photo) => `${PREFIX}${project}/${photo.image_id}/${photo.image_url}`;
  return {
    keep(project, photo, { kept, dropped, revision }) {
      const text = JSON.stringify({ kept, dropped, revision });
      try {
        storage?.setItem(name(project, photo), text);
      } catch (error) {
        // Without storage, the server's draft is the only copy.
        console.warn("The browser keeps no copy of the list:", error);
      }
    },
    find(project, photo) {
      const text = storage?.getItem(name(project, photo));
      if (!text) return null;
      try {
        const entry = JSON.parse(text);
        const sound = Array.isArray(entry.kept) && Array.isArray(entry.dropped) && Number.isInteger(entry.revision);
        return sound ? entry : null;
      } catch {
        return null; // not written by this page
      }
    },
    forget(project, photo) {
      storage?.removeItem(name(project, photo));
    },
  };
}

/** The browser's storage, or null where it is switched off. */
export function browserStorage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
