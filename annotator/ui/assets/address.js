// Where this server's page is: "/", or the prefix under which a reverse proxy offers it. Knows nothing of the page.

/** The path of the page; it begins and ends with a slash. */
export const ROOT = new URL("../", import.meta.url).pathname;
