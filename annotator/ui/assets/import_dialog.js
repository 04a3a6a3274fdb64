// The import: files and their format, what the lists become, the first five and what is left out, then one change of all
// photos with one undo. Knows nothing of any one format.

import { ROOT } from "./address.js";
import { make } from "./elements.js";
import { formatNumber } from "./formats.js";
import { problemText } from "./problems.js";
import { phrase, plural } from "./texts.js";
import { createOptions, createProgress, ended, field, previewOf, select, submitsOnEnter } from "./transfers.js";

const KINDS = {
  accepted: phrase("import.accepted"),
  draft: phrase("import.draft"),
  proposal: phrase("import.proposal"),
};

/** isHere: the person is at the server's machine; changed() is called when lists have changed. */
export function showImport(dialogs, { call, isHere, changed }) {
  const format = select("import-format", [], chooseFormat);
  const options = createOptions("import-options", restart);
  const files = make("input", { id: "import-files", type: "file", multiple: true, onchange: restart });
  const path = make("input", { id: "import-path", type: "text", maxlength: "4000", autocomplete: "off", spellcheck: "false", oninput: restart });
  const kinds = Object.entries(KINDS).map(([kind, label]) => make("label", {}, make("input", { type: "radio", name: "import-kind", value: kind, checked: kind === "accepted", onchange: restart }), ` ${label}`));
  const replaces = make("input", { id: "import-replaces", type: "checkbox", onchange: restart });
  const leavesOut = make("input", { id: "import-leaves-out", type: "checkbox", onchange: restart });
  const note = make("p", { id: "import-note", role: "status" }, phrase("import.note"));
  const trouble = make("p", { class: "review-trouble", role: "alert" });
  const shown = make("div", { id: "import-preview", class: "transfer-preview" });
  const progress = createProgress("import", cancel);
  const go = make("button", { type: "submit", class: "strong", id: "import-go" }, phrase("import.read"));
  const undo = make("button", { type: "button", id: "import-undo", hidden: true, onclick: () => takeBack() }, phrase("import.undo"));
  const form = make(
    "form",
    { class: "transfer", onsubmit: (event) => (event.preventDefault(), planned ? carryOut() : read()) },
    field(phrase("transfer.format"), format),
    options.element,
    field(phrase("import.files"), files),
    isHere && field(phrase("import.path"), path),
    make("fieldset", { class: "transfer-kinds" }, make("legend", {}, phrase("import.become")), ...kinds),
    make("label", { class: "setting" }, replaces, " ", phrase("import.replaces")),
    make("label", { class: "setting" }, leavesOut, " ", phrase("import.leaves_out")),
    note,
    trouble,
    progress.element,
    shown,
    make("div", { class: "dialog-buttons" }, undo, go),
  );
  let formats = [];
  let running = null; // the transfer while files are sent or the server works
  let planned = null; // the transfer whose plan is shown
  let isOpen = true;
  let change_id = null;

  function chooseFormat() {
    options.show(formats.find(({ name }) => name === format.value));
    restart();
  }

  /** Something was chosen anew: what was read no longer counts. */
  function restart() {
    planned = null;
    go.textContent = phrase("import.read");
    go.hidden = false;
    undo.hidden = true;
    trouble.textContent = "";
    shown.replaceChildren();
  }

  async function work(run) {
    if (running) return;
    const hadFocus = document.activeElement === go; // a disabled button loses it
    go.disabled = true;
    trouble.textContent = "";
    note.textContent = "";
    running = {};
    try {
      await run();
    } catch (error) {
      if (error.kind === undefined) throw error;
      trouble.textContent = error.message;
    } finally {
      running = null;
      go.disabled = false;
      progress.hide();
      if (hadFocus && isOpen && !go.hidden) go.focus();
    }
  }

  const read = () => work(async () => {
    restart();
    running = await call("begin_import");
    const { transfer_id } = running;
    const server = isHere ? path.value.trim() : "";
    if (!server && !(await send(transfer_id))) return;
    const payload = { transfer_id, path: server, format: format.value, options: options.values(), kind: form.querySelector("[name=import-kind]:checked").value, replaces: replaces.checked, leaves_out: leavesOut.checked };
    const answer = await ended(call, await call("plan_import", payload), (now) => progress.show(now, "progress.reading"), () => isOpen);
    if (answer.state === "ready") show(answer);
    else if (answer.state === "failed") trouble.textContent = answer.problem;
    else note.textContent = phrase("import.cancelled");
  });

  function show(answer) {
    shown.replaceChildren(...previewOf(answer));
    note.textContent = answer.num_planned ? plural("import.preview", answer.num_planned, { first: formatNumber(answer.rows.length) }) : phrase("import.no_photo");
    if (!answer.num_planned) return;
    planned = answer;
    go.textContent = plural("import.go", answer.num_planned);
  }

  /** Send the chosen files one after the other; return whether all arrived. */
  async function send(transfer_id) {
    const chosen = [...files.files];
    for (const [index, file] of chosen.entries()) {
      if (!isOpen || running.isCancelled) return false;
      progress.show({ num_done: index + 1, num_photos: chosen.length }, "progress.sending");
      const name = file.webkitRelativePath || file.name;
      const problem = await post(`${ROOT}api/v1/uploads?${new URLSearchParams({ transfer_id, name })}`, file);
      if (problem) {
        trouble.textContent = phrase("import.file_problem", { name: file.name, problem });
        return false;
      }
    }
    return true;
  }

  const carryOut = () => work(async () => {
    const { transfer_id } = planned;
    running = await call("carry_out_import", { transfer_id });
    const answer = await ended(call, running, (now) => progress.show(now, "progress.importing", false), () => isOpen);
    if (answer.state !== "done") {
      restart();
      trouble.textContent = answer.problem;
      return;
    }
    planned = null;
    change_id = answer.change_id;
    note.textContent = answer.num_left_out ? plural("import.done_some", answer.num_planned, { left_out: formatNumber(answer.num_left_out) }) : plural("import.done", answer.num_planned);
    shown.replaceChildren(...previewOf({ ...answer, rows: [] }));
    go.hidden = true;
    undo.hidden = false;
    undo.focus();
    changed();
  });

  const takeBack = () => work(async () => {
    const { num_undone, num_kept } = await call("undo_change", { change_id });
    restart();
    note.textContent = num_kept ? plural("import.undone_some", num_undone, { kept: formatNumber(num_kept) }) : plural("import.undone", num_undone);
    go.disabled = false;
    go.focus();
    changed();
  });

  function cancel() {
    if (!running?.transfer_id) return;
    running.isCancelled = true;
    call("cancel_transfer", { transfer_id: running.transfer_id }).catch((error) => (trouble.textContent = error.message));
  }

  async function load() {
    try {
      formats = (await call("formats")).formats.filter(({ reads }) => reads);
      format.replaceChildren(...formats.map(({ name, summary }) => make("option", { value: name }, `${name}: ${summary}`)));
      format.focus();
      chooseFormat();
    } catch (error) {
      trouble.textContent = error.message;
    }
  }

  load();
  return dialogs.open({ id: "import-dialog", title: phrase("import.title"), wide: true, body: [form], onkey: submitsOnEnter(form) }).then((result) => {
    isOpen = false;
    if (running?.state !== "done") cancel();
    return result;
  });
}

/** Send a file; return what is wrong, or nothing. */
async function post(url, body) {
  try {
    const response = await fetch(url, { method: "POST", body });
    if (response.ok) return "";
    const { error } = await response.json();
    return error ? problemText(error) : phrase("import.server_status", { status: response.status });
  } catch {
    return phrase("import.server_silent");
  }
}
