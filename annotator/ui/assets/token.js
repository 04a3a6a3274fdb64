// Adds the header X-Annotator-Token to every same-origin call of the page, Gradio's own included.
// Runs as a plain script before anything else. Knows nothing of the page.
(() => {
  const plainFetch = window.fetch.bind(window);
  const name = `annotator_token${location.port && `_${location.port}`}=`;
  const token = () => document.cookie.split("; ").find((part) => part.startsWith(name))?.slice(name.length);
  window.fetch = (resource, options = {}) => {
    const url = new URL(resource instanceof Request ? resource.url : resource, document.baseURI);
    const value = token();
    if (!value || url.origin !== window.location.origin) return plainFetch(resource, options);
    const headers = new Headers(options.headers ?? (resource instanceof Request ? resource.headers : undefined));
    headers.set("X-Annotator-Token", decodeURIComponent(value));
    return plainFetch(resource, { ...options, headers });
  };
})();
